plan "free" {
  request_rate = "10/1s"
  upload_rate  = "0"
  archive_size = "10MiB"
  weight       = 0.5
  retention    = "720h"
}

# One of our own starts from 100 requests and 5 uploads a minute.
plan "gold" {
  upload_rate   = "60/1h"
  storage_quota = "20GiB"
  scans_per_day = 5000
  priority      = "high"
}
