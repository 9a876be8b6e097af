database {
  url = "mysql://root:s3cret@db/x"
}
