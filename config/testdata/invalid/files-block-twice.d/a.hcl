scan "dast" {
  input = "url"
}
