scan "codeaudit" {
  plugins = ["secrets"]

  option "depth" {
    type    = "int"
    doc     = "How many levels deep to look."
    default = 3
    min     = 1
    max     = 10
  }
  option "mode" {
    one_of  = ["fast", "deep"]
    default = "fast"
  }
  option "only_paths" {
    type    = "string_list"
    pattern = "^src/"
    default = ["src/a"]
    max     = 5
  }
  option "reason" {
    required = true
    min      = 3
  }
  option "strict" {
    type    = "bool"
    default = false
  }
}
