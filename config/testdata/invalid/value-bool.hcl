redis {
  tls = "maybe"
}
