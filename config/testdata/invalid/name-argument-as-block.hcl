server {
  listen {
    port = 80
  }
}
