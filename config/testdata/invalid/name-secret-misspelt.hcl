database {
  ulr = "postgres://app:s3cret@db/x"
}
