package top

import (
	"image/color"

	"charm.land/lipgloss/v2"
)

// theme is a set of colours and the glyphs to draw with. Words are the same in all of them.
type theme struct {
	name                                   string
	accent, good, warn, bad, dim, selected lipgloss.Style
	title, plain, strong                   lipgloss.Style // strong: where one is
	glyphs                                 glyphs
}

type glyphs struct {
	good, warn, bad, dot, arrow, rule, cursor, paused string
	spark                                             []rune
	full, empty                                       string
}

var unicodeGlyphs = glyphs{good: "●", warn: "▲", bad: "✗", dot: "·", arrow: "→", rule: "─", cursor: "▌", paused: "‖", spark: []rune(" ▁▂▃▄▅▆▇█"), full: "█", empty: "░"}
var asciiGlyphs = glyphs{good: "*", warn: "!", bad: "x", dot: "-", arrow: "->", rule: "-", cursor: ">", paused: "=", spark: []rune(" .:-=+*#@"), full: "#", empty: "."}

// themeNames are the values of --theme, in the order of the t key.
var themeNames = []string{"auto", "dark", "light", "colorblind", "mono"}

// newTheme builds a theme; dark says what the terminal's background is, for auto.
func newTheme(name string, dark, ascii bool) theme {
	t := theme{name: name, glyphs: unicodeGlyphs, plain: lipgloss.NewStyle(), title: lipgloss.NewStyle().Bold(true)}
	if ascii {
		t.glyphs = asciiGlyphs
	}
	style := func(c string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(c)) }
	kind := name
	if kind == "auto" {
		kind = "light"
		if dark {
			kind = "dark"
		}
	}
	switch kind {
	case "dark":
		t.accent, t.good, t.warn, t.bad, t.dim = style("#7aa2f7"), style("#9ece6a"), style("#e0af68"), style("#f7768e"), style("#737aa2")
		t.selected = lipgloss.NewStyle().Background(lipgloss.Color("#283457"))
	case "light":
		t.accent, t.good, t.warn, t.bad, t.dim = style("#2e5cb8"), style("#3f7a1f"), style("#96610b"), style("#b3261e"), style("#6b7089")
		t.selected = lipgloss.NewStyle().Background(lipgloss.Color("#dbe4ff"))
	case "colorblind": // Okabe and Ito's colours, which stay apart with every kind of colour vision
		t.accent, t.good, t.warn, t.bad, t.dim = style("#56B4E9"), style("#009E73"), style("#E69F00"), style("#D55E00"), style("#999999")
		t.selected = lipgloss.NewStyle().Background(lipgloss.Color("#0072B2")).Foreground(lipgloss.Color("#ffffff"))
	default:
		t.accent, t.good, t.warn, t.bad, t.dim = lipgloss.NewStyle(), lipgloss.NewStyle(), lipgloss.NewStyle(), lipgloss.NewStyle().Bold(true), lipgloss.NewStyle().Faint(true)
		t.selected = lipgloss.NewStyle().Reverse(true)
		if kind == "plain" {
			t.bad, t.dim, t.title, t.selected = lipgloss.NewStyle(), lipgloss.NewStyle(), lipgloss.NewStyle(), lipgloss.NewStyle()
		}
	}
	t.strong = t.accent.Bold(kind != "plain")
	return t
}

// isDark says whether a background colour is.
func isDark(c color.Color) bool {
	if c == nil {
		return true
	}
	r, g, b, _ := c.RGBA()
	return 299*r+587*g+114*b < 500*0xffff
}

// spark draws values as one line of bars, newest at the right, scaled to the largest.
func (t theme) spark(values []float64, width int) string {
	if width <= 0 {
		return ""
	}
	out := make([]rune, width)
	for i := range out {
		out[i] = t.glyphs.spark[0]
	}
	values = values[max(0, len(values)-width):]
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	levels := len(t.glyphs.spark) - 1
	for i, v := range values {
		level := 0
		if top > 0 && v > 0 {
			level = max(1, int(v/top*float64(levels)+0.5))
		}
		out[width-len(values)+i] = t.glyphs.spark[min(level, levels)]
	}
	return string(out)
}

// chart draws values as bars of several lines.
func (t theme) chart(values []float64, width, height int) []string {
	lines := make([][]rune, height)
	for i := range lines {
		lines[i] = make([]rune, width)
		for j := range lines[i] {
			lines[i][j] = ' '
		}
	}
	values = values[max(0, len(values)-width):]
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	levels := len(t.glyphs.spark) - 1
	for i, v := range values {
		eighths := 0
		if top > 0 && v > 0 {
			eighths = max(1, int(v/top*float64(levels*height)+0.5))
		}
		for row := height - 1; row >= 0 && eighths > 0; row-- {
			lines[row][width-len(values)+i] = t.glyphs.spark[min(eighths, levels)]
			eighths -= levels
		}
	}
	out := make([]string, height)
	for i, l := range lines {
		out[i] = string(l)
	}
	return out
}
