data_dir = "/srv/${env("SLOTS"
