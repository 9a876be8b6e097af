redis {
  addresses = [for i in [1, 2] : "redis-${i}:6379"]
}
