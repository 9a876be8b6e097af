# Checkov: see README.md. Not run in CI.
plugin "checkov" {
  command = "sarif"
  args    = ["--name", "checkov"]
  env     = { PATH = "/opt/checkov/bin:/usr/bin:/bin" }
  read    = ["/opt/checkov"]

  limits {
    memory = "2GiB"
    pids   = 256
    disk   = "1GiB"
  }

  config {
    command    = "checkov"
    args       = ["--directory={target}", "--output=sarif", "--output-file-path={work}", "--skip-download", "--compact", "--quiet"]
    report     = "results_sarif.sarif" # it takes a directory and names the file itself
    exit_codes = ["0", "1"]            # 1: it found something
    timeout    = "8m"
    hide       = [".checkov.yaml", ".checkov.yml"] # it would be obeyed
    partial_if = "Parsing errors: [1-9]"           # its report does not say so
  }
}

scan "codeaudit" {
  plugins = ["secrets", "checkov"]
}
