database {
  url = "postgres://b:hunter2@db/x"
}
