# A host among several, on real servers.
data_dir   = "/var/lib/securetag"
plugin_dir = "plugins"

server {
  role           = "worker"
  listen         = ":${8000 + 80}"
  shutdown_grace = "1m"

  address_rate    = "10/1s"
  api_hosts       = 3
  trusted_proxies = ["10.0.0.0/8", "fd00::1"]
  proxy_header    = "Forwarded"
  cors_origins    = ["https://dash.example.com", "http://localhost:3000"]
}

database {
  url             = env("DATABASE_URL")
  max_connections = max(10, 4 * 8)
}

redis {
  addresses       = concat(["s1:26379"], split(",", "s2:26379,s3:26379"))
  sentinel_master = "mymaster"
  username        = lower("APP")
  password        = env("REDIS_PASSWORD")
  tls             = true
}

worker {
  slots     = env("SLOTS")
  heartbeat = "${1 + 1}s"
  lease     = env("LEASE", "30s")
}

limits {
  archive_size  = "1.5GiB"
  unpacked_size = "4GB"
  file_size     = 1048576
}

log {
  level = null # the default
  format = "json"
}

retention {
  scans    = "8760h"
  archives = "36h"
  sweep    = "10m"
}

plan "free" {
  retention = "720h"
}

telemetry {
  metrics_listen = ":9464"
}
