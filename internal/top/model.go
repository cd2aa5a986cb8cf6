package top

import (
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/chronik-io/chronik/internal/metaclient"
)

// screen is what fills the window.
type screen int

// The screens have the numbers of their keys.
const (
	screenOverview screen = 1
	screenMetadata screen = 5
)

// prompt is a line of input at the bottom.
type prompt int

const (
	promptNone prompt = iota
	promptFilter
	promptGoto
)

// SnapshotMsg carries a new snapshot to the program.
type SnapshotMsg struct{ *Snapshot }

// model is the program's state. Update changes it, View only reads it.
type model struct {
	snap   *Snapshot // what is shown
	newest *Snapshot // the last one that came; differs while paused
	paused bool

	width, height int
	screen        screen
	bare          bool // --once: no keys
	help          bool
	themeName     string
	dark, ascii   bool
	slack         time.Duration // by which --interval is longer than usual: so much older the picture is by itself

	prompt prompt
	input  string
	notice string // one line about the last key, until the next one

	filter filter
	sort   int
	invert bool

	// Metadata screen. cursor is the offset of the selected event; follow keeps it on the newest.
	cursor int64
	follow bool
	diff   bool
	scroll int // of the diff
	// asOf is the offset at which the cluster is looked at, -1 for now.
	asOf    int64
	command bool // show the chronikctl command for what is selected

	shown shownEvents
}

// shownEvents caches which events the filter lets through; it belongs to one snapshot and one filter.
type shownEvents struct {
	snap   *Snapshot
	filter string
	list   []int
}

func newModel(themeName string, ascii bool, start screen) *model {
	return &model{snap: &Snapshot{HashOffset: -1}, screen: start, themeName: themeName, dark: true, ascii: ascii, follow: true, diff: true, cursor: -1, asOf: -1}
}

// Init asks for the terminal's background, for the automatic theme.
func (m *model) Init() tea.Cmd { return tea.RequestBackgroundColor }

// Update changes the model. It does no I/O.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case SnapshotMsg:
		m.newest = msg.Snapshot
		if !m.paused {
			m.show(msg.Snapshot)
		}
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.BackgroundColorMsg:
		m.dark = isDark(msg.Color)
	case tea.KeyPressMsg:
		return m, m.key(msg.String(), msg.Text)
	case tea.PasteMsg:
		if m.prompt != promptNone {
			m.input += strings.ReplaceAll(msg.Content, "\n", " ")
		}
	}
	return m, nil
}

// show makes a snapshot the shown one.
func (m *model) show(s *Snapshot) {
	m.snap = s
	if m.follow {
		m.toNewest()
	}
}

// View draws the model.
func (m *model) View() tea.View {
	v := tea.NewView(m.render())
	v.AltScreen = true
	v.WindowTitle = "chronik-top " + m.snap.Target
	return v
}

// events are the events that the filter lets through, as indexes into the snapshot.
func (m *model) events() []int {
	if m.shown.snap == m.snap && m.shown.filter == m.filter.text && m.shown.list != nil {
		return m.shown.list
	}
	list := make([]int, 0, len(m.snap.Events))
	for i := range m.snap.Events {
		if m.filter.empty() || m.filter.match(m.snap.Events[i]) {
			list = append(list, i)
		}
	}
	m.shown = shownEvents{m.snap, m.filter.text, list}
	return list
}

// at returns where the cursor stands in events(); -1 when there are none.
func (m *model) at() int {
	list := m.events()
	for i := len(list) - 1; i >= 0; i-- {
		if m.snap.Events[list[i]].Offset <= m.cursor {
			return i
		}
	}
	if len(list) > 0 {
		return 0
	}
	return -1
}

// selected is the event under the cursor, or nil.
func (m *model) selected() *Event {
	i := m.at()
	if i < 0 {
		return nil
	}
	return &m.snap.Events[m.events()[i]]
}

func (m *model) toNewest() {
	if list := m.events(); len(list) > 0 {
		m.moveTo(len(list) - 1)
	}
}

// moveTo puts the cursor on one of events().
func (m *model) moveTo(i int) {
	list := m.events()
	if len(list) == 0 {
		return
	}
	i = min(max(i, 0), len(list)-1)
	if o := m.snap.Events[list[i]].Offset; o != m.cursor {
		m.cursor, m.scroll = o, 0
	}
	if m.asOf >= 0 {
		m.asOf = m.cursor
	}
}

// step moves the cursor and stops following, unless it lands on the newest event again.
func (m *model) step(by int) {
	m.follow = false
	m.moveTo(m.at() + by)
}

// asOfEvent is the event whose image is shown, or nil for now.
func (m *model) asOfEvent() *Event {
	if m.asOf < 0 {
		return nil
	}
	var found *Event
	for i := range m.snap.Events {
		if m.snap.Events[i].Offset <= m.asOf {
			found = &m.snap.Events[i]
		}
	}
	return found
}

// How old the status may be before the verdict is of the past. That all is well is believed for less long: one that is not is as old as the
// wait for the node that is silent.
const (
	staleHealthy = 3 * time.Second
	staleOther   = 5 * time.Second
)

// stale is how old the status is, and whether that is worth saying.
func (m *model) stale() (time.Duration, bool) {
	s := m.snap
	if s.Status == nil {
		return 0, false
	}
	age, limit := s.At.Sub(s.StatusAt), staleOther
	if s.Status.State == metaclient.Healthy {
		limit = staleHealthy
	}
	return age, age > limit+m.slack || s.Cluster != ""
}
