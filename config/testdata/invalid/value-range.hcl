scan "codeaudit" {
  backoff = "1s"
}
