package top

import (
	"fmt"
	"strings"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// metadataView is the headline: the events, what the selected one changed, and where each node is in the log.
func (m *model) metadataView(t theme, width, height int) []string {
	s := m.snap
	out := m.logLines(t, width)
	if len(s.Events) == 0 {
		return append(out, "", " "+t.dim.Render(cut(m.logState(), width-1)))
	}
	if s.Log != "" {
		out = append(out, t.bad.Render(cut(" "+t.glyphs.bad+" "+cli.Printable(s.Log), width)))
	}
	nodes := m.positions(t, width)
	if height < 16 {
		nodes = nil
	}
	rest := height - len(out) - len(nodes) - 1
	out = append(out, "")
	switch {
	case !m.diff || rest < 8:
		out = append(out, m.eventList(t, width, rest)...)
	case width >= threeColumns+20:
		right := min(width*2/5, 84)
		left := width - right - 3
		out = append(out, beside(m.eventList(t, left, rest), left, m.diffView(t, right, rest), 3)...)
	default:
		low := max(5, rest*2/5)
		out = append(out, m.eventList(t, width, rest-low-1)...)
		for len(out) < height-len(nodes)-low {
			out = append(out, "")
		}
		out = out[:height-len(nodes)-low]
		out = append(out, m.diffView(t, width, low)...)
	}
	for len(out) < height-len(nodes) {
		out = append(out, "")
	}
	return append(out[:min(len(out), height-len(nodes))], nodes...)
}

// logLines say how far the log is, and whether the image folded from it is the cluster's.
func (m *model) logLines(t theme, width int) []string {
	s := m.snap
	note := []string{}
	if s.Image != nil {
		note = append(note, "offset "+cli.Count(s.Image.Offset()))
	}
	if n := len(s.Events); n > 0 {
		note = append(note, fmt.Sprintf("epoch %d", s.Events[n-1].Epoch))
	}
	note = append(note, fmt.Sprintf("%s in the last minute", count(s.PerMinute)))
	if s.Dropped > 0 {
		note = append(note, fmt.Sprintf("dropped %s", cli.Count(s.Dropped)))
	}
	if w := m.behind(t); w != "" {
		note = append(note, w)
	}
	out := []string{t.section("METADATA LOG", strings.Join(note, " "+t.glyphs.dot+" "), width)}
	if s.Image == nil {
		return out
	}
	line := " " + t.dim.Render("image") + " " + s.Image.Hash().String()[:12] + " "
	switch {
	case s.FoldErr != "":
		line += t.bad.Render(t.glyphs.bad + " " + cli.Printable(s.FoldErr))
	case !s.Whole:
		line += t.warn.Render(t.glyphs.warn + " incomplete: the log's beginning is gone")
	case s.HashOffset >= 0:
		line += t.good.Render(fmt.Sprintf("%s equal to the cluster's at offset %s", t.glyphs.good, cli.Count(s.HashOffset)))
	default:
		line += t.dim.Render("folded here from the first entry")
	}
	return append(out, cut(line, width))
}

var eventColumns = []column{{title: "OFFSET", width: 9, right: true}, {title: "TIME", width: 8, priority: 2}, {title: "EPOCH", width: 5, right: true, priority: 5},
	{title: "TYPE", width: 20, priority: 3}, {title: "ENTITY", width: 26, priority: 4}, {title: "WHAT", width: 24, grow: true, priority: 1}}

func (m *model) eventList(t theme, width, height int) []string {
	list := m.events()
	if len(list) == 0 {
		return []string{" " + t.dim.Render("no event passes the filter (esc)")}
	}
	visible := max(1, height-1)
	at := m.at()
	first := max(0, min(at-visible/2, len(list)-visible))
	var rows [][]cell
	for _, i := range list[first:min(first+visible, len(list))] {
		e := m.snap.Events[i]
		when := "-"
		if x := e.Time; !x.IsZero() {
			when = x.In(m.snap.At.Location()).Format("15:04:05")
		}
		what := m.painted(t, e)
		rows = append(rows, []cell{{cli.Count(e.Offset), t.plain}, {when, t.dim}, {fmt.Sprint(e.Epoch), t.dim}, {cli.Printable(e.Type), t.accent}, {cli.Printable(e.Key), t.plain}, {what, t.plain}})
	}
	return t.table(eventColumns, rows, width, at-first)
}

// diffView shows what the selected event changed in the image.
func (m *model) diffView(t theme, width, height int) []string {
	e := m.selected()
	if e == nil {
		return nil
	}
	out := []string{t.section("CHANGED BY "+cli.Count(e.Offset), cli.Printable(e.Type), width)}
	var lines []string
	if e.Before != nil && e.Before != e.After {
		for _, c := range metaclient.DiffImages(e.Before, e.After) {
			lines = append(lines, m.changeLines(t, c, width)...)
			if len(lines) > 2000 {
				break
			}
		}
	}
	if len(lines) == 0 {
		lines = []string{" " + t.dim.Render("nothing: the entry is no event")}
		if e.Event != nil {
			lines = []string{" " + t.dim.Render("nothing")}
		}
	}
	room := max(1, height-1)
	scroll := min(m.scroll, max(0, len(lines)-room))
	if rest := len(lines) - scroll - room; rest > 0 && room > 1 {
		lines = append(lines[scroll:scroll+room-1:scroll+room-1], t.dim.Render(fmt.Sprintf(" %d more lines: J", rest+1)))
	} else {
		lines = lines[scroll:]
	}
	return append(out, lines...)
}

func (m *model) changeLines(t theme, c metaclient.EntityChange, width int) []string {
	st := t.warn
	switch c.Op {
	case "+":
		st = t.good
	case "-":
		st = t.bad
	}
	out := []string{cut(" "+st.Render(c.Op+" "+cli.Printable(c.Key)), width)}
	if c.Op != "~" {
		for _, l := range wrapWords(cli.Printable(c.Brief()), max(20, width-6)) {
			out = append(out, cut("     "+l, width))
		}
		return out
	}
	for _, f := range c.Fields {
		before, after := f.Before, f.After
		if before == "" {
			before = "none"
		}
		if after == "" {
			after = "none"
		}
		value := t.dim.Render(cli.Printable(before)) + " " + t.glyphs.arrow + " " + t.title.Render(cli.Printable(after))
		out = append(out, cut(fmt.Sprintf("     %s %s", fit(f.Field, 15), value), width))
	}
	return out
}

// positions show how far each node has come, newest offset at the right end.
func (m *model) positions(t theme, width int) []string {
	st := m.snap.Status
	if st == nil || st.Quorum == nil || len(st.Nodes) == 0 {
		return nil
	}
	out := []string{"", t.section("NODES", "where each is in the log", width)}
	bar := max(6, min(40, width-50))
	limit := 5
	for i, n := range st.Nodes {
		if i == limit {
			out = append(out, t.dim.Render(fmt.Sprintf(" and %d more", len(st.Nodes)-limit)))
			break
		}
		if n.MetadataOffset < 0 {
			out = append(out, cut(fmt.Sprintf(" %4d  %s", n.ID, t.bad.Render(t.glyphs.bad+" "+string(n.State))), width))
			continue
		}
		share := 1.0
		if st.Quorum.HighWatermark > 0 {
			share = float64(n.MetadataOffset) / float64(st.Quorum.HighWatermark)
		}
		full := min(bar, max(0, int(share*float64(bar))))
		state, word := t.good, t.glyphs.good+" caught up"
		if n.MetadataLag > 0 {
			state, word = t.warn, fmt.Sprintf("%s %s behind", t.glyphs.warn, cli.Count(n.MetadataLag))
		}
		if n.State != metaclient.NodeUp {
			state, word = t.bad, t.glyphs.bad+" "+string(n.State)
		}
		out = append(out, cut(fmt.Sprintf(" %4d  %s  %s %s  %s", n.ID, fit(n.Role, 10), t.accent.Render(strings.Repeat(t.glyphs.full, full)+strings.Repeat(t.glyphs.empty, bar-full)),
			right(cli.Count(n.MetadataOffset), 9), state.Render(word)), width))
	}
	return out
}
