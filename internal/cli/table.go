package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Column describes one column of a Grid.
type Column struct {
	Title string
	Right bool // numbers stand right, so that they can be compared
	Wide  bool // only with -o wide, and in CSV
}

// Cell is one value; Level paints it with a symbol.
type Cell struct {
	Text  string
	Level Level
}

// Grid is a table. Each row has a cell for each column.
type Grid struct {
	Columns []Column
	Rows    [][]Cell
	// Empty is what a person reads in place of a table without rows.
	Empty string
}

// Add appends a row of plain values.
func (g *Grid) Add(values ...any) {
	row := make([]Cell, len(g.Columns))
	for i := range row {
		if i >= len(values) {
			break
		}
		switch v := values[i].(type) {
		case Cell:
			row[i] = v
		case string:
			row[i] = Cell{Text: v}
		default:
			row[i] = Cell{Text: fmt.Sprint(v)}
		}
	}
	g.Rows = append(g.Rows, row)
}

// Write renders the grid for a person: two spaces between columns, no lines, no trailing blanks.
func (g *Grid) Write(w io.Writer, st Style, wide bool) error {
	if len(g.Rows) == 0 && g.Empty != "" {
		_, err := fmt.Fprintln(w, st.Dim(g.Empty))
		return err
	}
	var cols []int
	for i, c := range g.Columns {
		if wide || !c.Wide {
			cols = append(cols, i)
		}
	}
	text := func(c Cell) string { return Style{}.Mark(c.Level, oneLine(c.Text)) }
	width := make([]int, len(g.Columns))
	for _, i := range cols {
		width[i] = utf8.RuneCountInString(g.Columns[i].Title)
		for _, r := range g.Rows {
			width[i] = max(width[i], utf8.RuneCountInString(text(r[i])))
		}
	}
	var b strings.Builder
	line := func(cell func(i int) (plain, painted string)) {
		var row strings.Builder
		pending := 0
		for n, i := range cols {
			if n > 0 {
				pending += 2
			}
			plain, painted := cell(i)
			pad := width[i] - utf8.RuneCountInString(plain)
			if g.Columns[i].Right {
				pending, pad = pending+pad, 0
			}
			if plain == "" {
				pending += pad
				continue
			}
			row.WriteString(strings.Repeat(" ", pending))
			row.WriteString(painted)
			pending = pad
		}
		b.WriteString(row.String())
		b.WriteByte('\n')
	}
	line(func(i int) (string, string) { t := g.Columns[i].Title; return t, st.Dim(t) })
	for _, r := range g.Rows {
		line(func(i int) (string, string) { return text(r[i]), st.Mark(r[i].Level, oneLine(r[i].Text)) })
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func oneLine(s string) string {
	return Printable(strings.ReplaceAll(s, "\n", " "))
}
