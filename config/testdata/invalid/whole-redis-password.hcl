redis {
  url      = "redis://one:6379"
  password = "hunter2"
}
