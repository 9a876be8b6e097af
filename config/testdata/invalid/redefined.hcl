server {
  listen = ":80"
  listen = ":81"
}

worker {
  lease = "1m"
  heartbeat = "30s"
}
