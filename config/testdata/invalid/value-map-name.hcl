plugin "secrets" {
  env = { "A B" = "hunter2" }
}
