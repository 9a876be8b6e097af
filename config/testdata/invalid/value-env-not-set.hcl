redis {
  url = env("REDIS_URL")
}
