package api

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a log may have. Its plugin reads it whole, so what a small body grows to
// in memory is bounded here.
const (
	maxReportDepth = 64
	maxReportParts = 500_000 // objects and nulls, each of which can be a result
	maxRuns        = 20
	maxToolName    = 100 // characters
)

// reportLook goes through a log once, value by value, and keeps none.
type reportLook struct {
	dec   *json.Decoder
	at    []string // where it is, as names and numbers
	parts int

	versioned bool
	runs      int
	named     int // runs with a tool
	tools     []string
}

// lookAtReport reads a SARIF log to its end and gives the names of its tools, each
// once and sorted. What is wrong with it is refused with its place; all else that
// is in it is for the plugin.
func lookAtReport(r io.Reader) ([]string, error) {
	text := bufio.NewReader(r)
	if mark, err := text.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = text.Discard(3) // it was peeked
	}
	l := &reportLook{dec: json.NewDecoder(text)}
	if err := l.value(); err != nil {
		return nil, err
	}
	if _, err := l.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, l.refuse("There is something behind the log.")
	}
	switch {
	case !l.versioned:
		return nil, badField("", "version", `The log has no version; it must be "2.1.0".`)
	case l.runs == 0:
		return nil, badField("", "runs", "The log has no runs: no tool looked.")
	}
	slices.Sort(l.tools)
	return slices.Compact(l.tools), nil
}

func (l *reportLook) refuse(format string, args ...any) error {
	return badField("", cmp.Or(strings.Join(l.at, "/"), "file"), fmt.Sprintf(format, args...))
}

// enter looks at a part of the value, which has a name or a number in it.
func (l *reportLook) enter(name string) error {
	l.at = append(l.at, strings.NewReplacer("~", "~0", "/", "~1").Replace(fmt.Sprintf("%.64s", name)))
	err := l.value()
	l.at = l.at[:len(l.at)-1]
	return err
}

func (l *reportLook) value() error {
	token, err := l.dec.Token()
	if err != nil {
		return l.refuse("The body is not JSON: %v.", err)
	}
	open, nested := token.(json.Delim)
	if nested && len(l.at) >= maxReportDepth {
		return l.refuse("The log is nested deeper than %d.", maxReportDepth)
	}
	if token == nil || nested && open == '{' {
		if l.parts++; l.parts > maxReportParts {
			return l.refuse("The log has more than %d objects.", maxReportParts)
		}
	}
	if err := l.check(token); err != nil || !nested {
		return err
	}
	named := l.named
	for i := 0; l.dec.More(); i++ {
		name := strconv.Itoa(i)
		if open == '{' {
			key, err := l.dec.Token()
			if err != nil {
				return l.refuse("The body is not JSON: %v.", err)
			}
			name, _ = key.(string) // nothing else is a key
		}
		if err := l.enter(name); err != nil {
			return err
		}
	}
	if _, err := l.dec.Token(); err != nil { // the end of it
		return l.refuse("The body is not JSON: %v.", err)
	}
	if len(l.at) == 2 && l.at[0] == "runs" && l.named == named {
		return l.refuse("The run does not say which tool looked: it has no tool.driver.name.")
	}
	return nil
}

// check holds what a value is to what it must be at its place.
func (l *reportLook) check(token json.Token) error {
	at, kind := l.at, json.Delim('{')
	switch {
	case len(at) == 0, len(at) == 2 && at[0] == "runs", len(at) == 3 && at[0] == "runs" && at[2] == "tool",
		len(at) == 4 && at[0] == "runs" && at[2] == "tool" && at[3] == "driver":
	case len(at) == 1 && at[0] == "runs":
		kind = '['
	case len(at) == 1 && at[0] == "version":
		if token != "2.1.0" {
			return l.refuse(`The log must be of SARIF version "2.1.0".`)
		}
		l.versioned = true
		return nil
	case len(at) == 5 && at[0] == "runs" && at[2] == "tool" && at[3] == "driver" && at[4] == "name":
		return l.tool(token)
	default:
		return nil
	}
	if token != kind {
		return l.refuse("It must be %s.", map[json.Delim]string{'{': "an object", '[': "a list"}[kind])
	}
	if len(at) == 2 {
		if l.runs++; l.runs > maxRuns {
			return l.refuse("The log has more than %d runs.", maxRuns)
		}
	}
	return nil
}

// tool takes the name of a run's.
func (l *reportLook) tool(token json.Token) error {
	name, ok := token.(string)
	if n := utf8.RuneCountInString(name); !ok || n < 1 || n > maxToolName {
		return l.refuse("A tool's name must have 1 to %d characters.", maxToolName)
	}
	// U+FFFD is what half a surrogate pair is read as.
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError }) {
		return l.refuse("A tool's name must be printable.")
	}
	l.named++
	l.tools = append(l.tools, name)
	return nil
}
