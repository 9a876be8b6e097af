data_dir = "/srv

log {
  level = "info"
}
