server {
  cors_origins = ["https://dash.example.com", "https://dash.example.com/", "dash.example.com", "https://*.example.com", "null"]
}
