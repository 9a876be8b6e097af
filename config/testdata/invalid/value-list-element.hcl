scan "codeaudit" {
  plugins = ["secrets", null]
}
