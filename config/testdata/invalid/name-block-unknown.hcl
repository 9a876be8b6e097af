cluster {
  size = 3
}
