redis {
  sentinel_master = "mymaster"
}
