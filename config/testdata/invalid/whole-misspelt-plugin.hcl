scan "codeaudit" {
  plugins = ["secerts"]
}
