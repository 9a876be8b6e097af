package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// What the tag reload of a setting, or of the block around it, says of a change.
// A setting without one needs a restart, and a test asks for the tag.
const (
	reloadYes      = "yes"      // a running host takes it
	reloadNo       = "no"       // it needs a restart
	reloadSettings = "settings" // of blocks with a label: yes, but a new block or one that is gone needs a restart
)

var reloads = []string{reloadYes, reloadNo, reloadSettings} //nolint:gochecknoglobals // a constant list

// live reports whether a running host takes a change of the setting.
func (n *node) live() bool { return n.reload == reloadYes || n.reload == reloadSettings }

// Action is what became of a setting or of a block with a label.
type Action string

const (
	Changed Action = "changed"
	Added   Action = "added"   // a block that is new
	Removed Action = "removed" // a block that is gone
)

// Change is one difference between two configurations.
type Change struct {
	Action Action
	Path   string // "limits.entries", or "plugin.deps" for a whole block
	// Old and New are the values as in the file; "" for a whole block. Of what is
	// sensitive both are "(sensitive)".
	Old, New string
	// Source says where New comes from, and Old where it is none any more.
	Source string
	// Restart: a running host does not take it before it is started again.
	Restart bool
	// Because says why it waits although a change alone would not; "" otherwise.
	Because string
}

// Diff lists what next has differently, in the order of the structs.
func (l *Loaded) Diff(next *Loaded) []Change {
	_, changes := l.Take(next, "")
	return changes
}

// Take gives what is in force on a host that runs with l after it has read next:
// next, but for what needs a restart, which stays as it is in l. Only paths that
// begin with scope are taken or listed; "" is all. Neither l nor next is changed.
//
// A scan type keeps its plugins when it would get one that waits for a restart:
// nobody here would run that one's jobs.
func (l *Loaded) Take(next *Loaded, scope string) (*Loaded, []Change) {
	t := &taking{old: l, next: next, scope: scope, origins: maps.Clone(next.origins)}
	out := next.Config
	t.block(l.schema, reflect.ValueOf(l.Config), reflect.ValueOf(next.Config), reflect.ValueOf(&out).Elem(), "")
	t.keepPlugins(&out)
	taken := *next
	taken.Config, taken.origins = out, t.origins
	return &taken, t.changes
}

// taking is one Take on its way.
type taking struct {
	old, next *Loaded
	scope     string
	changes   []Change
	origins   map[string]origin
}

// block goes through the settings of a block. out holds what next has, and gets
// back what stays as it was.
func (t *taking) block(n *node, old, next, out reflect.Value, path string) {
	for _, c := range n.children {
		o, x, to, p := old.Field(c.index), next.Field(c.index), out.Field(c.index), path+c.name
		switch {
		case c.kind == kindBlock:
			t.block(c, o, x, to, p+".")
		case c.kind == kindLabelled:
			t.labelled(c, o, x, to, p+".")
		case reflect.DeepEqual(c.canonical(o), c.canonical(x)):
		default:
			taken := t.note(Change{
				Action: Changed, Path: p, Old: c.display(c.canonical(o)), New: c.display(c.canonical(x)),
				Source: t.next.Source(p), Restart: !c.live(),
			})
			if !taken {
				to.Set(o)
				t.keepOrigin(p)
			}
		}
	}
}

// labelled goes through all blocks of a kind that one of the two has.
func (t *taking) labelled(n *node, old, next, out reflect.Value, path string) {
	labels := map[string]bool{}
	for _, m := range []reflect.Value{old, next} {
		for _, k := range m.MapKeys() {
			labels[k.String()] = true
		}
	}
	blocks := reflect.MakeMap(out.Type()) // not next's own map
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		key, p := reflect.ValueOf(name), path+name
		o, x := old.MapIndex(key), next.MapIndex(key)
		c := Change{Path: p, Restart: n.reload != reloadYes}
		switch {
		case !o.IsValid():
			c.Action, c.Source = Added, t.next.blockSource(p)
			if t.note(c) {
				blocks.SetMapIndex(key, x)
			}
		case !x.IsValid():
			c.Action, c.Source = Removed, t.old.blockSource(p)
			if !t.note(c) {
				blocks.SetMapIndex(key, o)
				t.keepOrigin(p)
			}
		default:
			block := reflect.New(x.Type()).Elem()
			block.Set(x)
			t.block(n, o, x, block, p+".")
			blocks.SetMapIndex(key, block)
		}
	}
	out.Set(blocks)
}

// note lists a change, and reports whether a running host takes it.
func (t *taking) note(c Change) bool {
	if !strings.HasPrefix(c.Path+".", t.scope) {
		return false
	}
	t.changes = append(t.changes, c)
	return !c.Restart
}

// keepOrigin makes what stays in force, a setting or a block with all of its
// settings, come from where it came from.
func (t *taking) keepOrigin(path string) {
	for p := range t.next.origins {
		if p == path || strings.HasPrefix(p, path+".") {
			delete(t.origins, p)
		}
	}
	for p, from := range t.old.origins {
		if p == path || strings.HasPrefix(p, path+".") {
			t.origins[p] = from
		}
	}
}

// keepPlugins leaves a scan type the plugins that it has when it would get one
// that is not there.
func (t *taking) keepPlugins(out *Config) {
	for name, s := range out.Scans {
		missing := slices.IndexFunc(s.Plugins, func(p string) bool { _, ok := out.Plugins[p]; return !ok })
		if missing < 0 {
			continue
		}
		path := "scan." + name + ".plugins"
		because := fmt.Sprintf("plugin %q needs one", s.Plugins[missing])
		s.Plugins = t.old.Config.Scans[name].Plugins
		out.Scans[name] = s
		t.keepOrigin(path)
		for i := range t.changes {
			if t.changes[i].Path == path {
				t.changes[i].Restart, t.changes[i].Because = true, because
			}
		}
	}
}

// blockSource is where a block with a label stands.
func (l *Loaded) blockSource(path string) string {
	if at, ok := l.blocks[path]; ok {
		return fmt.Sprintf("%s:%d", at.Filename, at.Start.Line)
	}
	return "default"
}
