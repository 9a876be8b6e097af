# SecureTag configuration.
#
# This file works as it is: one process, nothing else to install. Every setting
# is here with its default, so deleting any line changes nothing.
#
# A setting can also be given as an environment variable, which overrides this
# file: its path in capitals with two underscores between the levels, such as
#
#   SECURETAG_SERVER__LISTEN=0.0.0.0:8080
#   SECURETAG_SCAN__CODEAUDIT__TIMEOUT=20m
#
# Durations have a unit: "500ms", "30s", "10m", "1h30m".
# Sizes have one too: "50MiB", "1GiB", or "50MB" for powers of 1000.
#
# Values may be expressions. Keep secrets out of this file with
#
#   url = env("DATABASE_URL")
#   url = trimspace(file("/run/secrets/database_url"))
#
# Check it with: securetag config check
# A host reads it again on SIGHUP; docs/configuration.md says what needs a restart.
# Reference:     docs/configuration.md

# Database, uploaded archives and workspaces. Relative to this file.
data_dir = "./securetag-data"

# Where plugin commands are looked up.
# Empty: the directory "plugins" beside the securetag executable.
plugin_dir = ""

server {
  # api: takes requests, starts no plugins. worker: runs jobs, takes no requests.
  # Both need database.url and a Redis, shared with hosts that do the rest.
  role = "all"

  # Only this machine. Use ":8080" for every address.
  listen = "127.0.0.1:8080"

  # For every request but an upload, which may take as long as it moves.
  request_timeout = "30s"

  # After SIGTERM, running jobs get this long to end. Those that do not are
  # given back, and another host starts them again.
  shutdown_grace = "25s"

  # How many clients may watch scans at this host at once, and one tenant's of
  # them. More are refused, and ask again and again instead.
  event_streams        = 2000
  tenant_event_streams = 500

  # Requests from one address, or one /64 of IPv6, that carry no good key: guesses,
  # and whoever has no key. "0": any number.
  # The rates of tenants are in their plans, below.
  address_rate = "600/1m"

  # How many hosts take requests. While Redis does not answer, each counts by
  # itself and lets through its part of every rate.
  api_hosts = 1

  # The proxies in front of this host, which say where a request comes from, in
  # X-Forwarded-For or in Forwarded. Nobody else is believed.
  # trusted_proxies = ["10.0.0.0/8"]
  trusted_proxies = []
  proxy_header    = "X-Forwarded-For"

  # Whose pages may use the API from a browser.
  # cors_origins = ["https://dash.example.com"]
  cors_origins = []
}

database {
  # Empty: SQLite in data_dir, for one host. To share the work between hosts:
  # url = "postgres://securetag:${env("POSTGRES_PASSWORD")}@db.example.com:5432/securetag"
  url = ""

  # To PostgreSQL, from this host.
  max_connections = 20
}

redis {
  # Empty: inside this process, for one host. To share the work between hosts:
  # url = "rediss://:${env("REDIS_PASSWORD")}@redis.example.com:6379/0"
  url = ""

  # For a Cluster, or for Sentinels with sentinel_master, instead of url:
  # addresses = ["redis-1:6379", "redis-2:6379", "redis-3:6379"]
  addresses       = []
  sentinel_master = ""
  username        = ""
  password        = ""
  tls             = false

  # Starts every key, so that installations can share a server.
  key_prefix = "securetag"
}

worker {
  # Jobs that run at once on this host. 0: as many as it has CPUs.
  slots = 0

  # A host that is not heard of for the length of a lease is taken for dead,
  # and its jobs go to another. At least three heartbeats.
  lease     = "15s"
  heartbeat = "500ms"

  # File system in memory in which archives of at most 1 MiB are unpacked, one
  # for each slot at most: on a disk, making and removing the files would be
  # most of a short scan. Ignored when it is no tmpfs; "" unpacks everything
  # below data_dir.
  memory_dir = "/dev/shm"
}

# What one scan may cost, whoever asks for it, and a tenant at once. A plan may
# allow less.
limits {
  archive_size  = "50MiB"  # as uploaded
  unpacked_size = "1GiB"   # everything in it
  file_size     = "256MiB" # one file in it
  entries       = 100000   # files and directories in it
  findings      = 25000    # of one job
  rule_findings = 5000     # of one rule in one job
  artifacts     = "64MiB"  # files that one job produces, together

  # What a project keeps, over all its scans. When it is full, what is gone longest
  # makes room first, unless somebody triaged it.
  project_findings = 100000

  # Jobs of one tenant that run at once, over all hosts, unless the tenant or its
  # plan has a cap of its own: securetag tenant update NAME --concurrency N. 0: any number.
  # Tenants share what there is in any case, by their weights.
  tenant_concurrency = 0
}

# A plan is what a tenant may use: securetag tenant create NAME --plan free. 0 is
# what limits says, or no limit where it says nothing. A tenant without a plan has
# this one, which is for a host of your own.
plan "default" {
  request_rate = "0" # that read, and as many others; such as "100/1m"
  upload_rate  = "0" # requests that create scans

  archive_size  = "0B" # as uploaded
  unpacked_size = "0B" # everything in it

  storage_quota   = "0B" # all archives that are kept; retention makes room
  scans_per_day   = 0    # accepted from 00:00 to 24:00 UTC
  queued_scans    = 0    # that wait for their first job to start
  concurrent_jobs = 0    # over all hosts
  weight          = 1    # of slots that several tenants want, in proportion
  priority        = "normal" # of scans that name none, among the tenant's own

  findings  = 0    # of one job
  artifacts = "0B" # of one job, together
  retention = "0s" # how long a scan is kept after it ended; 0s: retention.scans

  # Hosts that may be scanned by URL without a proof that they are the tenant's:
  # such as "shop.example.com", "*.example.org", "localhost:8080", or "*" for all.
  # The tenant that an embedded host makes for itself may have all of them.
  targets = []
}

# A plan of your own starts from 100 requests and 5 uploads a minute. A tenant
# whose plan is not here any more is held to this one until it is.
plan "free" {
  request_rate    = "100/1m"
  upload_rate     = "5/1m"
  archive_size    = "0B"
  unpacked_size   = "0B"
  storage_quota   = "100MiB"
  scans_per_day   = 200
  queued_scans    = 20
  concurrent_jobs = 2
  weight          = 1
  priority        = "normal"
  findings        = 0
  artifacts       = "0B"
  retention       = "0s"
  targets         = []
}

plan "premium" {
  request_rate    = "100/1m"
  upload_rate     = "5/1m"
  archive_size    = "0B"
  unpacked_size   = "0B"
  storage_quota   = "1GiB"
  scans_per_day   = 2000
  queued_scans    = 200
  concurrent_jobs = 8
  weight          = 2
  priority        = "normal"
  findings        = 0
  artifacts       = "0B"
  retention       = "0s"
  targets         = []
}

plan "enterprise" {
  request_rate    = "100/1m"
  upload_rate     = "5/1m"
  archive_size    = "0B"
  unpacked_size   = "0B"
  storage_quota   = "5GiB"
  scans_per_day   = 0
  queued_scans    = 2000
  concurrent_jobs = 0
  weight          = 4
  priority        = "normal"
  findings        = 0
  artifacts       = "0B"
  retention       = "0s"
  targets         = []
}

# How long what has ended is kept, counted from its end. Nothing that has not
# ended is ever removed.
retention {
  # Scans with their findings. "0s": for ever; findings are what people come
  # back for, so they go only when you say so. Such as "8760h" for a year.
  scans = "0s"

  # Archives, while their scans and findings stay. They fill the disk, and hold
  # other people's source code: nothing reads one again after its scan has
  # ended. "0s": as long as the scan.
  archives = "720h"

  # How often this host looks for what is old enough to go.
  sweep = "1m"
}

# What this host calls for its tenants: the addresses of their webhooks. It calls
# public addresses, and what is allowed here.
egress {
  # Addresses and networks that are not public and may be called all the same, by
  # every tenant, as soon as a name leads there. This host's own addresses must be
  # named one by one. Never the metadata services of clouds.
  # allow_networks = ["10.20.0.0/16"]
  allow_networks = []

  # And ranges, such as "8000-8999".
  ports = ["80", "443"]
}

# How tenants prove that hosts are their own, to have them scanned by URL. What
# needs no proof is in targets of their plans.
targets {
  # How long a proof holds after a check last found the tenant's token.
  proof_life = "720h"

  # How long after a check another one is made. A token that is certainly gone
  # ends the proof then.
  recheck = "24h"
}

# What this host counts, for Prometheus.
telemetry {
  # Where GET /metrics is answered, to everybody who can reach it. Empty: nowhere.
  # metrics_listen = "127.0.0.1:9464"
  metrics_listen = ""
}

log {
  level  = "info" # trace, debug, info, warn, error
  format = "auto" # text on a terminal, json otherwise
}

# A scan type is what a client asks for. POST /codeaudit/upload takes a source
# archive and runs these plugins on it, side by side.
scan "codeaudit" {
  input   = "archive"
  plugins = ["gosec", "secrets", "iac", "dependencies"]

  # For each plugin's job, from its first start, retries included.
  timeout = "10m"

  # A plugin that crashes or hangs is started again, after a pause that doubles
  # from the first of these to the last.
  attempts = 3
  backoff  = "1s..1m"

  # Its jobs that run at once, over all hosts. 0: any number.
  concurrency = 0

  # What clients may give with a scan, handed to the plugins that know it:
  # option "depth" {
  #   type    = "int"
  #   doc     = "How many levels deep to look."
  #   default = 3
  #   min     = 1
  #   max     = 10
  # }
}

# POST /scans/web takes a URL and runs these plugins on it. plugins = [] switches
# it off.
scan "web" {
  input    = "url"
  plugins  = ["web"]
  timeout  = "10m"
  attempts = 3
  backoff  = "1s..1m"

  concurrency = 0
}

# POST /projects/{project}/sarif takes the report of a scanner that ran elsewhere.
# plugins = [] switches it off.
scan "import" {
  input    = "archive"
  plugins  = ["import"]
  timeout  = "10m"
  attempts = 3
  backoff  = "1s..1m"

  concurrency = 0
}

# A plugin is an executable. This one comes with SecureTag and finds passwords,
# keys and tokens in source code.
plugin "secrets" {
  # An absolute path, or a path inside plugin_dir.
  command = "secrets"
  args    = []

  # The only executable that is run as it. This one comes with SecureTag, which
  # knows its hash; any other needs it: securetag plugin pin NAME writes it here.
  # dev = true runs whatever is there, for a plugin that you are writing.
  sha256 = ""
  dev    = false

  # For a plugin in Python or Node: its files, inside dir, are what is pinned,
  # and command is the interpreter, such as "/usr/bin/python3".
  dir   = ""
  files = []

  # Versions that are taken, such as "~> 1.2". Empty: any.
  version = ""

  # Its whole environment, and the names of variables that it inherits.
  env      = {}
  env_pass = []

  # per_scan: a fresh process for each job. per_tenant: one for a tenant's jobs,
  # for plugins that are slow to start. shared: one process for all, for plugins
  # that you trust with every tenant's code.
  isolation = "per_scan"

  # Processes kept started ahead of time, so that no job waits for one.
  standby = 1

  # With per_tenant: how long a tenant's process stays after its last job, and
  # how many without a job stay at most.
  tenant_idle      = "5m"
  tenant_processes = 16

  start_timeout = "10s" # to start and take its configuration
  max_silence   = "1m"  # without a sign of life during a scan: killed
  cancel_grace  = "5s"  # to stop by itself when a scan is canceled

  # Its jobs that run at once, over all hosts: for a plugin that shares a
  # licence or a target. 0: any number.
  concurrency = 0

  # Every plugin runs confined: it sees the system, itself and its target, and
  # no network. "required", the default of a block, does not start one where the
  # machine cannot do that; "best_effort", the default of those that come
  # with SecureTag and run by default, does with what there is; "off" does without.
  sandbox = "best_effort"
  read    = [] # more files and directories for it to read

  # "egress" lets it call what the egress settings say, through a proxy of the
  # host's and no other way; "host" is everything that the host can reach.
  network = "none"

  # With egress. Hosts: only these, with a port of their own or without; none: any
  # public one. Networks: what is not public and may be called; an address of this
  # host by itself alone. Literals: public addresses, and not only names.
  # egress_hosts    = ["api.example.com", "*.example.org:8443"]
  # egress_networks = ["10.20.0.0/16"]
  egress_hosts    = []
  egress_networks = []
  egress_ports    = ["80", "443"]
  egress_literals = false

  # What each process may use, with all that it starts.
  limits {
    memory     = "512MiB"
    pids       = 128 # processes and threads
    cpus       = 0   # 0: all there are
    open_files = 1024
    file_size  = "64MiB"
    disk       = "256MiB" # everything in its work directory

    egress_bytes = "0B" # what a job sends and receives with egress; 0: any number
  }

  # The plugin's own settings: securetag plugin schema NAME says what it takes.
  config {
  }

  # When its processes cannot be started, or end while they wait for a job: the
  # first and the longest pause before the next try, and after how many failures
  # in which time it is quarantined. Its jobs then fail at once, with the reason.
  restart {
    backoff      = "500ms..1m"
    max_failures = 3
    window       = "10m"
  }
}

# This one lists the packages that lockfiles name, as an SBOM, and finds those with
# known vulnerabilities in a directory that this fills, every night for example:
#   dependencies update --from https://osv-vulnerabilities.storage.googleapis.com --to /var/lib/securetag/osv
# Name the directory in read as well. Without it every scan says that nobody looked
# for vulnerabilities.
plugin "dependencies" {
  command  = "dependencies"
  args     = []
  sha256   = ""
  dev      = false
  dir      = ""
  files    = []
  version  = ""
  env      = {}
  env_pass = []

  # Started with a scan: while there is none, it takes no memory.
  isolation        = "per_scan"
  standby          = 0
  tenant_idle      = "5m"
  tenant_processes = 16
  start_timeout    = "10s"
  max_silence      = "1m"
  cancel_grace     = "5s"
  concurrency      = 0

  sandbox = "best_effort"
  network = "none"
  read    = []

  egress_hosts    = []
  egress_networks = []
  egress_ports    = ["80", "443"]
  egress_literals = false

  limits {
    memory     = "512MiB"
    pids       = 128
    cpus       = 0
    open_files = 1024
    file_size  = "64MiB"
    disk       = "256MiB"

    egress_bytes = "0B"
  }

  # database = "/var/lib/securetag/osv"
  config {
  }

  restart {
    backoff      = "500ms..1m"
    max_failures = 3
    window       = "10m"
  }
}

# This one looks at Dockerfiles and Kubernetes manifests.
plugin "iac" {
  command  = "iac"
  args     = []
  sha256   = ""
  dev      = false
  dir      = ""
  files    = []
  version  = ""
  env      = {}
  env_pass = []

  # Started with a scan: while there is none, it takes no memory.
  isolation        = "per_scan"
  standby          = 0
  tenant_idle      = "5m"
  tenant_processes = 16
  start_timeout    = "10s"
  max_silence      = "1m"
  cancel_grace     = "5s"
  concurrency      = 0

  sandbox = "best_effort"
  network = "none"
  read    = []

  egress_hosts    = []
  egress_networks = []
  egress_ports    = ["80", "443"]
  egress_literals = false

  limits {
    memory     = "512MiB"
    pids       = 128
    cpus       = 0
    open_files = 1024
    file_size  = "64MiB"
    disk       = "256MiB"

    egress_bytes = "0B"
  }

  # min_severity = "medium"
  # exclude      = ["DS-0026"]   checks that are not made
  config {
  }

  restart {
    backoff      = "500ms..1m"
    max_failures = 3
    window       = "10m"
  }
}

# This one looks at Go code, and needs Go, in /usr/local/go/bin, /usr/local/bin or
# /usr/bin unless env has a PATH: plugins/gosec/README.md. Where there is none, its
# job fails for a target with Go files, and says so.
plugin "gosec" {
  command  = "gosec"
  args     = []
  sha256   = ""
  dev      = false
  dir      = ""
  files    = []
  version  = ""
  env      = {}
  env_pass = []

  # Started with a scan: while there is none, it takes no memory.
  isolation        = "per_scan"
  standby          = 0
  tenant_idle      = "5m"
  tenant_processes = 16
  start_timeout    = "10s"
  max_silence      = "1m"
  cancel_grace     = "5s"
  concurrency      = 0

  sandbox = "best_effort"
  network = "none"
  read    = []

  egress_hosts    = []
  egress_networks = []
  egress_ports    = ["80", "443"]
  egress_literals = false

  limits {
    memory     = "2GiB"
    pids       = 512
    cpus       = 0
    open_files = 1024
    file_size  = "64MiB"
    disk       = "2GiB"

    egress_bytes = "0B"
  }

  config {
  }

  restart {
    backoff      = "500ms..1m"
    max_failures = 3
    window       = "10m"
  }
}

# This one comes with SecureTag, too, and looks at a web site from outside. What its
# settings mean is above; docs/operating.md has those in its config.
plugin "web" {
  command  = "web"
  args     = []
  sha256   = ""
  dev      = false
  dir      = ""
  files    = []
  version  = ""
  env      = {}
  env_pass = []

  # A scan takes so long that none has to find its process waiting.
  isolation        = "per_scan"
  standby          = 0
  tenant_idle      = "5m"
  tenant_processes = 16
  start_timeout    = "10s"
  max_silence      = "1m"
  cancel_grace     = "5s"
  concurrency      = 0

  # It goes out by the host's proxy where the machine has the means, and looks itself
  # at where it goes as well: public addresses alone, at the ports 80 and 443, unless
  # both these settings and its config say otherwise.
  sandbox = "best_effort"
  network = "egress"
  read    = []

  egress_hosts    = []
  egress_networks = []
  egress_ports    = ["80", "443"]
  egress_literals = false

  limits {
    memory     = "512MiB"
    pids       = 128
    cpus       = 0
    open_files = 1024
    file_size  = "64MiB"
    disk       = "256MiB"

    egress_bytes = "0B"
  }

  # allow_networks = ["10.20.0.0/16"]       that are not public, for every tenant
  # ports          = ["80", "443", "8443"]
  config {
  }

  restart {
    backoff      = "500ms..1m"
    max_failures = 3
    window       = "10m"
  }
}

# And this one reads the reports that are imported. It is the plugin "sarif", which
# is below, without a tool.
plugin "import" {
  command  = "sarif"
  args     = ["--import"]
  sha256   = ""
  dev      = false
  dir      = ""
  files    = []
  version  = ""
  env      = {}
  env_pass = []

  isolation        = "per_scan"
  standby          = 0
  tenant_idle      = "5m"
  tenant_processes = 16
  start_timeout    = "10s"
  max_silence      = "1m"
  cancel_grace     = "5s"
  concurrency      = 0

  sandbox = "best_effort"
  network = "none"
  read    = []

  egress_hosts    = []
  egress_networks = []
  egress_ports    = ["80", "443"]
  egress_literals = false

  limits {
    memory     = "512MiB"
    pids       = 128
    cpus       = 0
    open_files = 1024
    file_size  = "64MiB"
    disk       = "256MiB"

    egress_bytes = "0B"
  }

  config {
  }

  restart {
    backoff      = "500ms..1m"
    max_failures = 3
    window       = "10m"
  }
}

# The plugin "sarif" runs any tool that prints SARIF, one block for each tool:
# docs/plugins/sarif.md, and recipes in examples/plugins. Name it in a scan type
# to switch it on.
# plugin "flawfinder" {
#   command = "sarif"
#   args    = ["--name", "flawfinder"]
#   config {
#     command = "flawfinder"
#     args    = ["--sarif", "--neverignore", "{target}"]
#     files   = ["*.c", "*.h", "*.cpp"]
#   }
# }
