data_dir = "/b"
