plugin "secrets" {
  env = ["A=hunter2"]
}
