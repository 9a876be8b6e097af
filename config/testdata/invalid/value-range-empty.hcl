scan "codeaudit" {
  backoff = "1m..1s"
}
