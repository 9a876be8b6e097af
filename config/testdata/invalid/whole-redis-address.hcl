redis {
  addresses = ["one:6379", "two"]
}
