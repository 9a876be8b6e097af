# flawfinder without a program of one's own: the sarif plugin runs it. The
# program beside this file is the same as a plugin in Go.
plugin "flawfinder" {
  command = "sarif"
  args    = ["--name", "flawfinder"]

  config {
    command  = "flawfinder"
    args     = ["--sarif", "--neverignore", "--nolink", "{target}"]
    version  = "^2\\."
    timeout  = "5m"
    files    = ["*.c", "*.h", "*.cc", "*.cpp", "*.cxx", "*.hh", "*.hpp"]
    severity = { error = "high", warning = "medium", note = "low" }
  }
}

scan "codeaudit" {
  plugins = ["secrets", "flawfinder"]
}
