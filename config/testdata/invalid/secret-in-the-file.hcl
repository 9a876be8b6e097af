database {
  url = "postgres://${env("DATABASE_USER", "app")}:s3cret@db:5432/securetag"
}

redis {
  addresses = ["redis-1:6379"]
  password  = env("NOT_SET", "hunter2")
}
