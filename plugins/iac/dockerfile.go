package main

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// isDockerfile goes by the name, as Trivy does: Dockerfile, Dockerfile.dev,
// dev.Dockerfile, and with Containerfile likewise. Dockerfile-dev is one too.
func isDockerfile(name string) bool {
	base := path.Base(name)
	ext := path.Ext(base)
	for _, want := range []string{"Dockerfile", "Containerfile"} {
		if strings.EqualFold(ext, "."+want) || strings.TrimSuffix(base, ext) == want && ext != ".dockerignore" {
			return true
		}
		if rest, ok := strings.CutPrefix(base, want); ok && ext == "" && strings.ContainsAny(rest[:min(len(rest), 1)], "-_") {
			return true
		}
	}
	return false
}

// readDockerfile gives what the checks take: stages with commands, as BuildKit
// reads them, in the form that Trivy gives them.
func readDockerfile(text []byte, name string) (document map[string]any, err error) {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("it has a NUL character")
	}
	// What is no UTF-8 the parser would tell on standard error.
	parsed, err := parser.Parse(bytes.NewReader(bytes.ToValidUTF8(text, []byte("\ufffd"))))
	if err != nil {
		return nil, err
	}
	var stages []any
	var commands []any
	stage, index := "args", 0 // what stands before the first FROM
	end := func() {
		if len(commands) > 0 {
			stages = append(stages, map[string]any{"Name": stage, "Commands": commands})
		}
		commands = nil
	}
	for _, n := range parsed.AST.Children {
		n.Value = strings.ToLower(n.Value)
		what, err := parseInstruction(n)
		if err != nil {
			return nil, err
		}
		if _, ok := what.(*instructions.Stage); ok {
			end()
			if stage != "args" {
				index++
			}
			stage = strings.TrimSpace(strings.TrimPrefix(n.Original, "FROM "))
		}
		commands = append(commands, command(n, name, index))
	}
	end()
	return map[string]any{"Stages": stages}, nil
}

// parseInstruction is BuildKit's, which may change the node. A flag that this
// release of BuildKit does not know is passed over: a later one may.
func parseInstruction(n *parser.Node) (any, error) {
	for {
		what, err := instructions.ParseInstruction(n)
		if err == nil {
			return what, nil
		}
		flag, unknown := strings.CutPrefix(err.Error(), "unknown flag: ")
		flag, _, _ = strings.Cut(flag, " ")
		known := slices.DeleteFunc(slices.Clone(n.Flags), func(f string) bool { return strings.HasPrefix(f, flag) })
		if !unknown || flag == "" || len(known) == len(n.Flags) {
			return nil, fmt.Errorf("line %d: %w", n.StartLine, err)
		}
		n.Flags = known
	}
}

func command(n *parser.Node, name string, stage int) map[string]any {
	c := map[string]any{
		"Cmd": n.Value, "SubCmd": "", "Original": n.Original, "Flags": texts(n.Flags),
		"Stage": stage, "Path": name, "StartLine": n.StartLine, "EndLine": n.EndLine,
	}
	if n.Next != nil && len(n.Next.Children) > 0 { // ONBUILD RUN ...
		n = n.Next.Children[0]
		c["SubCmd"] = n.Value
	}
	c["JSON"] = n.Attributes["json"]
	var values []string
	if len(n.Heredocs) > 0 && n.Next != nil {
		values = []string{script(n)}
		c["Original"] = withHeredocs(n)
	} else {
		for v := n.Next; v != nil; v = v.Next {
			values = append(values, v.Value)
		}
	}
	c["Value"] = texts(values)
	return c
}

// texts is null when there are none, as the checks know it.
func texts(all []string) any {
	if all == nil {
		return nil
	}
	out := make([]any, len(all))
	for i, s := range all {
		out[i] = s
	}
	return out
}

// withHeredocs is an instruction as it is written, with its here-documents.
func withHeredocs(n *parser.Node) string {
	docs := make([]string, len(n.Heredocs))
	for i, d := range n.Heredocs {
		docs[i] = d.Content + d.Name
	}
	return n.Original + "\n" + strings.Join(docs, "\n")
}

// script is what a here-document runs: its lines, when a shell reads them, or
// else the command that it is given to, with the document.
func script(n *parser.Node) string {
	first := n.Heredocs[0]
	if doc, err := parser.ParseHeredoc(n.Next.Value); err != nil || doc == nil || strings.HasPrefix(first.Content, "#!") {
		var b strings.Builder
		b.WriteString(n.Next.Value)
		for _, d := range n.Heredocs {
			b.WriteString("\n" + d.Content + d.Name)
		}
		return b.String()
	}
	text := first.Content
	if first.Chomp {
		text = parser.ChompHeredocContent(text)
	}
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	return strings.ReplaceAll(text, "\n", " ; ")
}
