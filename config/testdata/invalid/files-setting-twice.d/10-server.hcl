server {
  listen = ":80"
}
