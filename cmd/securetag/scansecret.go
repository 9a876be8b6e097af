package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/securetaghq/securetag/host/intake"
)

// secretSource is where a secret is read: a value never stands on the command
// line, where other users and the shell's history see it.
type secretSource struct {
	name, member string // the member of an object; "" for the whole
	file, env    string // one of them, or neither: standard input
}

// key is how the flag names it.
func (s secretSource) key() string {
	if s.member == "" {
		return s.name
	}
	return s.name + "." + s.member
}

func (s secretSource) stdin() bool { return s.file == "" && s.env == "" }

// source is where it is read, for people.
func (s secretSource) source() string {
	switch {
	case s.env != "":
		return fmt.Sprintf("the variable %q", s.env)
	case s.file != "":
		return fmt.Sprintf("the file %q", s.file)
	default:
		return "standard input"
	}
}

// secretUsage is what the help says of --secret.
const secretUsage = "option that nobody is shown, as NAME=@FILE, NAME=env:VARIABLE or NAME=- (repeatable)"

// parseSecret reads NAME=@FILE, NAME=env:VARIABLE or NAME=-. Of what it refuses it
// repeats no more than the name: the rest may be a secret.
func parseSecret(arg string) (s secretSource, err error) {
	const how = "write NAME=@FILE, NAME=env:VARIABLE, or NAME=- for standard input"
	name, from, ok := strings.Cut(arg, "=")
	var dotted bool
	s.name, s.member, dotted = strings.Cut(name, ".")
	if !ok || s.name == "" || dotted && s.member == "" {
		return s, errors.New("--secret: " + how)
	}
	file, isFile := strings.CutPrefix(from, "@")
	variable, isEnv := strings.CutPrefix(from, "env:")
	switch {
	case from == "-":
	case isFile && file != "":
		s.file = file
	case isEnv && variable != "":
		s.env = variable
	default:
		return s, fmt.Errorf("--secret %.64q: a secret does not stand on the command line, where other users and the shell's history see it: %s", name, how)
	}
	return s, nil
}

// parseSecrets reads all of them, before anything is read or asked for.
func parseSecrets(args []string) (all []secretSource, err error) {
	taken, stdin := map[string]bool{}, false
	for _, arg := range args {
		s, err := parseSecret(arg)
		switch {
		case err != nil:
			return nil, err
		case taken[s.key()], taken[s.name], s.member == "" && taken[s.name+"."]:
			return nil, fmt.Errorf("--secret %.64q is given twice", s.key())
		case stdin && s.stdin():
			return nil, fmt.Errorf("--secret %.64q: standard input is one secret: give the others in files or variables", s.key())
		}
		taken[s.key()], taken[s.name+"."] = true, true
		stdin = stdin || s.stdin()
		all = append(all, s)
	}
	return all, nil
}

// readSecrets reads them, by name; none, it gives nil.
func (p *program) readSecrets(ctx context.Context, args []string) (map[string]json.RawMessage, error) {
	sources, err := parseSecrets(args)
	if err != nil {
		return nil, usageError{err}
	}
	if len(sources) == 0 {
		return nil, nil
	}
	whole, members := map[string]json.RawMessage{}, map[string]map[string]json.RawMessage{}
	for _, s := range sources {
		raw, err := p.readSource(ctx, s)
		if exit := (*exitError)(nil); errors.As(err, &exit) || ctx.Err() != nil {
			return nil, err
		}
		var value json.RawMessage
		if err == nil {
			value, err = secretValue(raw)
		}
		switch {
		case err != nil:
			return nil, usageError{fmt.Errorf("--secret %.64q, from %s: %w", s.key(), s.source(), err)}
		case s.member == "":
			whole[s.name] = value
		case members[s.name] == nil:
			members[s.name] = map[string]json.RawMessage{s.member: value}
		default:
			members[s.name][s.member] = value
		}
	}
	for name, m := range members {
		whole[name] = encoded(m)
	}
	if len(encoded(whole)) > intake.MaxOptions {
		return nil, usageError{fmt.Errorf("--secret: together they are larger than %d bytes", intake.MaxOptions)}
	}
	return whole, nil
}

// readSource reads one as it is, up to the most that a request may carry.
func (p *program) readSource(ctx context.Context, s secretSource) ([]byte, error) {
	switch {
	case s.env != "":
		value, set := p.lookupEnv(s.env)
		if !set {
			return nil, errors.New("it is not set")
		}
		return []byte(value), nil
	case s.file != "":
		f, err := os.Open(s.file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readAtMost(ctx, f)
	case p.terminal(p.stdin):
		line, err := p.askHidden(ctx, "Secret "+s.key()+": ")
		return []byte(line), err
	default:
		return readAtMost(ctx, p.stdin)
	}
}

// readAtMost reads to the end, or until ctx ends: what still reads then ends with
// the process.
func readAtMost(ctx context.Context, r io.Reader) ([]byte, error) {
	type answer struct {
		text []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(r, intake.MaxOptions+1))
		if err == nil && len(text) > intake.MaxOptions {
			err = fmt.Errorf("it is larger than %d bytes", intake.MaxOptions)
		}
		done <- answer{text, err}
	}()
	select {
	case a := <-done:
		return a.text, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// secretValue takes what begins with {, [ or " as JSON, and everything else for
// text, also a number: keys and passwords may look like one. No error repeats it.
func secretValue(raw []byte) (json.RawMessage, error) {
	text := bytes.TrimSpace(raw)
	switch {
	case len(text) == 0:
		return nil, errors.New("there is nothing in it")
	case !utf8.Valid(text):
		return nil, errors.New("it is not UTF-8 text")
	case !bytes.ContainsRune([]byte(`{["`), rune(text[0])):
		return encoded(string(text)), nil
	case !json.Valid(text):
		return nil, errors.New(`it begins with {, [ or ", and is not JSON: mend it, or write text that begins so as a JSON string, in quotes`)
	}
	return text, nil
}

// encoded is v as JSON, in which < and & stay as they are.
func encoded(v any) json.RawMessage {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // strings, and maps of JSON that was checked, always encode
	return bytes.TrimSpace(out.Bytes())
}
