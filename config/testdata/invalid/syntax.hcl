server {
  listen = ":80"
  listen = ":81"
}

database {
  pasword = "hunter2"
  urll = "x hunter2"
}

redis {
  password = hunter2
}

worker {
  slots = = 2
}

scan "codeaudit" {
  plugins = ["secrets"
