plugin "deps" {
  files = ["main.py", "../lib/**"]
  dev   = true
}
