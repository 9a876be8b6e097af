worker "big" {
  slots = 9
}
