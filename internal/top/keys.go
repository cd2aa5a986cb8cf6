package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/chronik-io/chronik/internal/metaclient"
)

// binding is one line of the help and what it does. Handlers only change the model.
type binding struct {
	keys []string
	show string // as the help writes them
	text string
	do   func(m *model) tea.Cmd
	on   screen // 0: everywhere
}

// bindings are all keys there are: the help is made of this table, so it lists nothing else.
var bindings []binding

func init() {
	do := func(f func(m *model)) func(*model) tea.Cmd {
		return func(m *model) tea.Cmd { f(m); return nil }
	}
	bindings = []binding{
		{[]string{"1"}, "1", "overview", do(func(m *model) { m.screen = screenOverview }), 0},
		{[]string{"5"}, "5", "metadata, live", do(func(m *model) { m.screen = screenMetadata }), 0},
		{[]string{"tab"}, "tab", "the other screen", do(func(m *model) { m.screen = screenOverview + screenMetadata - m.screen }), 0},
		{[]string{"/"}, "/", "filter: a regular expression, !not, field:value (type, entity, what)", do(func(m *model) { m.prompt, m.input = promptFilter, m.filter.text }), 0},
		{[]string{"space"}, "space", "pause, and go on", do((*model).togglePause), 0},
		{[]string{"0"}, "0", "live: now, and the newest event", do((*model).live), 0},
		{[]string{"@"}, "@", "look at the cluster as of an offset or a time (1234, -5m, 15:04:05)", do(func(m *model) { m.prompt, m.input = promptGoto, "" }), 0},
		{[]string{"["}, "[ ]", "the event before, the event after", do(func(m *model) { m.step(-1) }), 0},
		{[]string{"]"}, "", "", do(func(m *model) { m.step(1) }), 0},
		{[]string{"f"}, "f", "follow the newest event", do(func(m *model) {
			if m.follow = !m.follow; m.follow {
				m.toNewest()
			}
		}), screenMetadata},
		{[]string{"up", "k"}, "↑ ↓ pgup pgdn home end", "move in the list of events", do(func(m *model) { m.step(-1) }), screenMetadata},
		{[]string{"down", "j"}, "", "", do(func(m *model) { m.step(1) }), screenMetadata},
		{[]string{"pgup"}, "", "", do(func(m *model) { m.step(-m.page()) }), screenMetadata},
		{[]string{"pgdown"}, "", "", do(func(m *model) { m.step(m.page()) }), screenMetadata},
		{[]string{"home", "g"}, "", "", do(func(m *model) { m.follow = false; m.moveTo(0) }), screenMetadata},
		{[]string{"end", "G"}, "", "", do(func(m *model) { m.follow = true; m.toNewest() }), screenMetadata},
		{[]string{"enter"}, "enter", "look at the cluster as of the selected event", do(func(m *model) {
			if e := m.selected(); e != nil {
				m.follow, m.asOf, m.screen = false, e.Offset, screenOverview
			}
		}), screenMetadata},
		{[]string{"d"}, "d", "what the event changed: show, hide", do(func(m *model) { m.diff = !m.diff }), screenMetadata},
		{[]string{"J"}, "J K", "scroll what it changed", do(func(m *model) { m.scroll++ }), screenMetadata},
		{[]string{"K"}, "", "", do(func(m *model) { m.scroll = max(0, m.scroll-1) }), screenMetadata},
		{[]string{"h"}, "h", "history: only events of the selected one's entity", do((*model).history), screenMetadata},
		{[]string{"s"}, "s S", "sort topics by the next column, turn the order round", do(func(m *model) { m.sort = (m.sort + 1) % len(topicSorts) }), screenOverview},
		{[]string{"S"}, "", "", do(func(m *model) { m.invert = !m.invert }), screenOverview},
		{[]string{"!"}, "!", "the chronikctl command for what is selected", do(func(m *model) { m.command = !m.command }), 0},
		{[]string{"t"}, "t", "next theme", do(func(m *model) {
			i := slices.Index(themeNames, m.themeName)
			m.themeName = themeNames[(i+1)%len(themeNames)]
			m.notice = "theme " + m.themeName
		}), 0},
		{[]string{"?"}, "?", "this help", do(func(m *model) { m.help = !m.help }), 0},
		{[]string{"esc"}, "esc", "back: closes help, filter, time travel", do((*model).back), 0},
		{[]string{"q", "ctrl+c"}, "q", "quit", func(*model) tea.Cmd { return tea.Quit }, 0},
	}
}

// key handles one key press.
func (m *model) key(name, text string) tea.Cmd {
	m.notice = ""
	if m.prompt != promptNone && name != "ctrl+c" {
		m.promptKey(name, text)
		return nil
	}
	for _, b := range bindings {
		if (b.on == 0 || b.on == m.screen) && slices.Contains(b.keys, name) {
			if m.help && name != "?" && name != "esc" && name != "q" && name != "ctrl+c" && name != "t" {
				m.help = false
			}
			return b.do(m)
		}
	}
	return nil
}

func (m *model) promptKey(name, text string) {
	switch name {
	case "esc":
		m.prompt = promptNone
	case "enter":
		m.accept()
	case "backspace":
		if r := []rune(m.input); len(r) > 0 {
			m.input = string(r[:len(r)-1])
		}
	case "ctrl+u":
		m.input = ""
	default:
		if len(m.input)+len(text) <= 200 {
			m.input += text
		}
	}
}

// accept takes what was typed at the prompt; a mistake leaves the prompt open.
func (m *model) accept() {
	switch m.prompt {
	case promptFilter:
		f, err := parseFilter(m.input)
		if err != nil {
			m.notice = err.Error()
			return
		}
		m.filter = f
		if m.follow {
			m.toNewest()
		}
	case promptGoto:
		if !m.goTo(strings.TrimSpace(m.input)) {
			return
		}
	}
	m.prompt = promptNone
}

// goTo looks at the cluster as of an offset or a time.
func (m *model) goTo(s string) bool {
	if s == "" {
		return true
	}
	offset, ok := m.findOffset(s)
	if !ok {
		return false
	}
	if len(m.snap.Events) == 0 || offset < m.snap.Events[0].Offset {
		m.notice = fmt.Sprintf("offset %d is not kept any more", offset)
		return false
	}
	m.follow, m.filter = false, filter{}
	m.cursor, m.asOf, m.scroll = offset, offset, 0
	m.moveTo(m.at())
	return true
}

func (m *model) findOffset(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return n, true
	}
	at, err := time.ParseInLocation("15:04:05", s, m.snap.At.Location())
	if err == nil {
		y, mo, d := m.snap.At.Date()
		at = time.Date(y, mo, d, at.Hour(), at.Minute(), at.Second(), 0, m.snap.At.Location())
	} else if at, err = metaclient.ParseTime(s, m.snap.At); err != nil {
		m.notice = s + " is neither an offset nor a time"
		return 0, false
	}
	found := int64(-1)
	for _, e := range m.snap.Events {
		if !e.Time.IsZero() && !e.Time.After(at) {
			found = e.Offset
		}
	}
	if found < 0 {
		m.notice = "nothing is kept from then"
		return 0, false
	}
	return found, true
}

func (m *model) togglePause() {
	if m.paused = !m.paused; !m.paused && m.newest != nil {
		m.show(m.newest)
	}
}

func (m *model) live() {
	m.asOf, m.follow = -1, true
	if m.paused {
		m.togglePause()
	}
	m.toNewest()
}

func (m *model) history() {
	e := m.selected()
	if e == nil || e.Key == "" {
		return
	}
	name := e.Key
	if rest, ok := strings.CutPrefix(name, "partition/"); ok {
		name = "topic/" + rest[:max(0, strings.LastIndexByte(rest, '/'))]
	}
	pattern := "^" + escape(name) + "$"
	if topic, ok := strings.CutPrefix(name, "topic/"); ok {
		pattern = "^((config/)?topic/" + escape(topic) + "|partition/" + escape(topic) + "/[0-9]+)$"
	}
	if f, err := parseFilter("entity:" + pattern); err == nil {
		m.filter = f
		m.moveTo(m.at())
	}
}

// escape quotes what a regular expression would read, without blanks.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// back undoes one thing: help, then the command line, then the filter, then time travel.
func (m *model) back() {
	switch {
	case m.help:
		m.help = false
	case m.command:
		m.command = false
	case !m.filter.empty():
		m.filter = filter{}
	case m.asOf >= 0:
		m.live()
	}
}

// page is how far page-up goes.
func (m *model) page() int { return max(1, m.height/3) }
