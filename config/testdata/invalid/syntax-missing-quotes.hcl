log {
  level = info
}
