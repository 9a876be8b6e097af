limit {
  entries = 1
}
