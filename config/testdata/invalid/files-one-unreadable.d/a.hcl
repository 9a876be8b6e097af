scan "codeaudit" {
  plugins = ["declared-in-b"]
}
