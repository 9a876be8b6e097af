server {
  request_timeout = 30
}
