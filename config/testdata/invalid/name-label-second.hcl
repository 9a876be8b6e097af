plugin "deps" "v2" {
  dev = true
}
