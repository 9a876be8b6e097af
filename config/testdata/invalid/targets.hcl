plan "free" {
  targets = ["shop.example.com", "https://example.com/", "*.Example.com"]
}

plan "gold" {
  targets = [
    "example.com:65536",
    "[0:0:0:0:0:0:0:1]",
    "[10.0.0.1]:80",
  ]
}

targets {
  proof_life = "24h"
  recheck    = "20h"
}
