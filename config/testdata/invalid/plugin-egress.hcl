plugin "caller" {
  dev             = true
  network         = "egress"
  egress_hosts    = ["api.example.com", "*.example.com:8443", "[2001:db8::1]:443", "bücher.example", "https://example.com", "*", "a.*.com", "0x7f.1", "example.com:http"]
  egress_networks = ["10.20.0.0/16", "0.0.0.0/0", "hooks"]
  egress_ports    = ["443", "https"]
  egress_literals = true
  limits {
    egress_bytes = "1GiB"
  }
}

plugin "quiet" {
  dev          = true
  egress_hosts = ["api.example.com"]
  limits {
    egress_bytes = "1GiB"
  }
}

plugin "other" {
  dev     = true
  network = "proxy"
}
