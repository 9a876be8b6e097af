scan {
  input = "url"
}
