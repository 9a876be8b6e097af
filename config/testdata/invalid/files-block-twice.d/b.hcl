scan "dast" {
  attempts = 1
}
