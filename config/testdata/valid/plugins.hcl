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
  command  = "/usr/bin/python3"
  args     = ["main.py", "--offline"]
  files    = ["main.py", "lib/**"]
  dir      = "deps-scanner"
  sha256   = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  version  = "~> 1.2, != 1.2.5"
  env_pass = ["SLOTS", "NOT_THERE"]
  restart {
    backoff = "1s..5m"
    window  = "1h"
  }
}

plugin "zap" {
  command   = "/opt/zap/bin/scan-zap"
  dev       = true
  isolation = "shared"
  env = {
    HTTPS_PROXY = "http://u:hunter2@proxy:3128"
    LANG        = "C.UTF-8"
  }
}
