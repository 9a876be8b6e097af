server {
  listen = ":80"
