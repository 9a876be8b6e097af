worker {
  slots = "many"
}
