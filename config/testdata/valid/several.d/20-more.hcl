server {
  request_timeout = "5s"
}

scan "codeaudit" {
  plugins = ["deps"]
}
