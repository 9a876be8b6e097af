package config

import (
	"encoding/json"
	"time"
)

// Config is everything an operator can set. After [Load] every path in it is
// absolute and every value is within its range.
//
// Tags: koanf is the name in the file; doc the meaning, a sentence for people;
// example a value for messages where the default is none; min, max and oneof
// what is allowed; url that of a secret only the password in it is one; reload
// whether a running host takes a change, see reload.go. A map of structs is a block
// with a label. A field with the doc "-" is no setting.
type Config struct {
	DataDir   string `koanf:"data_dir" doc:"Directory of the embedded database, of uploaded archives and of workspaces. It is made when it is missing. A relative path in the file is relative to the file; elsewhere, to the working directory." example:"/var/lib/securetag" reload:"no"`
	PluginDir string `koanf:"plugin_dir" doc:"Directory in which plugin commands are looked up. Empty: the directory plugins beside the securetag executable." example:"/usr/lib/securetag/plugins" reload:"yes"`

	Server   Server   `koanf:"server" doc:"What this host does, and its HTTP API." reload:"no"`
	Database Database `koanf:"database" doc:"Where scans, findings and keys are kept." reload:"no"`
	Redis    Redis    `koanf:"redis" doc:"How hosts tell each other that a job is ready, that a scan is canceled, and how it goes. Without a url and addresses it runs inside the process, which is enough for one host." reload:"no"`
	Worker   Worker   `koanf:"worker" doc:"How this host runs jobs." reload:"no"`
	Limits   Limits   `koanf:"limits" doc:"What one scan may cost, and a tenant at once. These hold for every tenant." reload:"yes"`
	Log      Log      `koanf:"log" doc:"Log lines go to standard error." reload:"yes"`

	Retention Retention `koanf:"retention" doc:"How long what has ended is kept. Nothing that has not ended is ever removed." reload:"yes"`
	Egress    Egress    `koanf:"egress" doc:"What this host calls for its tenants: the addresses of their webhooks. It calls public addresses, and what is allowed here." reload:"no"`
	Targets   Targets   `koanf:"targets" doc:"How tenants prove that hosts are their own, to have them scanned by URL. What needs no proof is in their plans." reload:"yes"`
	Telemetry Telemetry `koanf:"telemetry" doc:"What this host counts, for Prometheus." reload:"no"`

	Scans   map[string]Scan   `koanf:"scan" doc:"A scan type: what it takes and which plugins run. A block with the name of a built-in scan type overrides it setting by setting." reload:"settings"`
	Plugins map[string]Plugin `koanf:"plugin" doc:"A plugin: an executable that scans. Declaring one runs nothing yet; a scan type must name it." reload:"settings"`
	Plans   map[string]Plan   `koanf:"plan" doc:"A plan: what each tenant that has it may use (securetag tenant create NAME --plan PLAN). A tenant without one has the plan default. A block with the name of a built-in plan (default, free, premium, enterprise) overrides it setting by setting; any other starts from the values below." reload:"yes"`
}

// Roles of a host.
const (
	RoleAll    = "all"
	RoleAPI    = "api"
	RoleWorker = "worker"
)

// Server is what a host does, and the HTTP API.
type Server struct {
	Role           string        `koanf:"role" doc:"api takes requests and starts no plugins; worker runs jobs and answers nothing but /healthz and /readyz; all does both. api and worker need database.url and a Redis, which they share with hosts that do the other half." oneof:"all,api,worker"`
	Listen         string        `koanf:"listen" doc:"Address and port to listen on. An empty host means every address, port 0 any free port." example:"0.0.0.0:8080"`
	RequestTimeout time.Duration `koanf:"request_timeout" doc:"How long a request may take, except an upload, which may take as long as it makes progress." min:"1s" max:"1h"`
	ShutdownGrace  time.Duration `koanf:"shutdown_grace" doc:"How long running requests and jobs may go on after a signal to stop. Jobs that have not ended by then are given back for another host." min:"0s" max:"1h"`

	EventStreams       int `koanf:"event_streams" doc:"How many clients may watch scans at this host at once. Each costs it about 70 KiB of memory. More are refused, and ask again and again instead." min:"1" max:"100000"`
	TenantEventStreams int `koanf:"tenant_event_streams" doc:"How many of them one tenant may have." min:"1" max:"100000"`

	AddressRate    Rate     `koanf:"address_rate" doc:"Requests from one address, or one /64 of IPv6, that carry no good key. 0: any number. The rates of tenants are in their plans." reload:"yes"`
	APIHosts       int      `koanf:"api_hosts" doc:"How many hosts take requests. While Redis does not answer, each counts by itself and lets through its part of every rate: the rate divided by this. The same on every host." min:"1" max:"10000"`
	TrustedProxies []string `koanf:"trusted_proxies" doc:"Addresses and networks of the proxies in front of this host, whose word on where a request comes from counts. Empty: it comes from where its connection does." example:"[\"10.0.0.0/8\", \"fd00::1\"]" reload:"yes"`
	ProxyHeader    string   `koanf:"proxy_header" doc:"The header in which trusted_proxies write where a request comes from, each at its end. All of them must write it: the other one is not read, for a client could write it." oneof:"X-Forwarded-For,Forwarded" reload:"yes"`

	CORSOrigins []string `koanf:"cors_origins" doc:"Origins whose pages may read the answers of the API in a browser (CORS), or \"*\" for every one. Keys are sent in headers, by a page that has one: no origin gets anything without. Empty: no page of another origin may." example:"[\"https://dash.example.com\"]"`
}

// Database is the store.
type Database struct {
	URL            Secret `koanf:"url" doc:"PostgreSQL to use, as a URL. Empty: an SQLite database in data_dir, for one host." example:"postgres://securetag@localhost:5432/securetag" url:"true"`
	MaxConnections int    `koanf:"max_connections" doc:"How many connections to PostgreSQL this host opens at most." min:"2" max:"1000"`
}

// Redis carries doorbells, cancels and events between hosts.
type Redis struct {
	URL            Secret   `koanf:"url" doc:"One server, as a redis:// or rediss:// (TLS) URL." example:"redis://localhost:6379/0" url:"true"`
	Addresses      []string `koanf:"addresses" doc:"The nodes of a Redis Cluster or, with sentinel_master, the Sentinels: host:port each. Use it instead of url." example:"[\"redis-1:6379\", \"redis-2:6379\"]"`
	SentinelMaster string   `koanf:"sentinel_master" doc:"The master's name when addresses are Sentinels." example:"mymaster"`
	Username       string   `koanf:"username" doc:"User name for addresses; in a url it is part of the url." example:"securetag"`
	Password       Secret   `koanf:"password" doc:"Password for addresses; in a url it is part of the url."`
	TLS            bool     `koanf:"tls" doc:"Use TLS for addresses; in a url, rediss:// says so."`
	KeyPrefix      string   `koanf:"key_prefix" doc:"Starts every key, so that several installations can share a server." example:"securetag"`
}

// Worker is how this host runs jobs.
type Worker struct {
	Slots     int           `koanf:"slots" doc:"How many jobs run at once on this host. 0: as many as it has CPUs." min:"0" max:"1024"`
	Lease     time.Duration `koanf:"lease" doc:"How long after its last heartbeat a host is taken for dead and its jobs go to another." min:"3s" max:"10m"`
	MemoryDir string        `koanf:"memory_dir" doc:"File system in memory (tmpfs) in which archives of at most 1 MiB are unpacked, one for each slot at most. Ignored when it is none. Empty: everything is unpacked below data_dir."`
	Heartbeat time.Duration `koanf:"heartbeat" doc:"How often a host says that its jobs are alive, and hears that they are canceled, should Redis not have told it sooner. At most a third of lease, so that one lost heartbeat does no harm." min:"100ms" max:"3m"`
}

// Limits is what one scan may cost, and a tenant at once.
type Limits struct {
	ArchiveSize  ByteSize `koanf:"archive_size" doc:"Size of an uploaded archive." min:"1KiB" max:"64GiB"`
	UnpackedSize ByteSize `koanf:"unpacked_size" doc:"Size of everything in an archive, unpacked." min:"1KiB" max:"1TiB"`
	FileSize     ByteSize `koanf:"file_size" doc:"Size of one file in an archive, unpacked." min:"1KiB" max:"64GiB"`
	Entries      int      `koanf:"entries" doc:"Files and directories in an archive." min:"1" max:"10000000"`
	Findings     int      `koanf:"findings" doc:"Findings of one job. One that reports more is stopped there and is partial." min:"1" max:"10000000"`
	RuleFindings int      `koanf:"rule_findings" doc:"Findings of one rule in one job, so that a noisy rule does not hide the others. What is over it is left out and counted, and the job is partial." min:"1" max:"10000000"`
	Artifacts    ByteSize `koanf:"artifacts" doc:"Artifacts of one job together. One that does not fit is left out, and the job is partial." min:"1KiB" max:"64GiB"`

	ProjectFindings int `koanf:"project_findings" doc:"Findings that one project keeps, those that are gone too. Beyond it the oldest of these are forgotten, unless somebody triaged them; then new ones are not kept, and their scan says so." min:"1" max:"10000000"`

	TenantConcurrency int `koanf:"tenant_concurrency" doc:"Jobs of one tenant that run or are handed out at once, over all hosts, for tenants without a cap of their own (securetag tenant update) or of their plan. 0: any number. The same on every host." min:"0" max:"1000000"`
}

// Log is what is logged and how.
type Log struct {
	Level  string `koanf:"level" doc:"The least that is logged." oneof:"trace,debug,info,warn,error"`
	Format string `koanf:"format" doc:"auto is text on a terminal and json otherwise." oneof:"auto,text,json" reload:"no"`
}

// Retention is how long what has ended is kept.
type Retention struct {
	Scans    time.Duration `koanf:"scans" doc:"How long a scan is kept after it ended, with its findings and its archive. 0s: for ever." min:"0s" max:"87600h"`
	Archives time.Duration `koanf:"archives" doc:"How long the archive of a scan is kept after the scan ended; the scan and its findings stay. 0s: as long as the scan." min:"0s" max:"87600h"`
	Sweep    time.Duration `koanf:"sweep" doc:"How often this host looks for what is old enough to go." min:"1s" max:"24h"`
}

// Targets is how tenants prove that hosts are their own.
type Targets struct {
	ProofLife time.Duration `koanf:"proof_life" doc:"How long a proof holds after a check last found the tenant's token, in DNS or on the site. The same on every host." min:"1h" max:"87600h"`
	Recheck   time.Duration `koanf:"recheck" doc:"How long after a check of a proof another one is made. A token that is certainly gone ends the proof then; one that cannot be looked for, when proof_life is over." min:"1m" max:"8760h"`
}

// Telemetry is what this host counts.
type Telemetry struct {
	MetricsListen string `koanf:"metrics_listen" doc:"Address and port on which GET /metrics is answered, to everybody who asks. Empty: nothing is counted." example:"127.0.0.1:9464"`
}

// Scan is a scan type.
type Scan struct {
	Input    string        `koanf:"input" doc:"What it takes: an uploaded archive or a URL." oneof:"archive,url" reload:"no"`
	Plugins  []string      `koanf:"plugins" doc:"Plugins that scan it, side by side. With none the scan type exists and refuses scans." example:"[\"secrets\"]"`
	Timeout  time.Duration `koanf:"timeout" doc:"Time for each plugin's job from its first start, retries included." min:"1s" max:"24h"`
	Attempts int           `koanf:"attempts" doc:"How often a job is started before it has failed for good." min:"1" max:"100"`
	Backoff  BackoffRange  `koanf:"backoff" doc:"Pause before a retry: the first and the longest; it doubles in between." min:"100ms" max:"1h"`

	Concurrency int `koanf:"concurrency" doc:"Jobs of this scan type that run or are handed out at once, over all hosts. 0: any number. The same on every host." min:"0" max:"1000000"`

	Options map[string]Option `koanf:"option" doc:"What a client may give with a scan, beside its target: checked before the scan is accepted, shown with it, and handed to each of the plugins that has an option of that name." reload:"no"`
}

// Plugin is an executable that scans.
type Plugin struct {
	Command         string            `koanf:"command" doc:"The executable: an absolute path, or a path inside plugin_dir. Default: the plugin's name." example:"secrets"`
	Args            []string          `koanf:"args" doc:"Arguments for the executable." example:"[\"--fast\"]"`
	SHA256          string            `koanf:"sha256" doc:"SHA-256 of the executable, or of files: nothing else is run. Required, unless dev is true or the plugin comes with SecureTag. securetag plugin pin writes it." example:"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`
	Files           []string          `koanf:"files" doc:"For an interpreter: patterns of the files in dir that are the plugin. They are what sha256 is of, and each process works in a copy of them. Then command is the interpreter, which is not pinned." example:"[\"main.py\", \"lib/**\"]"`
	Dir             string            `koanf:"dir" doc:"Directory of files: an absolute path, or a path inside plugin_dir. Empty: the plugin's name." example:"/opt/my-scanner"`
	Dev             bool              `koanf:"dev" doc:"Runs whatever is there, without sha256: for the plugin that you are writing. Never where others can write to it."`
	Version         string            `koanf:"version" doc:"Versions of the plugin that are taken, as constraints with commas. Empty: any." example:"~> 1.2"`
	Env             map[string]string `koanf:"env" doc:"Environment of the executable. It inherits nothing from the host's. The values are not shown." sensitive:"true" example:"{ HTTPS_PROXY = \"http://proxy:3128\" }"`
	EnvPass         []string          `koanf:"env_pass" doc:"Variables that it does inherit, by name. One that the host does not have is left out; env overrides." example:"[\"HTTPS_PROXY\", \"NO_PROXY\"]"`
	Isolation       string            `koanf:"isolation" doc:"per_scan starts a fresh process for each job; per_tenant lets a process serve the jobs of one tenant, for plugins that are slow to start; shared lets one process serve all, for plugins you trust with every tenant's code." oneof:"per_scan,per_tenant,shared"`
	Standby         int               `koanf:"standby" doc:"With per_scan: processes that are kept started ahead of time, so that a job does not wait for one. A shared plugin has its one process always; one of a tenant stays as tenant_idle says." min:"0" max:"64"`
	TenantIdle      time.Duration     `koanf:"tenant_idle" doc:"With per_tenant: how long a process of a tenant stays after its last job." min:"1s" max:"24h"`
	TenantProcesses int               `koanf:"tenant_processes" doc:"With per_tenant: how many processes without a job stay at most, each of another tenant. What is more is stopped before its time, the longest idle first." min:"1" max:"1000"`
	StartTimeout    time.Duration     `koanf:"start_timeout" doc:"Time for a process to start and take its configuration." min:"1s" max:"10m"`
	MaxSilence      time.Duration     `koanf:"max_silence" doc:"A plugin that reports nothing for this long during a scan counts as hung and is killed." min:"1s" max:"24h"`
	CancelGrace     time.Duration     `koanf:"cancel_grace" doc:"Time for a plugin to stop by itself when its scan is canceled or the host stops." min:"100ms" max:"15s"`
	Concurrency     int               `koanf:"concurrency" doc:"Jobs of this plugin that run or are handed out at once, over all hosts: for one that shares a licence or a target. 0: any number. The same on every host." min:"0" max:"1000000"`
	Sandbox         string            `koanf:"sandbox" doc:"What becomes of the plugin where the machine cannot confine it: required does not start it, best_effort starts it with what there is; off confines it nowhere. The plugins that come with SecureTag and run by default have best_effort." oneof:"required,best_effort,off"`
	Network         string            `koanf:"network" doc:"none; egress for what the egress settings allow, through a proxy of the host's and no other way; host for the host's own network, with everything that the host can reach on it. Where the machine cannot confine a plugin to the proxy, egress is host with sandbox best_effort or off, and with required the plugin is not started. The plugin web has egress." oneof:"none,egress,host"`
	EgressHosts     []string          `koanf:"egress_hosts" doc:"With egress: the only hosts that the plugin may call. A name, *. before one for all names below it, or an address, each with a port behind it or without. Empty: any public one." example:"[\"api.example.com\", \"*.example.org:8443\"]"`
	EgressNetworks  []string          `koanf:"egress_networks" doc:"With egress: addresses and networks that are not public and may be called all the same. With any, names that are not public may be called, too, when they lead there. This host's own addresses are opened one by one and by no network, but for the loopback's. The metadata services of clouds are refused whatever stands here." example:"[\"10.20.0.0/16\"]"`
	EgressPorts     []string          `koanf:"egress_ports" doc:"With egress: ports that may be called, and ranges of them, of hosts that are not named with one of their own." example:"[\"443\", \"8000-8999\"]"`
	EgressLiterals  bool              `koanf:"egress_literals" doc:"With egress: public addresses may be called by themselves, and not only names."`
	Read            []string          `koanf:"read" doc:"Files and directories that the plugin may read in its sandbox, beside the system's, its own and its target." example:"[\"/var/lib/rules\"]"`
	Config          json.RawMessage   `koanf:"config" doc:"The plugin's own settings: securetag plugin schema says what it takes. They are checked before its first job, and a mistake is reported with its line."`

	// Places says where in the file each setting of Config is: "securetag.hcl:12".
	Places map[string]string `koanf:"places" doc:"-"`
	// Literals are those that the file writes out, wholly or in part, and does not
	// refer to with env or file: what is sensitive must not be among them.
	Literals map[string]bool `koanf:"literals" doc:"-"`

	Limits  PluginLimits `koanf:"limits" doc:"What each of its processes may use, with all that it starts. They hold in the sandbox only."`
	Restart Restart      `koanf:"restart" doc:"What happens when processes of the plugin cannot be started, or end while they wait for a job. One that dies of a scan does not count: that is held against the scan."`
}

// Restart is what happens when a plugin fails by itself.
type Restart struct {
	Backoff     BackoffRange  `koanf:"backoff" doc:"Pause before it is started again: the first and the longest; it doubles in between." min:"100ms" max:"1h"`
	MaxFailures int           `koanf:"max_failures" doc:"After so many failures within window it is quarantined: its jobs fail at once, with the reason. It is started again when its files or its block change, after securetag plugin reload, and once more after every window." min:"1" max:"1000"`
	Window      time.Duration `koanf:"window" doc:"Time in which failures are counted." min:"1s" max:"24h"`
}

// PluginLimits bound a plugin's process.
type PluginLimits struct {
	Memory    ByteSize `koanf:"memory" doc:"Memory. Half of it is what TMPDIR holds." min:"64MiB" max:"1TiB"`
	PIDs      int      `koanf:"pids" doc:"Processes and threads." min:"16" max:"100000"`
	CPUs      int      `koanf:"cpus" doc:"CPUs at once. 0: all there are, after the host itself." min:"0" max:"1024"`
	OpenFiles int      `koanf:"open_files" doc:"Open files, of each of its processes." min:"32" max:"1000000"`
	FileSize  ByteSize `koanf:"file_size" doc:"Size of one file that it writes." min:"1MiB" max:"1TiB"`
	Disk      ByteSize `koanf:"disk" doc:"Size of everything that it has in its work directory." min:"1MiB" max:"1TiB"`

	EgressBytes ByteSize `koanf:"egress_bytes" doc:"With egress: what one job sends and receives, together. 0: any number." min:"0B" max:"1024TiB"`
}

// Default is the configuration without any file: source archives are scanned by
// all engines that need nobody's data, and web sites from outside, and reports of
// other scanners are read.
func Default() Config {
	archive, web, reports := defaultScan(), defaultScan(), defaultScan()
	// In this order they start where there are fewer slots.
	archive.Plugins = []string{"gosec", "secrets", "iac", "dependencies"}
	// They are ours, and must work where they cannot be confined: in a container, on a Mac.
	secrets, site := defaultPlugin("secrets"), defaultPlugin("web")
	secrets.Sandbox, site.Sandbox = "best_effort", "best_effort"
	// A scan takes so long that no process has to wait for it.
	site.Network, site.Standby = "egress", 0
	web.Input, web.Plugins = "url", []string{"web"}
	reports.Plugins = []string{"import"}
	reader := defaultPlugin("sarif")
	reader.Args, reader.Sandbox, reader.Standby = []string{"--import"}, "best_effort", 0
	packages, deploy, code := defaultPlugin("dependencies"), defaultPlugin("iac"), defaultPlugin("gosec")
	// They take no memory while nothing is scanned.
	packages.Sandbox, packages.Standby = "best_effort", 0
	deploy.Sandbox, deploy.Standby = "best_effort", 0
	code.Sandbox, code.Standby = "best_effort", 0
	// It compiles what the code imports, the standard library included.
	code.Limits.Memory, code.Limits.PIDs, code.Limits.Disk = 2*GiB, 512, 2*GiB
	return Config{
		DataDir: "./securetag-data",
		Server: Server{
			Role: RoleAll, Listen: "127.0.0.1:8080", RequestTimeout: 30 * time.Second, ShutdownGrace: 25 * time.Second,
			EventStreams: 2000, TenantEventStreams: 500,
			AddressRate: Rate{600, time.Minute}, APIHosts: 1, TrustedProxies: []string{}, ProxyHeader: "X-Forwarded-For", CORSOrigins: []string{},
		},
		Database: Database{MaxConnections: 20},
		Redis:    Redis{Addresses: []string{}, KeyPrefix: "securetag"},
		Worker:   Worker{Lease: 15 * time.Second, Heartbeat: 500 * time.Millisecond, MemoryDir: "/dev/shm"},
		Limits:   Limits{ArchiveSize: 50 * MiB, UnpackedSize: GiB, FileSize: 256 * MiB, Entries: 100_000, Findings: 25_000, RuleFindings: 5_000, Artifacts: 64 * MiB, ProjectFindings: 100_000},
		Log:      Log{Level: "info", Format: "auto"},
		// Findings are what people come back for, so nobody removes them unasked.
		// An archive is needed until its scan has ended, and fills the disk.
		Retention: Retention{Scans: 0, Archives: 30 * 24 * time.Hour, Sweep: time.Minute},
		Targets:   Targets{ProofLife: 30 * 24 * time.Hour, Recheck: 24 * time.Hour},
		Egress:    Egress{AllowNetworks: []string{}, Ports: []string{"80", "443"}},
		Scans:     map[string]Scan{"codeaudit": archive, "web": web, "import": reports},
		Plugins:   map[string]Plugin{"secrets": secrets, "dependencies": packages, "iac": deploy, "gosec": code, "web": site, "import": reader},
		Plans:     builtInPlans(),
	}
}

// defaultScan is what a scan block starts from.
func defaultScan() Scan {
	return Scan{
		Input: "archive", Plugins: []string{}, Timeout: 10 * time.Minute,
		Attempts: 3, Backoff: BackoffRange{Min: time.Second, Max: time.Minute}, Options: map[string]Option{},
	}
}

// defaultPlugin is what a plugin block starts from.
func defaultPlugin(name string) Plugin {
	return Plugin{
		Command: name, Args: []string{}, Files: []string{}, Env: map[string]string{}, EnvPass: []string{},
		Isolation: "per_scan", Standby: 1, TenantIdle: 5 * time.Minute, TenantProcesses: 16,
		Sandbox: "required", Network: "none", Read: []string{},
		EgressHosts: []string{}, EgressNetworks: []string{}, EgressPorts: []string{"80", "443"},
		Limits:       PluginLimits{Memory: 512 * MiB, PIDs: 128, OpenFiles: 1024, FileSize: 64 * MiB, Disk: 256 * MiB},
		StartTimeout: 10 * time.Second, MaxSilence: time.Minute, CancelGrace: 5 * time.Second,
		Config:  json.RawMessage(`{}`),
		Restart: Restart{Backoff: BackoffRange{Min: 500 * time.Millisecond, Max: time.Minute}, MaxFailures: 3, Window: 10 * time.Minute},
	}
}
