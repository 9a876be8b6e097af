# SecureTag configuration, to begin with: securetag config init wrote it.
#
# Nothing here is needed. A line with "# name = value" shows a default: take the
# "#" away and change the value. This is not all there is:
#
#   securetag config explain limits    what a block or a setting is
#   securetag config check             every mistake in this file, with its line
#   securetag config show              what is in force, and where it comes from
#   securetag config diff              what a reload of a running host would change
#
# A running host reads this file again on SIGHUP, or with securetag config reload.
# A SECURETAG_* variable overrides it: SECURETAG_SERVER__LISTEN for server.listen.

# Database, uploaded archives and workspaces. Relative to this file.
# data_dir = "./securetag-data"

server {
  # Only this machine. ":8080" is every address.
  # listen = "127.0.0.1:8080"
}

# To share the work between hosts. Keep secrets out of this file with env("NAME")
# or trimspace(file("/run/secrets/name")). Empty: an SQLite database in data_dir.
database {
  # url = ""
}

# Empty: inside the process, for one host.
redis {
  # url = ""
}

# What one scan may cost. Sizes: "50MiB" of 1024, "50MB" of 1000.
limits {
  # archive_size  = "50MiB"
  # unpacked_size = "1GiB"
  # findings      = 25000
}

# How long what has ended is kept. "0s" is for ever.
retention {
  # scans    = "0s"
  # archives = "720h"
}

log {
  # level = "info"
}

# What POST /codeaudit/upload runs.
scan "codeaudit" {
  # plugins = ["gosec", "secrets", "iac", "dependencies"]
  # timeout = "10m"
}

# A plugin of your own. Then: securetag -c THIS_FILE plugin pin my-scanner, and name
# it in a scan type.
#
# plugin "my-scanner" {
#   command = "/opt/scanners/my-scanner"
# }
