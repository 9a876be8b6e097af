// Package egresstest has the table of what must not be called, and its public
// neighbours. Whatever decides where a stranger's target leads is tested with it.
package egresstest

import "strings"

// Own is the public address that the table takes for one of the host's own.
const Own = "93.184.216.99"

// OwnInside are those of its own that are in a network of Inside.
func OwnInside() []string { return strings.Fields(ownInside) }

// Inside are networks that an operator allows, and that this host is in.
func Inside() []string { return strings.Fields(inside) }

// RefusedInside has what is refused with the networks of Inside allowed: the host's
// own addresses, however they are written or translated, and metadata services.
func RefusedInside() []string { return strings.Fields(refusedInside) }

// AllowedInside has the neighbours of each.
func AllowedInside() []string { return strings.Fields(allowedInside) }

// RefusedURLs are ways to write what must not be called, each refused before any
// name is resolved, with the ports 80 and 443 allowed and nothing else.
func RefusedURLs() []string { return strings.Fields(refusedURLs) }

// RefusedAddresses has both ends of every network that is refused.
func RefusedAddresses() []string { return strings.Fields(refusedAddresses) }

// PublicAddresses has the public neighbours of each.
func PublicAddresses() []string { return strings.Fields(publicAddresses) }

const refusedURLs = `
http://127.0.0.1/ http://127.1/ http://127.0.1/ http://2130706433/ http://0x7f000001/ http://0x7f.0.0.1/ http://017700000001/ http://0177.0.0.1/
http://127.0.0.1./ http://0/ http://0.0.0.0/ http://0x/ http://00000000177.0.0.1/ http://127.0.0.0x1/ http://1.1.1.1.1/ http://256.0.0.1/ http://08.08.08.08/
http://[::1]/ http://[::]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[::ffff:8.8.8.8]/ http://[::127.0.0.1]/ http://[0:0:0:0:0:ffff:127.0.0.1]/
http://[fe80::1%25eth0]/ http://[64:ff9b::7f00:1]/ http://[2002:7f00:1::]/ http://[fd00:ec2::254]/ http://[2606:4700::1111]/ http://8.8.8.8/
http://１２７.0.0.1/ http://127。0。0。1/ http://①②⑦.0.0.1/ http://ⓛocalhost/ http://localhost/ http://LOCALHOST./ http://a.localhost/ http://localhost.localdomain/
http://metadata.google.internal/ http://METADATA.google.internal./ http://metadata/ http://metadata.goog/ http://instance-data/ http://x.internal/ http://printer.local/
http://router.home.arpa/ http://db.svc.cluster.local/ http://redis/ http://hidden.onion/ http://1.0.0.127.in-addr.arpa/
http://user@hooks.acme.com/ http://user:pass@hooks.acme.com/ http://hooks.acme.com@127.0.0.1/ http://127.0.0.1#@hooks.acme.com/ https://hooks.acme.com/#x
http://hooks.acme.com:22/ http://hooks.acme.com:6379/ http://hooks.acme.com:0/ http://hooks.acme.com:99999/ https://hooks.acme.com:8080/ http://hooks.acme.com:-1/
ftp://hooks.acme.com/ file:///etc/passwd gopher://hooks.acme.com/ javascript:alert(1) //hooks.acme.com/ hooks.acme.com http:hooks.acme.com http:/// http://:80/ https://
http://hooks..acme.com/ http://.acme.com/ http://hooks.acme.com../ http://hooks_%41.com/ http://hooks.acme.com%2f.evil.com/ http://hooks.ac\\me.com/
http://hooks.acme.com\t/ http://xn--a/ http://hooks.acme!.com/ http://[hooks.acme.com]/ http://[::1/ http://169.254.169.254/latest/meta-data/ http://[::ffff:a9fe:a9fe]/ http://169.254.43518/`

const refusedAddresses = `
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 100.100.100.200 127.0.0.0 127.0.0.1 127.255.255.255
169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.192 192.0.0.255 192.0.2.0 192.0.2.255
192.88.99.0 192.88.99.255 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.255 224.0.0.0 239.255.255.255
240.0.0.0 255.255.255.254 255.255.255.255 168.63.129.16 93.184.216.99
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:168.63.129.16 ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1
100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:1ff:ffff::1 2001:db8::1 2001:db8:ffff::1 2002:7f00:1:: 2002:808:808::1 2620:4f:8000::1
3fff::1 3fff:fff:ffff::1 1fff:ffff::1 4000::1 fc00::1 fdff::1 fd00:ec2::254 fd20:ce::254 fe80::1 febf::1 fec0::1 fe80::1%eth0 2606:4700::1%eth0
ff00::1 ff02::1 ff0e::1 5f00::1`

const publicAddresses = `
1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255 8.8.8.8 168.63.129.15 168.63.129.17 93.184.216.98
2000::1 2001:200::1 2001:4860:4860::8888 2003::1 2606:4700::1111 3ffe:ffff::1 3fff:1000::1 ::ffff:8.8.8.8`

const (
	ownInside     = "10.1.2.3 10.255.255.255 fd12::1:2:3 93.184.216.99 127.0.0.1 ::1"
	inside        = "10.0.0.0/8 fd00::/8 93.184.216.0/24 64.0.0.0/2 ::/8 64:ff9b::/96 64:ff9b:1::/48 2002::/16 169.254.0.0/16 100.64.0.0/10"
	refusedInside = `
10.1.2.3 10.255.255.255 ::ffff:10.1.2.3 fd12::1:2:3 93.184.216.99 ::ffff:93.184.216.99 127.0.0.1 127.9.9.9 ::ffff:127.0.0.1 ::1 ::
64:ff9b::10.1.2.3 64:ff9b::127.0.0.1 64:ff9b::0.0.0.0 64:ff9b:1::10.1.2.3 2002:a01:203:: 2002:7f00:1::1
64:ff9b::169.254.169.254 2002:a9fe:a9fe:: 169.254.169.254 100.100.100.200 fd00:ec2::254`
	allowedInside = `
10.1.2.2 10.1.2.4 10.255.255.254 ::ffff:10.1.2.4 fd12::1:2:4 93.184.216.98 93.184.216.100 126.255.255.255 ::2 64:ff9b::10.1.2.4 2002:a01:204:: 169.254.1.1 100.64.0.1`
)
