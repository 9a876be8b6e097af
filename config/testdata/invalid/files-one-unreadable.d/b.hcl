plugin "declared-in-b" {
