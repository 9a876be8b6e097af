server {
  address_rate    = "600"
  api_hosts       = 0
  trusted_proxies = ["10.0.0.0/8", "proxy.example.com", "10.1.2.3/8", "::ffff:10.0.0.0/104", "fe80::1%eth0", "0.0.0.0/0"]
  proxy_header    = "X-Real-IP"
}
