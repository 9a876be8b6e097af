plan "free" {
  targets = ["shop.example.com", "https://example.com/", "*.Example.com"]
}

targets {
  proof_life = "24h"
  recheck    = "20h"
}
