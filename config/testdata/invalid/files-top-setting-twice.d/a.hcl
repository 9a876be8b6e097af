data_dir = "/a"
