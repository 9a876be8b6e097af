worker { slots = 1, lease = "9s" }
