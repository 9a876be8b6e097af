plugin "deps" {
  sha256 = "9F86D081"
}
