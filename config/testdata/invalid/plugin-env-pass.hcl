plugin "secrets" {
  env_pass = ["HTTPS-PROXY"]
}
