limits {
  findings = "unlimited"
}
