redis {
  url       = "redis://:s3cret@redis:6379"
  addresses = ["redis:6379"]
}

worker {
  lease = "3s"
}

database {
  url = "${env("DATABASE_URL")}\n"
  max_connections = max(1, "x")
}
