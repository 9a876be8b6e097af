worker {
  slots = max(1, "many")
}
