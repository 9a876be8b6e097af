plugin "secrets" {
  config {
    max = 1 / 0
  }
}
