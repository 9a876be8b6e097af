worker {
  heartbeat = "6s"
}
