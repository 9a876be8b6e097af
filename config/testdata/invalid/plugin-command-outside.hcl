plugin "deps" {
  command = "../deps"
  dev     = true
}
