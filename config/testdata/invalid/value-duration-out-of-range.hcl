worker {
  lease = "1s"
}
