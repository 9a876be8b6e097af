data_dir = "data"

server {
  listen = ":80"
}
