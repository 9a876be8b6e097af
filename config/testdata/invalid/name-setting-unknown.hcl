retention {
  compress = true
}
