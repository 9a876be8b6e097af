data_dir = ""

server {
  role            = "leader"
  listen          = "localhost"
  request_timeout = 30
  shutdown_grace  = "25 seconds"
}

database {
  url             = "mysql://root:s3cret@db/securetag"
  max_connections = 1
}

redis {
  url       = "redis://:s3cret@/"
  addresses = ["one:6379", "two"]
  tls       = "maybe"
}

worker {
  slots     = 1.5
  lease     = "-15s"
  heartbeat = ["1s"]
}

limits {
  archive_size  = "50 apples"
  unpacked_size = "12MiB"
  entries       = 0
  findings      = "many"
}

log {
  level  = debug
  format = "jsno"
}

retention {
  scans    = "30 days"
  archives = "-1h"
  sweep    = "0s"
}

telemetry {
  metrics_listen = ":metrics"
}

scan "codeaudit" {
  input    = "tarball"
  plugins  = "secrets"
  attempts = 0
  backoff  = "60s..1s"
}

plugin "secrets" {
  command   = "../../bin/sh"
  env       = { "A B" = "hunter2" }
  isolation = "per-scan"
  standby   = -1
  config {
    key = env("NOT_SET")
    max = 1e9999999
    all = [for x in [1, 2] : x]
    sub {}
    sub {}
  }
}
