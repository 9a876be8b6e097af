server {
  listen = "127.0.0.1:8080
  shutdown_grace = "25s"
}

worker {
  slots = 2
}
