# Bandit: see README.md. Not run in CI.
plugin "bandit" {
  command = "sarif"
  args    = ["--name", "bandit"]
  env     = { PATH = "/opt/bandit/bin:/usr/bin:/bin" }
  read    = ["/opt/bandit"]

  config {
    command    = "bandit"
    args       = ["--recursive", "--format=sarif", "--output={output}", "--ignore-nosec", "{target}"]
    exit_codes = ["0", "1"] # 1: it found something
    timeout    = "5m"
    files      = ["*.py"]
    hide       = [".bandit"] # it would be obeyed
    severity   = { error = "high", warning = "medium", note = "low" }
  }
}

scan "codeaudit" {
  plugins = ["secrets", "bandit"]
}
