package top

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// Sizes at which the layout changes.
const (
	minWidth, minHeight = 40, 10
	twoColumns          = 80
	threeColumns        = 120
)

// render draws the whole window. It is pure: the same model gives the same text.
func (m *model) render() string {
	if m.width <= 0 || m.height <= 0 {
		return ""
	}
	t := newTheme(m.themeName, m.dark, m.ascii)
	if m.width < minWidth || m.height < minHeight {
		msg := fmt.Sprintf("chronik-top needs %d×%d, this is %d×%d", minWidth, minHeight, m.width, m.height)
		if m.ascii {
			msg = strings.ReplaceAll(msg, "×", "x")
		}
		return strings.Join(clamp(wrapWords(msg, m.width), m.width, m.height), "\n")
	}
	head := m.header(t)
	foot := m.footer(t)
	room := m.height - len(head) - len(foot)
	var body []string
	switch {
	case m.help:
		body = m.helpView(t, m.width, room)
	case m.screen == screenMetadata:
		body = m.metadataView(t, m.width, room)
	default:
		body = m.overview(t, m.width, room)
	}
	lines := append(head, clamp(body, m.width, room)...)
	return strings.Join(clamp(append(lines, foot...), m.width, m.height), "\n")
}

func wrapWords(s string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(s) {
		if line != "" && len([]rune(line))+1+len([]rune(w)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return append(lines, line)
}

// header is the verdict, the place and the time; then what stands between the reader and the truth: time travel, troubles.
func (m *model) header(t theme) []string {
	s := m.snap
	out := []string{m.headline(t)}
	if e := m.asOfEvent(); e != nil {
		text := fmt.Sprintf(" %s AS OF offset %s", t.glyphs.cursor, cli.Count(m.asOf))
		if when := e.Time; !when.IsZero() {
			text += fmt.Sprintf(" %s %s, %s before now", t.glyphs.dot, when.In(s.At.Location()).Format("15:04:05"), cli.Age(s.At.Sub(when)))
		}
		out = append(out, t.strong.Render(fit(text+fmt.Sprintf(" %s 0 returns to now", t.glyphs.dot), m.width)))
	}
	if s.Cluster != "" {
		const most = 3
		lines := wrapWords(cli.Printable(s.Cluster), m.width-4)
		for i, l := range lines[:min(len(lines), most)] {
			mark := " " + t.glyphs.bad + " "
			if i > 0 {
				mark = "   "
			}
			if i == most-1 && len(lines) > most {
				l += " …"
			}
			out = append(out, t.bad.Render(cut(mark+l, m.width)))
		}
	}
	return append(out, "")
}

// headline is the first line. What does not fit goes in this order: addresses but the first, all addresses, how many failures are tolerated,
// the time, the tool's name. The verdict, and whether it is of now, stay.
func (m *model) headline(t theme) string {
	s := m.snap
	verdict, spare := "", ""
	switch {
	case s.Status == nil && s.Cluster == "":
		verdict = t.dim.Render("connecting to " + cli.Printable(s.Target))
	case s.Status == nil:
		verdict = t.bad.Render(t.glyphs.bad + " UNREACHABLE")
	default:
		verdict = m.verdict(t)
		if w := tolerance(s.Status); w != "" && !m.past() {
			spare = "  " + t.dim.Render(w)
		}
	}
	mode, clock := m.mode(t), ""
	if !s.At.IsZero() {
		clock = s.At.Format("15:04:05")
	}
	places := []string{""}
	if s.Status != nil || s.Cluster != "" {
		places = shorter(cli.Printable(s.Target))
	}
	name := " " + t.title.Render("chronik-top") + "  "
	join := func(parts ...string) string {
		return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), "  ")
	}
	type line struct{ left, right string }
	var tries []line
	for _, p := range places {
		tries = append(tries, line{name + verdict + spare, join(t.dim.Render(p), clock, mode)})
	}
	tries = append(tries, line{name + verdict, join(clock, mode)}, line{name + verdict, mode}, line{" " + verdict, mode})
	for _, l := range tries {
		if ansi.StringWidth(l.left)+1+ansi.StringWidth(l.right)+1 <= m.width {
			return spread(l.left, l.right+" ", m.width)
		}
	}
	last := tries[len(tries)-1]
	return spread(last.left, last.right+" ", m.width)
}

// shorter are the ways to say where the cluster is, the longest first.
func shorter(target string) []string {
	first, rest, several := strings.Cut(target, ",")
	if !several {
		return []string{target, ""}
	}
	return []string{target, fmt.Sprintf("%s +%d", first, strings.Count(rest, ",")+1), ""}
}

// mode says whether what is shown is of now.
func (m *model) mode(t theme) string {
	age, stale := m.stale()
	switch {
	case m.paused:
		return t.warn.Render(t.glyphs.paused + " paused")
	case stale:
		return t.warn.Render(fmt.Sprintf("%s stale %s", t.glyphs.warn, cli.Age(age)))
	case m.snap.Replay:
		return t.accent.Render(t.glyphs.dot + " replay")
	case m.snap.Status == nil:
		return ""
	}
	return t.good.Render(t.glyphs.good + " live")
}

// past says whether the verdict is of the past.
func (m *model) past() bool {
	_, stale := m.stale()
	return stale
}

// verdict is the cluster's state; one of the past is told as such, and never as a good one.
func (m *model) verdict(t theme) string {
	st := m.snap.Status.State
	if m.past() {
		style, glyph := t.warn, t.glyphs.warn
		if st == metaclient.Unavailable {
			style, glyph = t.bad, t.glyphs.bad
		}
		return style.Render(glyph + " was " + string(st))
	}
	return m.state(t, st)
}

func (m *model) state(t theme, st metaclient.State) string {
	switch st {
	case metaclient.Healthy:
		return t.good.Render(t.glyphs.good + " " + string(st))
	case metaclient.Degraded:
		return t.warn.Render(t.glyphs.warn + " " + string(st))
	}
	return t.bad.Render(t.glyphs.bad + " " + string(st))
}

func tolerance(s *metaclient.Status) string {
	switch {
	case s.Tolerates < 0 || s.State == metaclient.Unavailable:
		return ""
	case s.Tolerates == 0:
		return "tolerates no failure"
	case s.Tolerates == 1:
		return "tolerates 1 failure"
	}
	return fmt.Sprintf("tolerates %d failures", s.Tolerates)
}

// footer is the prompt, a notice, the command for what is selected, or the keys.
func (m *model) footer(t theme) []string {
	if m.bare {
		return nil
	}
	var out []string
	if m.height >= 24 {
		out = append(out, "")
	}
	if m.command {
		out = append(out, cut(" "+t.accent.Render("!")+" "+m.commandLine(), m.width))
	}
	cursor := "▏"
	if m.ascii {
		cursor = "_"
	}
	switch {
	case m.prompt != promptNone:
		label := "filter"
		if m.prompt == promptGoto {
			label = "as of offset or time"
		}
		line := " " + t.accent.Render(label+":") + " " + m.input + cursor
		if m.notice != "" {
			line += "  " + t.bad.Render(m.notice)
		}
		return append(out, cut(line, m.width))
	case m.notice != "":
		return append(out, cut(" "+t.warn.Render(m.notice), m.width))
	}
	return append(out, m.keyLine(t))
}

func (m *model) keyLine(t theme) string {
	tab := func(s screen, name string) string {
		text := fmt.Sprintf("%d %s", s, name)
		if m.screen == s && !m.help {
			return t.strong.Render(text)
		}
		return t.dim.Render(text)
	}
	left := " " + tab(screenOverview, "overview") + "  " + tab(screenMetadata, "metadata")
	hints := []string{"q quit", "? help", "space pause", "/ filter", "@ as of"}
	if m.screen == screenMetadata {
		hints = append(hints, "d diff", "enter as of here")
	} else {
		hints = append(hints, "s sort")
	}
	line := ""
	for _, h := range hints { // the most important stay when it is narrow
		next := h + "  " + line
		if lipgloss.Width(left)+lipgloss.Width(next)+4 > m.width {
			break
		}
		line = next
	}
	if !m.filter.empty() {
		left += "  " + t.accent.Render("/"+m.filter.text)
	}
	return spread(left, t.dim.Render(strings.TrimSpace(line))+" ", m.width)
}

// commandLine is what to type in a shell about what is on the screen.
func (m *model) commandLine() string {
	if m.screen == screenMetadata {
		if e := m.selected(); e != nil {
			return fmt.Sprintf("chronikctl metadata tail --from %d --entity %s --diff -b %s", e.Offset, e.Key, m.snap.Target)
		}
	}
	return "chronikctl status -b " + m.snap.Target
}

func count(n int) string { return cli.Count(int64(n)) }

func dash(n int64) string {
	if n < 0 {
		return "-"
	}
	return cli.Count(n)
}
