data_dri = "/srv"
listen = ":80"
entirely_unknown = 1

serve {
  listen = ":80"
}

server = { listen = ":80" }

worker {
  slot = 2
  lease { seconds = 3 }
  log { level = "debug" }
}

server "main" {
  listen = ":80"
}

log {
  level = "info"
}

log {
  level = "warn"
}

scan {
  input = "url"
}

scan "a" "b" {
}

scan "Web_App" {
  inputs = "url"
}

plugin "zap" {
  dev = true
}

plugin "zap" {
  command = "other"
}
