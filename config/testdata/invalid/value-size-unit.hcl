limits {
  archive_size = "50 Megs"
}
