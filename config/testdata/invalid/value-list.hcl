scan "codeaudit" {
  plugins = "secrets"
}
