package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFileBytes bounds a configuration file.
const maxFileBytes = 1 << 20

// entry is one key of the file with the line it stands on.
type entry struct {
	key  string // path joined by dots; keys of the n-th peer are peers[n].id
	line int
}

// document is a parsed file: its entries in order, and their values by key.
type document struct {
	path    string
	entries []entry
	values  map[string]any
}

// line returns the line of a key, 0 if the file does not have it.
func (d *document) line(key string) int {
	for _, e := range d.entries {
		if e.key == key {
			return e.line
		}
	}
	return 0
}

// errorf builds an error that names file and line.
func (d *document) errorf(line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", d.path, line, fmt.Errorf(format, args...))
}

// parseDocument reads TOML twice: once for the values, once for the lines, which the decoder does not keep.
func parseDocument(path string, text []byte) (*document, error) {
	d := &document{path: path, values: map[string]any{}}
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			row, _ := at.Position()
			return nil, d.errorf(row, "%w: %v", ErrSyntax, strings.TrimPrefix(err.Error(), "toml: "))
		}
		return nil, fmt.Errorf("%s: %w: %v", path, ErrSyntax, err)
	}
	flatten(d.values, "", tree)
	if err := d.readLines(text); err != nil {
		return nil, err
	}
	return d, nil
}

// flatten joins nested tables with dots and numbers the elements of arrays of tables.
func flatten(into map[string]any, prefix string, tree map[string]any) {
	for k, v := range tree {
		name := prefix + k
		switch v := v.(type) {
		case map[string]any:
			flatten(into, name+".", v)
		case []any:
			tables := 0
			for i, e := range v {
				if t, ok := e.(map[string]any); ok {
					flatten(into, fmt.Sprintf("%s[%d].", name, i), t)
					tables++
				}
			}
			if tables == 0 {
				into[name] = v
			}
		default:
			into[name] = v
		}
	}
}

// readLines walks the expressions of the file and notes the line of each key.
func (d *document) readLines(text []byte) error {
	var p unstable.Parser
	p.Reset(text)
	table, arrays := "", map[string]int{}
	for p.NextExpression() {
		e := p.Expression()
		name, line := joinKey(&p, e.Key())
		switch e.Kind {
		case unstable.Table:
			table = name + "."
		case unstable.ArrayTable:
			table = fmt.Sprintf("%s[%d].", name, arrays[name])
			arrays[name]++
		case unstable.KeyValue:
			d.addLines(table+name, line, e.Value())
		}
	}
	if err := p.Error(); err != nil {
		return fmt.Errorf("%s: %w: %v", d.path, ErrSyntax, err)
	}
	return nil
}

// addLines notes a key, or the keys of an inline table or of an array of inline tables. These have the line of their key.
func (d *document) addLines(name string, line int, v *unstable.Node) {
	children := 0
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			d.addLines(name+"."+plainKey(it.Node().Key()), line, it.Node().Value())
			children++
		}
	case unstable.Array:
		for it, i := v.Children(), 0; it.Next(); i++ {
			if it.Node().Kind == unstable.InlineTable {
				d.addLines(fmt.Sprintf("%s[%d]", name, i), line, it.Node())
				children++
			}
		}
	}
	if children == 0 {
		d.entries = append(d.entries, entry{name, line})
	}
}

// joinKey returns a dotted key as one string, and its line.
func joinKey(p *unstable.Parser, it unstable.Iterator) (string, int) {
	var parts []string
	line := 0
	for it.Next() {
		n := it.Node()
		if line == 0 {
			line = p.Shape(n.Raw).Start.Line
		}
		parts = append(parts, string(n.Data))
	}
	return strings.Join(parts, "."), line
}

func plainKey(it unstable.Iterator) string {
	var parts []string
	for it.Next() {
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, ".")
}
