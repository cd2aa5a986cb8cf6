package cli

import (
	"runtime"
	"strings"
	"unicode"
)

// Style paints words, or leaves them alone.
type Style struct{ on bool }

// OutStyle is the style for standard output, ErrStyle for standard error.
func (a *App) OutStyle() Style { return Style{a.useColor(a.OutTTY)} }

// ErrStyle is the style for standard error.
func (a *App) ErrStyle() Style { return Style{a.useColor(a.ErrTTY)} }

func (a *App) useColor(tty bool) bool {
	switch a.Color {
	case "always":
		return true
	case "never":
		return false
	}
	return tty && a.Getenv("NO_COLOR") == "" && a.Getenv("TERM") != "dumb"
}

func (s Style) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Good, Warn and Bad paint a state, Dim what matters less, Bold what matters most.
func (s Style) Good(t string) string { return s.paint("32", t) }

// Warn paints something that needs attention.
func (s Style) Warn(t string) string { return s.paint("33", t) }

// Bad paints a failure.
func (s Style) Bad(t string) string { return s.paint("31", t) }

// Dim paints what matters less.
func (s Style) Dim(t string) string { return s.paint("2", t) }

// Bold paints what matters most.
func (s Style) Bold(t string) string { return s.paint("1", t) }

// Level grades a state.
type Level int

// The levels, from nothing to say to broken.
const (
	LevelNone Level = iota
	LevelGood
	LevelWarn
	LevelBad
)

// Mark renders a state as symbol, word and colour.
func (s Style) Mark(l Level, word string) string {
	switch l {
	case LevelGood:
		return s.Good("● " + word)
	case LevelWarn:
		return s.Warn("▲ " + word)
	case LevelBad:
		return s.Bad("✗ " + word)
	}
	return word
}

// Printable replaces control characters, so that a name from the cluster cannot drive the terminal.
func Printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return '·'
	}, s)
}

func goVersion() string { return runtime.Version() }
