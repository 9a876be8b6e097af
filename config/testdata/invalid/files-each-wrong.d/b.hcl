scan "codeaudit" {
  plugins = ["secrtes"]
}
