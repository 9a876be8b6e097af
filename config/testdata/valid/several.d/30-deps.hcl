plugin "deps" {
  dev = true
}
