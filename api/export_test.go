package api

import "net/http"

// What the tests look at by itself.
var (
	ParsePrefer = parsePrefer
	AcceptsGzip = acceptsGzip
	Matches     = matches
)

// CheckDigest says whether a body is what a Content-Digest says.
func CheckDigest(header string, body []byte) error {
	d, err := digestsOf(http.Header{"Content-Digest": {header}})
	if err != nil {
		return err
	}
	d.add(body)
	return d.check()
}
