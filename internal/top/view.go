package top

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

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
	left := " " + t.title.Render("chronik-top")
	switch {
	case s.Status == nil && s.Cluster == "":
		left += "  " + t.dim.Render("connecting to "+s.Target)
	case s.Status == nil:
		left += "  " + t.bad.Render(t.glyphs.bad+" UNREACHABLE")
	default:
		left += "  " + m.state(t, s.Status.State)
		if w := tolerance(s.Status); w != "" {
			left += "  " + t.dim.Render(w)
		}
	}
	out := []string{spread(left, m.place(t)+" ", m.width)}
	if e := m.asOfEvent(); e != nil {
		text := fmt.Sprintf(" %s AS OF offset %s", t.glyphs.cursor, cli.Count(m.asOf))
		if when := e.Time; !when.IsZero() {
			text += fmt.Sprintf(" %s %s, %s before now", t.glyphs.dot, when.In(s.At.Location()).Format("15:04:05"), cli.Age(s.At.Sub(when)))
		}
		out = append(out, t.strong.Render(fit(text+fmt.Sprintf(" %s 0 returns to now", t.glyphs.dot), m.width)))
	}
	if s.Cluster != "" {
		out = append(out, t.bad.Render(cut(" "+t.glyphs.bad+" "+cli.Printable(s.Cluster), m.width)))
	}
	return append(out, "")
}

// place is the target and the clock, with how old the data is.
func (m *model) place(t theme) string {
	s := m.snap
	mode := t.good.Render(t.glyphs.good + " live")
	age, stale := m.stale()
	switch {
	case m.paused:
		mode = t.warn.Render(t.glyphs.paused + " paused")
	case stale:
		mode = t.warn.Render(fmt.Sprintf("%s stale %s", t.glyphs.warn, cli.Age(age)))
	case s.Replay:
		mode = t.accent.Render(t.glyphs.dot + " replay")
	case s.Status == nil:
		mode = ""
	}
	clock := ""
	if !s.At.IsZero() {
		clock = s.At.Format("15:04:05")
	}
	target := s.Target
	if m.width < twoColumns || s.Status == nil && s.Cluster == "" {
		target = "" // there is no room, or it stands at the left
	}
	return strings.TrimSpace(t.dim.Render(cli.Printable(target)) + "  " + clock + "  " + mode)
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
