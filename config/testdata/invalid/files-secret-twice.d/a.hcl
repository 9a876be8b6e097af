database {
  url = "postgres://a:s3cret@db/x"
}
