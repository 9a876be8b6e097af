telemetry {
  metrics_listen = "9464"
}
