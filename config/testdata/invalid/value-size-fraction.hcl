limits {
  archive_size = "1.3KiB"
}
