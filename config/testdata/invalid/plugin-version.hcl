plugin "secrets" {
  version = "latest"
}
