plugin "deps" {
  command = "/opt/deps"
}
