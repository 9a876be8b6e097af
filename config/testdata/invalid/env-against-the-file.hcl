# env SECURETAG_WORKER__HEARTBEAT=6s
worker {
  lease = "12s"
}
