log {
  level: "info"
}
