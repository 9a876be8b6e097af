redis {
  password = file("/no/such/secret")
}
