scan "codeaudit" {
  plugins = ["secrets", "secrets"]
}
