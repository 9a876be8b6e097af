log {
  level "info"
}
