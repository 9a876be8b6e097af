package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/securetaghq/securetag/host"
)

// The limits of a request's fields.
const (
	MaxOptions      = 16 << 10 // bytes of JSON
	MaxOptionsDepth = 8
	MaxURL          = 2048 // bytes
	ProjectPattern  = `^[A-Za-z0-9_-]{1,64}$`
)

var projectName = regexp.MustCompile(ProjectPattern)

// CheckProject refuses a project name that does not match ProjectPattern. ""
// is no project.
func CheckProject(name string) error {
	if name == "" || projectName.MatchString(name) {
		return nil
	}
	return refuse(host.ErrInvalid, "", "project", "%.80q must match %s.", name, ProjectPattern)
}

// CheckPriority refuses what is no priority. "" is the normal one.
func CheckPriority(p host.Priority) error {
	if p == "" || p.Valid() {
		return nil
	}
	return refuse(host.ErrInvalid, "", "priority", "%.40q must be one of high, normal and low.", string(p))
}

// ParseOptions checks one JSON object and gives it back in compact form, each
// member once. Empty input and null give nil. Refused is what not every store
// and plugin can take: NUL, lone surrogates and numbers beyond a double.
func ParseOptions(raw json.RawMessage) (json.RawMessage, error) {
	bad := func(format string, args ...any) (json.RawMessage, error) {
		return nil, refuse(host.ErrInvalid, "", "options", format, args...)
	}
	if len(raw) > MaxOptions {
		return bad("The options are larger than %d bytes.", MaxOptions)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	if !utf8.Valid(raw) {
		return bad("The options are not valid UTF-8.")
	}
	// The decoder puts U+FFFD where a lone surrogate was; so does whoever
	// escapes that character, which nobody needs to do.
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return bad("The options are not JSON: %v.", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad("The options hold more than one JSON value.")
	}
	if v == nil {
		return nil, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return bad("The options must be a JSON object.")
	}
	if err := checkJSON(object, MaxOptionsDepth); err != nil {
		return bad("The options %v.", err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return bad("The options are not JSON: %v.", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func checkJSON(v any, depth int) error {
	switch v.(type) {
	case map[string]any, []any:
		if depth < 1 {
			return fmt.Errorf("are nested deeper than %d", MaxOptionsDepth)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for k, member := range v {
			if err := errors.Join(checkJSON(k, depth), checkJSON(member, depth-1)); err != nil {
				return err
			}
		}
	case []any:
		for _, element := range v {
			if err := checkJSON(element, depth-1); err != nil {
				return err
			}
		}
	case string:
		if strings.ContainsAny(v, "\x00\uFFFD") {
			return errors.New(`hold a character that cannot be stored (\u0000 or half a surrogate pair)`)
		}
	case json.Number:
		// One that is too small for a double is no zero: exact arithmetic, which
		// checks a schema's bounds, takes long for it or gives up.
		if f, err := v.Float64(); err != nil || math.IsInf(f, 0) || f == 0 && !isZero(string(v)) {
			return fmt.Errorf("hold a number out of range: %.40s", v)
		}
	}
	return nil
}

// isZero reports whether a JSON number that reads as 0 is written as one.
func isZero(number string) bool {
	mantissa, _, _ := strings.Cut(strings.ToLower(number), "e")
	return !strings.ContainsAny(mantissa, "123456789")
}

// ParseURL checks a web target and gives it back as it was understood, so that
// nobody downstream parses it another way.
func ParseURL(target string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", refuse(host.ErrInvalid, "", "url", format, args...)
	}
	if len(target) > MaxURL {
		return bad("The URL is longer than %d bytes.", MaxURL)
	}
	if !utf8.ValidString(target) {
		return bad("The URL is not valid UTF-8.")
	}
	u, err := url.Parse(target)
	if err != nil {
		return bad("The URL cannot be read.") // the error repeats the URL, which may hold a password
	}
	switch port := u.Port(); {
	case u.Scheme != "http" && u.Scheme != "https":
		return bad("The URL must begin with http:// or https://.")
	case u.User != nil:
		return bad("The URL must not hold a user name or password.")
	case u.Hostname() == "":
		return bad("The URL names no host.")
	case port == "" && strings.HasSuffix(u.Host, ":"):
		return bad("The URL has a colon without a port.")
	case port != "":
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return bad("The URL's port must be between 1 and 65535.")
		}
	}
	out := u.String()
	if len(out) > MaxURL {
		return bad("The URL is longer than %d bytes when escaped.", MaxURL)
	}
	return out, nil
}
