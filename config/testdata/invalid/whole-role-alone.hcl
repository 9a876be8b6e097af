server {
  role = "worker"
}
