egress {
  allow_networks = ["10.0.0.0/8", "hooks.internal", "10.1.2.3/8", "0.0.0.0/0", "::/0"]
  ports          = ["443", "https", "0", "9000-8000", "8000-", "070"]
}
