scan "codeaudit" {
  plugins = ["secrets", "semgrep"]
}
