retention {
  archives = "30d"
}
