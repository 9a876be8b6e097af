plugin "deps" {
  dir = "/opt/deps"
  dev = true
}
