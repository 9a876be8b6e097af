scan "dast" {
  input = "url"
}

scan "dast" {
  attempts = 1
}
