server {
  role   = "api"
  listen = "127.0.0.1:99999"
}

redis {
  sentinel_master = "mymaster"
  password        = "hunter2"
}

worker {
  lease     = "15s"
  heartbeat = "6s"
}

limits {
  file_size = "2GiB"
}

scan "codeaudit" {
  plugins = [
    "secrets",
    "secrtes",
    "secrets",
    "semgrep",
  ]
}

plugin "deps" {
  command = ""
  dev     = true
}
