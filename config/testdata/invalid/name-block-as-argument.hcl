log = { level = "info" }
