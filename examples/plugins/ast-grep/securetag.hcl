# ast-grep with the rules beside this file: see README.md.
plugin "ast-grep" {
  command = "sarif"
  args    = ["--name", "ast-grep"]
  read    = ["/opt/ast-grep", "/etc/securetag/ast-grep"]

  config {
    command = "/opt/ast-grep/ast-grep"
    args = [
      "scan", "--config", "/etc/securetag/ast-grep/sgconfig.yml", "--format", "sarif", "--no-ignore", "hidden",
      "--no-ignore", "dot", "--no-ignore", "exclude", "--no-ignore", "vcs", "{target}",
    ]
    exit_codes = ["0", "1"] # 1: it found an error
    version    = "^ast-grep 0\\."
    timeout    = "5m"
    files      = ["*.js", "*.ts", "*.py"]
  }
}

scan "codeaudit" {
  plugins = ["secrets", "ast-grep"]
}
