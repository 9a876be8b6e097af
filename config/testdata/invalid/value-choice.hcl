log {
  level = "wran"
}
