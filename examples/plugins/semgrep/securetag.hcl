# Semgrep with the rules beside this file: see README.md.
plugin "semgrep" {
  command = "sarif"
  # The first argument of each pair is the plugin's, before it has its settings:
  # what it is called, and which rules it declares.
  args = ["--name", "semgrep", "--rules", "/etc/securetag/semgrep/rules.sarif"]
  env  = { PATH = "/opt/semgrep/bin:/usr/bin:/bin" }
  read = ["/opt/semgrep", "/etc/securetag/semgrep"]

  limits {
    memory = "2GiB"
    pids   = 256
    disk   = "2GiB"
  }

  config {
    command = "semgrep"
    args = [
      "scan", "--sarif", "--output={output}", "--config=/etc/securetag/semgrep/rules", "--no-rewrite-rule-ids",
      "--metrics=off", "--disable-version-check", "--disable-nosem", "--no-git-ignore", "--x-ignore-semgrepignore-files", "--max-target-bytes=0",
      "--jobs=2", "--timeout=60", "{target}",
    ]
    version      = "^1\\."
    version_args = ["--version", "--disable-version-check"] # else it asks its maker
    timeout      = "8m"
    files        = ["*.py", "*.js", "*.jsx", "*.mjs", "*.cjs", "*.ts", "*.tsx", "*.go", "*.java"]
    hide         = ["node_modules", "vendor", "*.min.js"] # others' code; each scan says so

    # A rule that took too long on a file, memory that ran out and a file that does
    # not parse are warnings to it, and its report is a success all the same.
    partial_on_warning = true
  }
}

scan "codeaudit" {
  plugins = ["secrets", "semgrep"]
}
