redis {
  url = "redis://:s3cret@/"
}
