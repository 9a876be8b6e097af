limits {
  archive_size = "20MiB"
}

retention {
  scans = "24h"
}

plan "free" {
  request_rate  = "100"
  upload_rate   = "5 per minute"
  archive_size  = "21MiB"
  findings      = 30000
  storage_qouta = "1GiB"
  weight        = 0
  retention     = "25h"
}

plan "gold" {
  request_rate = "1/0s"
  upload_rate  = "-1/1m"
  weight       = "heavy"
  priority     = "urgent"
}
