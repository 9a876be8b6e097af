limits {
  archive_size = "1PiB"
}
