scan "codeaudit" {
  plugins = ["secrets"]

  option "max-depth" {
    type = "int"
  }
  option "depth" {
    type    = "integer"
    default = 3
  }
  option "mode" {
    one_of  = ["fast", "deep"]
    default = "slow"
  }
  option "strict" {
    type    = "bool"
    pattern = "^yes$"
    one_of  = ["true"]
    max     = 1
  }
  option "ratio" {
    type = "float"
    min  = 2
    max  = 1
  }
  option "count" {
    type = "int"
    min  = 0.5
    max  = "many"
  }
  option "name" {
    pattern = "("
    min     = -1
  }
  option "reason" {
    required = true
    default  = "none"
    defualt  = "none"
  }
  option "tree" {
    default = { a = 1 }
  }
  option "secrets" {}
  option "secrets" {}
  option {}
  depth = 3
}
