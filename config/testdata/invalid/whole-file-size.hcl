limits {
  unpacked_size = "1MiB"
}
