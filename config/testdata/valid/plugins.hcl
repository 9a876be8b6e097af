scan "codeaudit" {
  plugins = ["secrets", "deps"] # the other settings keep their defaults
}

scan "web" {
  plugins = ["zap"]
  timeout = "1h"
}

scan "licences" {
  plugins  = ["deps"]
  attempts = 1
  backoff  = "500ms..2s"
}

plugin "secrets" {
  standby = 4
  config {
    max_size = 2 * 1024 * 1024
    allow    = ["test/**"]
    rule "aws-key" {
      severity = "high"
    }
    entropy {
      min = 3.5
    }
    off = null
  }
}

plugin "deps" {
  args = ["--offline"]
}

plugin "zap" {
  command   = "/opt/zap/bin/scan-zap"
  isolation = "shared"
  env = {
    HTTPS_PROXY = "http://u:hunter2@proxy:3128"
    LANG        = "C.UTF-8"
  }
}
