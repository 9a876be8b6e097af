database {
  url = "postgres://app:s3cret@db/x\n"
}
