redis {
  url       = "redis://one:6379"
  addresses = ["two:6379"]
}
