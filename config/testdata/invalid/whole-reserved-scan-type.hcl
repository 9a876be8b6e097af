scan "scans" {
  input = "url"
}
