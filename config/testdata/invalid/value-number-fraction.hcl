worker {
  slots = 1.5
}
