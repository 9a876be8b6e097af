server {
  listn = ":80"
}
