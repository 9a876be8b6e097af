# Trivy's checks of configuration (Dockerfile, Kubernetes, Terraform, Helm):
# see README.md. Not run in CI.
plugin "trivy" {
  command = "sarif"
  args    = ["--name", "trivy"]
  env     = { PATH = "/opt/trivy/bin:/usr/bin:/bin" }
  read    = ["/opt/trivy"]

  limits {
    memory = "2GiB"
    pids   = 256
    disk   = "1GiB"
  }

  config {
    command = "trivy"
    args = [
      "config", "--format=sarif", "--output={output}", "--exit-code=0", "--skip-check-update", "--skip-version-check",
      "--cache-dir={work}/cache", "--ignorefile=/dev/null", "{target}",
    ]
    timeout = "5m"
    hide    = ["trivy.yaml", "trivy.yml", ".trivyignore", ".trivyignore.yaml"]

    # What it cannot parse is in its log alone, and its report a success.
    partial_if = "ERROR\\s+\\[[a-z]+ (scanner|parser)\\]"
  }
}

scan "codeaudit" {
  plugins = ["secrets", "trivy"]
}
