plugin "loose" {
  command = "loose"
}

plugin "secrets" {
  command = "other"
}

plugin "both" {
  sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
  dev    = true
}

plugin "script" {
  command  = "/usr/bin/python3"
  sha256   = "9F86"
  dir      = "../elsewhere"
  files    = ["main.py", "../other.py", "["]
  version  = "twelve"
  env_pass = ["PATH", "NOT A NAME"]
  restart {
    backoff      = "1m..1s"
    max_failures = 0
    windw        = "1h"
  }
}

plugin "nothing" {
  dev = true
  dir = "somewhere"
}

plugin "reads" {
  dev  = true
  read = ["/", "relative", "/a/../b", "/not/there"]
}
