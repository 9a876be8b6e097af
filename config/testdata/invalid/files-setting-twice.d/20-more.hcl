server {
  role   = "all"
  listen = ":81"
}
