// Command web is the scanner plugin that looks at a web site from outside: what
// its answers say about headers, cookies, TLS, forms and scripts, and what it
// gives to whoever asks. It reads, and sends nothing that changes the site.
// README.md says what it asks for and what it does not do.
package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/securetaghq/securetag/sdk"
	"github.com/securetaghq/securetag/sdk/egress"
)

const version = "0.1.0"

// Config is the operator's settings.
type Config struct {
	AllowNetworks  []string      `json:"allow_networks" doc:"Addresses and networks that are not public and may be scanned all the same, by every tenant, such as 10.20.0.0/16. With any, names that are not public may be scanned, too, when they lead there. This host's own addresses are opened one by one and by no network, but for the loopback's. The metadata services of clouds are refused whatever stands here."`
	Ports          []string      `json:"ports" default:"80,443" doc:"Ports that may be scanned, and ranges of them, such as 8000-8999."`
	Literals       bool          `json:"literals" doc:"Takes targets that are public addresses, such as https://203.0.113.7/, and not only names."`
	CA             string        `json:"ca" doc:"Certificates of more authorities to trust, in PEM, for sites inside."`
	UserAgent      string        `json:"user_agent" default:"SecureTag-Web/0.1 (security scan)" doc:"How it names itself to the site and in robots.txt."`
	Rate           float64       `json:"requests_per_second" default:"10" min:"0.1" max:"1000" doc:"Requests to the site in a second, of one scan."`
	MaxRequests    int           `json:"max_requests" default:"2000" min:"10" max:"20000" doc:"Requests of one scan. What is left then is not looked at, and the scan is partial."`
	MaxPages       int           `json:"max_pages" default:"200" min:"1" max:"10000" doc:"Pages and scripts that one scan follows links to. A site that has more is scanned in part."`
	MaxDepth       int           `json:"max_depth" default:"8" min:"0" max:"100" doc:"Links from the first page to the last. A site that is deeper is scanned in part."`
	MaxProbes      int           `json:"max_probes" default:"100" min:"1" max:"10000" doc:"Parameters that are given values, directories, pages whose backups are asked for and answers that are asked for in the name of another site: so many of each in one scan. A site that has more is scanned in part."`
	MaxTime        time.Duration `json:"max_time" default:"5m" min:"1s" max:"12h" doc:"Time for one scan, which is partial then. Keep it below the timeout of the scan type."`
	RequestTimeout time.Duration `json:"request_timeout" default:"10s" min:"100ms" max:"5m" doc:"Time for one answer, from the lookup of the name to its end."`
	MaxBody        sdk.Bytes     `json:"max_body" default:"2MiB" min:"1KiB" max:"16MiB" doc:"How much is read of one answer, unpacked."`
	IgnoreRobots   bool          `json:"ignore_robots" doc:"Also follows links that the site's robots.txt asks robots not to follow. For sites of your own."`
}

// Options is what a client may say of one scan.
type Options struct {
	Hosts    []string `json:"hosts" doc:"More hosts that belong to the site, each with or without a port: links to them are followed."`
	MaxPages int      `json:"max_pages" min:"0" max:"10000" doc:"Fewer pages than the operator allows. 0: as many."`
	MaxDepth int      `json:"max_depth" min:"0" max:"100" doc:"Fewer links from the first page than the operator allows. 0: as many."`
	Passive  bool     `json:"passive" doc:"Only follows links, and asks for nothing that no page links to: no exposed files, no values of its own in parameters."`

	Headers map[string]string `json:"headers" sensitive:"true" doc:"Headers by which the site knows somebody, by name. They are sent to the target's scheme, host and port alone, and nowhere shown."`
	Cookies map[string]string `json:"cookies" sensitive:"true" doc:"The same with cookies."`
}

// environment is what tests replace.
type environment struct {
	resolver egress.Resolver                // nil: the system's
	system   func() (*x509.CertPool, error) // the authorities of the machine; nil: x509's
	plain    func(httpsPort string) string  // the port at which a site's http is; "" none
	archive  int                            // bytes that the archive of requests takes; 0: maxHARTotal
	queue    int                            // links that are remembered; 0: maxQueue
}

func main() {
	sdk.Main(scanner(environment{plain: func(port string) string {
		if port == "443" {
			return "80"
		}
		return ""
	}}))
}

func scanner(env environment) sdk.Scanner[Config] {
	return sdk.Scanner[Config]{
		Name:               "web",
		Version:            version,
		Description:        "Looks at a web site from outside: headers, cookies, TLS, exposed files, forms, scripts.",
		Vendor:             "SecureTag",
		License:            "Apache-2.0",
		Consumes:           []sdk.Input{sdk.URL},
		Rules:              rules(),
		Needs:              sdk.Needs{Network: true, Memory: 256 * sdk.MiB},
		MaxConcurrentScans: 4,
		Options:            Options{},
		Scan:               env.scan,
	}
}

// Validate finds what the tags cannot say.
func (c *Config) Validate() error {
	_, err := c.egress(nil)
	if len(c.Ports) == 0 {
		err = errors.Join(err, errors.New("ports is empty, so nothing could be scanned: name a port, such as 443"))
	}
	if _, _, rerr := c.roots(nil); rerr != nil {
		err = errors.Join(err, rerr)
	}
	return err
}

// egress is what the settings say of where it may go.
func (c *Config) egress(r egress.Resolver) (egress.Config, error) {
	out := egress.Config{
		Literals: c.Literals, Timeout: c.RequestTimeout, MaxBody: int64(c.MaxBody),
		Decompress: true, KeepAlive: true, TLS: lenient(), Resolver: r, Proxy: egress.HostProxy(),
	}
	var errs []error
	for _, s := range c.AllowNetworks {
		p, err := egress.ParseNetwork(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("allow_networks: %w", err))
		}
		out.Allow = append(out.Allow, p)
	}
	for _, s := range c.Ports {
		p, err := egress.ParsePorts(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("ports: %w", err))
		}
		out.Ports = append(out.Ports, p)
	}
	return out, errors.Join(errs...)
}

// roots are the authorities that are trusted, and whether the machine has any of its
// own.
func (c *Config) roots(system func() (*x509.CertPool, error)) (pool *x509.CertPool, some bool, err error) {
	if system == nil {
		system = x509.SystemCertPool
	}
	if pool, err = system(); err != nil {
		pool = x509.NewCertPool() // a machine without any
	}
	some = !pool.Equal(x509.NewCertPool())
	if c.CA != "" && !pool.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, false, errors.New("ca has no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----")
	}
	return pool, some, nil
}
