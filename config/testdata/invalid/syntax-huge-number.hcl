limits {
  entries = 1e999
}
