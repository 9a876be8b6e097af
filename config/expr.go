package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// What bounds the reading of a file: its size, and how deep its expressions
// nest, because HCL's parser and evaluator recurse. Loops are refused, so an
// evaluation is as long as its text.
const (
	maxFile      = 1 << 20
	maxDepth     = 64
	maxOperators = 10_000
	maxExponent  = 256      // of a number, in base 2
	maxIncluded  = 64 << 10 // of one file()
	maxIncludes  = 1 << 20  // of all file() together
)

// parse reads a file into its body. The body is worth walking even when there
// are diagnostics, unless it is nil.
func parse(src []byte, name string) (*hclsyntax.Body, hcl.Diagnostics) {
	if len(src) > maxFile {
		return nil, hcl.Diagnostics{{
			Severity: hcl.DiagError, Summary: "Configuration file too large",
			Detail: fmt.Sprintf("%s is over the limit of %s.", name, ByteSize(maxFile)),
		}}
	}
	if diags := checkDepth(src, name); diags.HasErrors() {
		return nil, diags
	}
	file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if file == nil {
		return nil, diags
	}
	return file.Body.(*hclsyntax.Body), distinct(diags)
}

// distinct drops what follows from an unterminated string: every further line
// would be reported as a part of it.
func distinct(diags hcl.Diagnostics) hcl.Diagnostics {
	multiline := false
	return slices.DeleteFunc(diags, func(d *hcl.Diagnostic) bool {
		if d.Summary != "Invalid multi-line string" {
			return false
		}
		drop := multiline
		multiline = true
		return drop
	})
}

// unreadable reports whether something of the file may be missing from its
// body, so that nothing can be said of the whole.
func unreadable(diags hcl.Diagnostics) bool {
	return slices.ContainsFunc(diags, func(d *hcl.Diagnostic) bool { return d.Summary != "Attribute redefined" })
}

// checkDepth refuses, before the parser sees them, files on which it would
// recurse without end.
func checkDepth(src []byte, name string) hcl.Diagnostics {
	tokens, _ := hclsyntax.LexConfig(src, name, hcl.InitialPos) // the parser reports what is wrong with them
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenOQuote,
			hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
			operators++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth--
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit,
			hclsyntax.TokenComment, hclsyntax.TokenNewline, hclsyntax.TokenComma, hclsyntax.TokenEqual:
		default:
			operators++
		}
		if depth > maxDepth || operators > maxOperators {
			return problem(t.Range, "Configuration too deeply nested",
				"Blocks, lists and expressions may be nested %d levels deep, and a file may have %d operators and brackets.", maxDepth, maxOperators)
		}
	}
	return nil
}

// checkExpr refuses, before it is evaluated, an expression with a loop, whose
// work is not bounded by its text, or with a number whose digits would fill
// the memory.
func checkExpr(expr hclsyntax.Expression) hcl.Diagnostics {
	return hclsyntax.VisitAll(expr, func(n hclsyntax.Node) hcl.Diagnostics {
		switch e := n.(type) {
		case *hclsyntax.ForExpr:
			return problem(e.Range(), "Loops are not supported", "A configuration has no for expressions: write the values out.")
		case *hclsyntax.LiteralValueExpr:
			if !e.Val.IsKnown() || e.Val.IsNull() || e.Val.Type() != cty.Number {
				return nil
			}
			if exp := e.Val.AsBigFloat().MantExp(nil); exp > maxExponent || exp < -maxExponent {
				return problem(e.Range(), "Number out of range", "No setting takes a number of this size.")
			}
		}
		return nil
	})
}

// evalContext has the functions that an expression may call. dir is where
// file() looks for relative paths.
func evalContext(dir string, getenv func(string) (string, bool)) *hcl.EvalContext {
	return &hcl.EvalContext{Functions: map[string]function.Function{
		"env":       envFunc(getenv),
		"file":      fileFunc(dir),
		"coalesce":  stdlib.CoalesceFunc,
		"concat":    stdlib.ConcatFunc,
		"join":      stdlib.JoinFunc,
		"lower":     stdlib.LowerFunc,
		"max":       stdlib.MaxFunc,
		"min":       stdlib.MinFunc,
		"split":     stdlib.SplitFunc,
		"trimspace": stdlib.TrimSpaceFunc,
		"upper":     stdlib.UpperFunc,
	}}
}

// envFunc is env(name) and env(name, default).
func envFunc(getenv func(string) (string, bool)) function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam: &function.Parameter{Name: "default", Type: cty.String},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			switch v, ok := getenv(name); {
			case len(args) > 2:
				return cty.NilVal, function.NewArgErrorf(2, "env takes a name and at most one default")
			case ok:
				return cty.StringVal(v), nil
			case len(args) == 2:
				return args[1], nil
			default:
				return cty.NilVal, function.NewArgErrorf(0, "the environment variable %.64q is not set; give a default as in env(%.64q, \"\") if it may be missing", name, name)
			}
		},
	})
}

// fileFunc is file(path): the text of a small regular file, such as a mounted
// secret.
func fileFunc(dir string) function.Function {
	left := int64(maxIncludes)
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			path := args[0].AsString()
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			text, err := readFile(path, min(maxIncluded, left))
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			left -= int64(len(text))
			if !utf8.Valid(text) {
				return cty.NilVal, function.NewArgErrorf(0, "%.128q is not UTF-8 text", path)
			}
			return cty.StringVal(string(text)), nil
		},
	})
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	// Opening a pipe or a device must not block.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		return nil, fmt.Errorf("read %.128q: %w", path, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %.128q: not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %.128q: %w", path, err)
	case int64(len(text)) > limit:
		return nil, fmt.Errorf("read %.128q: over the limit of %s", path, ByteSize(limit))
	}
	return text, nil
}
