package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// Format is a shape of output.
type Format string

// The formats of -o.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	JSONL Format = "jsonl"
	YAML  Format = "yaml"
	CSV   Format = "csv"
	Name  Format = "name"
)

// AllFormats is what a command with a table offers.
var AllFormats = []Format{Table, Wide, JSON, JSONL, YAML, CSV, Name}

// Output is a command's -o flag.
type Output struct {
	Formats []Format // the first is the default
	Format  Format
}

// Register adds -o/--output with its completion.
func (o *Output) Register(cmd *cobra.Command) {
	if len(o.Formats) == 0 {
		o.Formats = AllFormats
	}
	o.Format = o.Formats[0]
	cmd.Flags().VarP(o, "output", "o", "output `format`: "+o.list())
	_ = cmd.RegisterFlagCompletionFunc("output", o.complete)
}

func (o *Output) complete(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, f := range o.Formats {
		names = append(names, string(f))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (o *Output) list() string {
	var b strings.Builder
	for i, f := range o.Formats {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(string(f))
	}
	return b.String()
}

// Set, String and Type make Output a flag value.
func (o *Output) Set(s string) error {
	if !slices.Contains(o.Formats, Format(s)) {
		return fmt.Errorf("must be one of %s", o.list())
	}
	o.Format = Format(s)
	return nil
}

func (o *Output) String() string { return string(o.Format) }

// Type names the value in help.
func (o *Output) Type() string { return "format" }

// Human says whether the answer is for a person's eyes.
func (o *Output) Human() bool { return o.Format == Table || o.Format == Wide }

// View is one answer in every shape that a user can ask for.
type View struct {
	Kind    string
	Version int // of the document's form; 0 means 1
	Doc     any // a struct, or a slice that becomes "items"
	Table   *Grid
	Names   []string
	// Text replaces the table for a person, when an answer is more than one table.
	Text func(w io.Writer, st Style) error
}

// Print writes a view in the chosen format to standard output.
func (a *App) Print(o *Output, v View) error {
	return Write(a.Out, o.Format, a.OutStyle(), v)
}

// Write renders a view.
func Write(w io.Writer, f Format, st Style, v View) error {
	var err error
	switch f {
	case JSON:
		err = writeJSON(w, v)
	case JSONL:
		err = writeJSONL(w, v)
	case YAML:
		err = writeYAML(w, v)
	case CSV:
		err = v.Table.writeCSV(w)
	case Name:
		for _, n := range v.Names {
			if _, err = fmt.Fprintln(w, n); err != nil {
				break
			}
		}
	default:
		if v.Text != nil {
			return v.Text(w, st)
		}
		err = v.Table.Write(w, st, f == Wide)
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// document returns the view as one JSON object that starts with kind and version.
func document(v View) ([]byte, error) {
	version := max(v.Version, 1)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v.Doc); err != nil {
		return nil, fmt.Errorf("encode %s: %w", v.Kind, err)
	}
	body := bytes.TrimRight(b.Bytes(), "\n")
	head := fmt.Sprintf(`{"kind":%q,"version":%d`, v.Kind, version)
	switch {
	case bytes.Equal(body, []byte("null")):
		return []byte(head + `,"items":[]}`), nil
	case body[0] == '[':
		return append(append([]byte(head+`,"items":`), body...), '}'), nil
	case bytes.Equal(body, []byte("{}")):
		return []byte(head + "}"), nil
	}
	return append([]byte(head+","), body[1:]...), nil
}

func writeJSON(w io.Writer, v View) error {
	doc, err := document(v)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, doc, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

func writeJSONL(w io.Writer, v View) error {
	items := reflect.ValueOf(v.Doc)
	if items.Kind() != reflect.Slice {
		doc, err := document(v)
		if err != nil {
			return err
		}
		_, err = w.Write(append(doc, '\n'))
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range items.Len() {
		if err := enc.Encode(items.Index(i).Interface()); err != nil {
			return err
		}
	}
	return nil
}

// writeYAML goes through JSON, so that both have the same names in the same order.
func writeYAML(w io.Writer, v View) error {
	doc, err := document(v)
	if err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(doc, &n); err != nil {
		return err
	}
	blockStyle(&n)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&n); err != nil {
		return err
	}
	return enc.Close()
}

func blockStyle(n *yaml.Node) {
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode || n.Tag == "!!str" {
		n.Style = 0
	}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 || n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		blockStyle(c)
	}
}

// writeCSV prints all columns, wide ones included.
func (g *Grid) writeCSV(w io.Writer) error {
	cw := csv.NewWriter(w)
	head := make([]string, len(g.Columns))
	for i, c := range g.Columns {
		head[i] = strings.ToLower(strings.ReplaceAll(c.Title, " ", "_"))
	}
	if err := cw.Write(head); err != nil {
		return err
	}
	for _, r := range g.Rows {
		row := make([]string, len(r))
		for i, c := range r {
			row[i] = c.Text
		}
		if err := cw.Write(row); err != nil {
			return err
		}
	}
	cw.Flush()
	return cw.Error()
}
