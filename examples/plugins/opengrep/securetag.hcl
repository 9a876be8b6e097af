# Opengrep with the rules of ../semgrep: see README.md. Not run in CI.
plugin "opengrep" {
  command = "sarif"
  args    = ["--name", "opengrep", "--rules", "/etc/securetag/semgrep/rules.sarif"]
  env     = { PATH = "/opt/opengrep/bin:/usr/bin:/bin" }
  read    = ["/opt/opengrep", "/etc/securetag/semgrep"]

  limits {
    memory = "2GiB"
    pids   = 256
    disk   = "2GiB"
  }

  config {
    command = "opengrep"
    args = [
      "scan", "--sarif", "--output={output}", "--config=/etc/securetag/semgrep/rules", "--no-rewrite-rule-ids",
      "--disable-version-check", "--disable-nosem", "--no-git-ignore", "--x-ignore-semgrepignore-files", "--max-target-bytes=0",
      "--jobs=2", "--timeout=60", "{target}",
    ]
    version = "^1\\."
    timeout = "8m"
    files   = ["*.py", "*.js", "*.jsx", "*.mjs", "*.cjs", "*.ts", "*.tsx", "*.go", "*.java"]
    hide    = [".semgrepignore", "node_modules", "vendor", "*.min.js"]

    # A rule that took too long on a file, memory that ran out and a file that does
    # not parse are warnings to it, and its report is a success all the same.
    partial_on_warning = true
  }
}

scan "codeaudit" {
  plugins = ["secrets", "opengrep"]
}
