archive_size = "1MiB"
