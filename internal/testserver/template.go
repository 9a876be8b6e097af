package testserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Template is a database of which each test of a process gets a copy of its
// own: to copy what migrations make costs a tenth of what it takes to run them.
type Template struct {
	fill func(ctx context.Context, url string) error
	once sync.Once
	name string
	err  error
}

// NewTemplate is one that fill fills when the first test asks for a copy. After
// that, fill is connected to it no more.
func NewTemplate(fill func(ctx context.Context, url string) error) *Template {
	return &Template{fill: fill}
}

// Postgres is [Postgres] with what the template holds instead of nothing.
func (m *Template) Postgres(t testing.TB) string {
	t.Helper()
	m.once.Do(func() { m.err = m.make(t.Context()) })
	if m.err != nil {
		t.Fatalf("make a database to copy: %v", m.err)
	}
	return database(t, " template "+m.name)
}

func (m *Template) make(ctx context.Context) error {
	server, err := sharedPostgres()
	if err != nil {
		return err
	}
	name := "template_" + strings.ToLower(rand.Text())
	if err := execute(ctx, server.where, "create database "+name); err != nil {
		return err
	}
	m.name = name
	u, err := inDatabase(server.where, name)
	if err != nil {
		return err
	}
	return m.fill(ctx, u)
}

// Drop drops it, if a test has asked for it: after the tests, for one that
// others run as well.
func (m *Template) Drop(ctx context.Context) error {
	if m.name == "" {
		return nil
	}
	server, err := sharedPostgres()
	if err != nil {
		return err
	}
	if err := execute(ctx, server.where, "drop database "+m.name+" with (force)"); err != nil {
		return fmt.Errorf("drop the template: %w", err)
	}
	return nil
}
