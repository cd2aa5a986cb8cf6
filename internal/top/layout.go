package top

import (
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// cut shortens a styled string to a width, with an ellipsis.
func cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	if ansi.StringWidth(s) <= width {
		return s
	}
	return ansi.Truncate(s, width, "…")
}

// fit cuts or pads a styled string to exactly a width.
func fit(s string, width int) string {
	s = cut(s, width)
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}

// right pads on the left.
func right(s string, width int) string {
	s = cut(s, width)
	return strings.Repeat(" ", max(0, width-ansi.StringWidth(s))) + s
}

// spread puts two strings at the ends of a line; the left one is cut first.
func spread(left, rightText string, width int) string {
	r := cut(rightText, width)
	room := width - ansi.StringWidth(r)
	if room < 8 {
		return fit(left, width)
	}
	return fit(left, room-1) + " " + r
}

// column describes one column of a table. Columns go by priority when they do not fit: the highest number goes first.
type column struct {
	title    string
	width    int  // at least; a column with grow takes what is left
	right    bool // numbers stand right and their column keeps its width, so that nothing jitters
	grow     bool
	priority int
}

// cell is a value with its style.
type cell struct {
	text  string
	style lipgloss.Style
}

// table renders rows in the columns that fit into width. selected is a row's index, or -1.
func (t theme) table(columns []column, rows [][]cell, width, selected int) []string {
	keep := make([]int, 0, len(columns))
	for i := range columns {
		keep = append(keep, i)
	}
	need := func() int {
		n := 1 // the cursor
		for _, i := range keep {
			n += columns[i].width + 1
		}
		return n
	}
	for need() > width && len(keep) > 1 {
		worst := 0
		for k := range keep {
			if columns[keep[k]].priority >= columns[keep[worst]].priority {
				worst = k
			}
		}
		keep = slices.Delete(keep, worst, worst+1)
	}
	widths := make([]int, len(columns))
	spare := width - need()
	for _, i := range keep {
		widths[i] = columns[i].width
		if columns[i].grow && spare > 0 {
			widths[i] += spare
			spare = 0
		}
	}
	line := func(mark string, get func(i int) (string, lipgloss.Style)) string {
		var b strings.Builder
		b.WriteString(mark)
		for n, i := range keep {
			if n > 0 {
				b.WriteByte(' ')
			}
			text, st := get(i)
			if columns[i].right {
				text = right(text, widths[i])
			} else {
				text = fit(text, widths[i])
			}
			b.WriteString(st.Render(text))
		}
		return cut(b.String(), width)
	}
	out := []string{line(" ", func(i int) (string, lipgloss.Style) { return columns[i].title, t.dim })}
	for r, row := range rows {
		mark := " "
		if r == selected {
			mark = t.glyphs.cursor
		}
		text := line(mark, func(i int) (string, lipgloss.Style) { return row[i].text, row[i].style })
		if r == selected {
			text = t.selected.Render(fit(ansi.Strip(text), width))
		}
		out = append(out, text)
	}
	return out
}

// section is a title with a rule to the right end.
func (t theme) section(title, note string, width int) string {
	head := t.title.Render(title)
	if note != "" {
		head += " " + t.dim.Render(note)
	}
	head = cut(head, width)
	rest := width - ansi.StringWidth(head) - 1
	if rest > 0 {
		head += " " + t.dim.Render(strings.Repeat(t.glyphs.rule, rest))
	}
	return head
}

// beside puts two blocks next to each other.
func beside(left []string, leftWidth int, rightBlock []string, gap int) []string {
	n := max(len(left), len(rightBlock))
	out := make([]string, n)
	for i := range out {
		l, r := "", ""
		if i < len(left) {
			l = left[i]
		}
		if i < len(rightBlock) {
			r = rightBlock[i]
		}
		out[i] = fit(l, leftWidth) + strings.Repeat(" ", gap) + r
	}
	return out
}

// clamp returns exactly height lines of at most width columns.
func clamp(lines []string, width, height int) []string {
	out := make([]string, height)
	for i := range out {
		if i < len(lines) {
			out[i] = strings.TrimRight(cut(lines[i], width), " ")
		}
	}
	return out
}
