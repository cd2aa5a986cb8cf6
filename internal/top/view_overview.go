package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/metadata"
)

// overview shows throughput, health, nodes, topics and the newest events.
func (m *model) overview(t theme, width, height int) []string {
	if e := m.asOfEvent(); e != nil {
		return m.overviewAsOf(t, e, width, height)
	}
	s := m.snap
	if s.Status == nil {
		if s.Cluster != "" {
			return []string{" " + t.dim.Render("nothing was read yet; trying again every second")}
		}
		return nil
	}
	var out []string
	if width >= twoColumns {
		right := 30
		left := width - right - 3
		rows := 4
		if height < 22 {
			rows = 2
		}
		out = beside(m.throughput(t, left, rows), left, m.counts(t, right), 3)
	} else {
		out = append(out, m.throughputLine(t, width)...)
		out = append(out, m.countLine(t, width))
	}
	out = append(out, m.findings(t, width, 4)...)
	fits := max(1, height-len(out)-3) // below a blank line, the section's and the table's heads
	nodes := m.nodes(t, width, min(len(s.Status.Nodes), max(3, height/4), fits))
	out = append(append(out, ""), nodes...)
	rest := height - len(out) - 1
	if width >= threeColumns && rest >= 4 {
		left := (width - 3) * 55 / 100
		topics := m.topics(t, left, rest)
		return append(append(out, ""), beside(topics, left, m.newestEvents(t, width-left-3, rest), 3)...)
	}
	if rest < 4 {
		return out
	}
	events := max(3, min(rest/2, 12))
	if rest-events-1 >= 4 {
		out = append(append(out, ""), m.topics(t, width, rest-events-1)...)
		return append(append(out, ""), m.newestEvents(t, width, events)...)
	}
	return append(append(out, ""), m.newestEvents(t, width, rest)...)
}

func (m *model) throughput(t theme, width, rows int) []string {
	s := m.snap
	head := t.section("THROUGHPUT", m.offsetsNote(t, "records per second, all topics"), width)
	big := " " + t.title.Render(fmt.Sprintf("%12s", cli.Count(int64(s.Rate)))) + t.dim.Render(fmt.Sprintf("   peak %s   last %s", cli.Rate(s.Peak), cli.Age(s.Span)))
	out := []string{head, big}
	for _, l := range t.chart(s.Series, width-2, rows) {
		out = append(out, " "+t.accent.Render(l))
	}
	return out
}

// offsetsNote is what the figures are, or why they are not all there or not of now.
func (m *model) offsetsNote(t theme, what string) string {
	s := m.snap
	age := s.At.Sub(s.TopicsAt)
	switch {
	case s.TopicsAt.IsZero() && s.Status != nil:
		return "reading the topics' offsets"
	case age > staleOther+m.slack:
		return t.warn.Render(fmt.Sprintf("%s of %s ago", t.glyphs.warn, cli.Age(age)))
	case s.Unread == 1:
		return t.warn.Render(t.glyphs.warn + " 1 partition unread")
	case s.Unread > 0:
		return t.warn.Render(fmt.Sprintf("%s %s partitions unread", t.glyphs.warn, count(s.Unread)))
	}
	return what
}

func (m *model) throughputLine(t theme, width int) []string {
	s := m.snap
	return []string{t.section("THROUGHPUT", m.offsetsNote(t, "records/s"), width),
		" " + t.title.Render(fmt.Sprintf("%10s", cli.Count(int64(s.Rate)))) + "  " + t.accent.Render(t.spark(s.Series, width-15))}
}

func (m *model) counts(t theme, width int) []string {
	s := m.snap.Status
	up := 0
	for _, n := range s.Nodes {
		if n.State == metaclient.NodeUp {
			up++
		}
	}
	row := func(name, value string, st lipgloss.Style) string {
		return " " + spread(t.dim.Render(name), st.Render(value), width-1)
	}
	level := func(n int, bad lipgloss.Style) lipgloss.Style {
		if n > 0 {
			return bad
		}
		return t.plain
	}
	offset := "-"
	if s.Quorum != nil {
		offset = cli.Count(s.Quorum.HighWatermark)
	}
	rows := []string{t.section("CLUSTER", "", width),
		row("nodes up", fmt.Sprintf("%d of %d", up, len(s.Nodes)), level(len(s.Nodes)-up, t.bad)),
		row("topics / partitions", fmt.Sprintf("%s / %s", count(s.Counts.Topics), count(s.Counts.Partitions)), t.plain),
		row("under-replicated", count(s.Counts.UnderReplicated), level(s.Counts.UnderReplicated, t.warn)),
		row("offline", count(s.Counts.Offline), level(s.Counts.Offline, t.bad))}
	switch c := s.Counts; { // the line has one place: for what is not as it should be, if there is something
	case c.UnderMinISR > 0:
		return append(rows, row("under min ISR", count(c.UnderMinISR), t.bad))
	case c.AtMinISR > 0:
		return append(rows, row("at min ISR", count(c.AtMinISR), t.warn))
	}
	return append(rows, row("metadata offset", offset, t.plain))
}

func (m *model) countLine(t theme, width int) string {
	c := m.snap.Status.Counts
	text := fmt.Sprintf(" %s topics %s %s partitions %s %d under-replicated %s %d offline", count(c.Topics), t.glyphs.dot, count(c.Partitions), t.glyphs.dot, c.UnderReplicated, t.glyphs.dot, c.Offline)
	if c.UnderMinISR > 0 {
		text += fmt.Sprintf(" %s %d under min ISR", t.glyphs.dot, c.UnderMinISR)
	}
	if c.AtMinISR > 0 {
		text += fmt.Sprintf(" %s %d at min ISR", t.glyphs.dot, c.AtMinISR)
	}
	return t.dim.Render(cut(text, width))
}

// findings are the reasons for a verdict that is not healthy, and for having nothing to spare.
func (m *model) findings(t theme, width, limit int) []string {
	var out []string
	for i, f := range m.snap.Status.Findings {
		if i == limit {
			out = append(out, t.dim.Render(fmt.Sprintf(" and %d more: chronikctl status", len(m.snap.Status.Findings)-limit)))
			break
		}
		glyph, st := t.glyphs.warn, t.warn
		switch f.Severity {
		case metaclient.Unavailable:
			glyph, st = t.glyphs.bad, t.bad
		case metaclient.Healthy:
			glyph, st = t.glyphs.dot, t.dim
		}
		out = append(out, st.Render(cut(" "+glyph+" "+cli.Printable(f.Text), width)))
	}
	if len(out) > 0 {
		out = append([]string{""}, out...)
	}
	return out
}

var nodeColumns = []column{{title: "NODE", width: 4, right: true}, {title: "STATE", width: 13}, {title: "ROLE", width: 10, priority: 2}, {title: "ADDRESS", width: 15, grow: true, priority: 3},
	{title: "RTT", width: 7, right: true, priority: 4}, {title: "METADATA", width: 9, right: true, priority: 5}, {title: "LAG", width: 6, right: true, priority: 1}, {title: "HASH", width: 8, priority: 2},
	{title: "LEADERS", width: 7, right: true, priority: 6}, {title: "REPLICAS", width: 8, right: true, priority: 7}, {title: "DATA", width: 8, right: true, priority: 8}, {title: "FREE", width: 8, right: true, priority: 9}}

func (m *model) nodes(t theme, width, limit int) []string {
	var rows [][]cell
	nodes := m.snap.Status.Nodes
	for _, n := range nodes[:min(limit, len(nodes))] {
		state := cell{t.glyphs.good + " " + string(n.State), t.good}
		switch {
		case n.State != metaclient.NodeUp:
			state = cell{t.glyphs.bad + " " + string(n.State), t.bad}
		case n.DiskFull:
			state = cell{t.glyphs.bad + " disk full", t.bad}
		}
		rtt := "-"
		if n.RTTMs >= 0 {
			rtt = cli.Duration(time.Duration(n.RTTMs * float64(time.Millisecond)))
		}
		rows = append(rows, []cell{{fmt.Sprint(n.ID), t.title}, state, {n.Role, t.plain}, {cli.Printable(n.Address), t.dim}, {rtt, t.plain},
			{dash(n.MetadataOffset), t.plain}, {dash(n.MetadataLag), t.plain}, {shortHash(n.EntryHash), t.dim}, {count(n.Leaders), t.plain}, {count(n.Replicas), t.plain},
			{cli.Bytes(n.UsedBytes), t.plain}, {cli.Bytes(n.FreeBytes), t.plain}})
	}
	note := ""
	if hidden := len(nodes) - len(rows); hidden > 0 {
		note = fmt.Sprintf("and %d more", hidden)
	}
	return append([]string{t.section("NODES", note, width)}, t.table(nodeColumns, rows, width, -1)...)
}

// topicSorts are the orders of the topics, and the column of each.
var topicSorts = []struct {
	name string
	cmp  func(a, b TopicRate) int
}{
	{"records/s", func(a, b TopicRate) int { return cmp.Compare(b.Rate, a.Rate) }},
	{"records", func(a, b TopicRate) int { return cmp.Compare(b.Records, a.Records) }},
	{"partitions", func(a, b TopicRate) int { return cmp.Compare(b.Partitions, a.Partitions) }},
	{"name", func(a, b TopicRate) int { return strings.Compare(a.Name, b.Name) }},
}

var topicColumns = []column{{title: "TOPIC", width: 12, grow: true}, {title: "RECORDS/S", width: 10, right: true}, {title: "LAST MINUTE", width: 20, priority: 1},
	{title: "PARTITIONS", width: 10, right: true, priority: 3}, {title: "RECORDS", width: 14, right: true, priority: 2}}

func (m *model) topics(t theme, width, height int) []string {
	var list []TopicRate
	for _, tr := range m.snap.Topics {
		if m.filter.matchName(tr.Name) && (!tr.Internal || !m.filter.empty()) {
			list = append(list, tr)
		}
	}
	order := topicSorts[m.sort]
	slices.SortStableFunc(list, func(a, b TopicRate) int {
		c := order.cmp(a, b)
		if m.invert {
			c = -c
		}
		return cmp.Or(c, strings.Compare(a.Name, b.Name))
	})
	note := fmt.Sprintf("%s, by %s", count(len(list)), order.name)
	if m.invert {
		note += ", turned round"
	}
	out := []string{t.section("TOPICS", note, width)}
	if m.snap.Offsets != "" {
		out = append(out, t.warn.Render(cut(" "+t.glyphs.warn+" "+cli.Printable(m.snap.Offsets), width)))
		height--
	}
	if len(list) == 0 {
		return append(out, " "+t.dim.Render("no topics"))
	}
	var rows [][]cell
	for _, tr := range list[:min(len(list), max(0, height-2))] {
		rate := cell{cli.Count(int64(tr.Rate)), t.plain}
		if tr.Rate == 0 {
			rate.style = t.dim
		}
		if tr.Unread == tr.Partitions {
			rate.text = "-"
		}
		rows = append(rows, []cell{{cli.Printable(tr.Name), t.plain}, rate, {t.spark(tr.Series, 20), t.accent}, {count(tr.Partitions), t.plain}, {cli.Count(tr.Records), t.plain}})
	}
	return append(out, t.table(topicColumns, rows, width, -1)...)
}

// newestEvents lists the newest events, newest first.
func (m *model) newestEvents(t theme, width, height int) []string {
	s := m.snap
	note := ""
	if s.PerMinute > 0 {
		note = fmt.Sprintf("%s in the last minute", count(s.PerMinute))
	}
	if w := m.behind(t); w != "" {
		note = w
	}
	out := []string{t.section("NEWEST EVENTS", note, width)}
	if len(s.Events) == 0 {
		return append(out, " "+t.dim.Render(cut(m.logState(), width-1)))
	}
	list := m.events()
	for i := len(list) - 1; i >= 0 && len(out) < height; i-- {
		e := s.Events[list[i]]
		age := "-"
		if when := e.Time; !when.IsZero() {
			age = cli.Age(s.At.Sub(when))
		}
		out = append(out, cut(fmt.Sprintf(" %s %s  %s", right(cli.Count(e.Offset), 9), t.dim.Render(right(age, 6)), m.painted(t, e)), width))
	}
	return out
}

// behind says that the cluster has committed entries that do not come; "" when all is well.
func (m *model) behind(t theme) string {
	s := m.snap
	since := s.At.Sub(s.BehindSince)
	if s.Behind == 0 || since < staleHealthy {
		return ""
	}
	return t.warn.Render(fmt.Sprintf("%s %s more have not come for %s", t.glyphs.warn, cli.Count(s.Behind), cli.Age(since)))
}

// painted is what an event says, in the colour of how grave it is.
func (m *model) painted(t theme, e Event) string {
	text := cli.Printable(e.What)
	switch ev := e.Event.(type) {
	case *metadata.BrokerFenced, *metadata.BrokerUnregistered, *metadata.TopicDeleted:
		return t.warn.Render(t.glyphs.warn + " " + text)
	case *metadata.SetLeader:
		if ev.Leader < 0 {
			return t.bad.Render(t.glyphs.bad + " " + text)
		}
	}
	if e.Err != nil {
		return t.bad.Render(t.glyphs.bad + " " + text)
	}
	return t.glyphs.dot + " " + text
}

// logState says why there are no events.
func (m *model) logState() string {
	switch {
	case m.snap.NoLog:
		return "this cluster has no metadata log (it is no Chronik cluster)"
	case m.snap.Log != "":
		return cli.Printable(m.snap.Log)
	}
	return "reading the metadata log"
}

// overviewAsOf shows what the log alone knows of the cluster at an event.
func (m *model) overviewAsOf(t theme, e *Event, width, height int) []string {
	im := e.After
	leaders, replicas := map[int32]int{}, map[int32]int{}
	under, offline := 0, 0
	for tp := range im.Topics() {
		for _, p := range tp.Partitions {
			for _, r := range p.Replicas {
				replicas[r]++
			}
			if leaders[p.Leader]++; p.Leader < 0 {
				offline++
			}
			if len(p.ISR) < len(p.Replicas) {
				under++
			}
		}
	}
	out := []string{t.section("CLUSTER", fmt.Sprintf("as of offset %s; speeds are not in the log", cli.Count(e.Offset)), width),
		cut(fmt.Sprintf(" %s topics %s %s partitions %s %d under-replicated %s %d offline", count(im.TopicCount()), t.glyphs.dot, count(im.PartitionCount()), t.glyphs.dot, under, t.glyphs.dot, offline), width),
		cut(" "+t.dim.Render("image hash "+im.Hash().String()), width), "", t.section("NODES", "", width)}
	var rows [][]cell
	for b := range im.Brokers() {
		state := cell{t.glyphs.good + " serving", t.good}
		if b.Fenced {
			state = cell{t.glyphs.bad + " fenced", t.bad}
		}
		addr := metaclient.ClientAddress(b.Endpoints)
		rows = append(rows, []cell{{fmt.Sprint(b.ID), t.title}, state, {addr, t.dim}, {cli.Count(b.Epoch), t.plain}, {count(leaders[b.ID]), t.plain}, {count(replicas[b.ID]), t.plain}})
	}
	out = append(out, t.table([]column{{title: "NODE", width: 4, right: true}, {title: "STATE", width: 13}, {title: "ADDRESS", width: 15, grow: true, priority: 3},
		{title: "EPOCH", width: 8, right: true, priority: 2}, {title: "LEADERS", width: 7, right: true}, {title: "REPLICAS", width: 8, right: true, priority: 1}}, rows, width, -1)...)
	out = append(out, "", t.section("TOPICS", "", width))
	var topics [][]cell
	for tp := range im.Topics() {
		if len(out)+len(topics)+1 >= height {
			break
		}
		if m.filter.matchName(tp.Name) {
			topics = append(topics, []cell{{cli.Printable(tp.Name), t.plain}, {count(len(tp.Partitions)), t.plain}, {tp.ID.String(), t.dim}})
		}
	}
	if len(topics) == 0 {
		return append(out, " "+t.dim.Render("no topics"))
	}
	return append(out, t.table([]column{{title: "TOPIC", width: 12, grow: true}, {title: "PARTITIONS", width: 10, right: true}, {title: "ID", width: 22, priority: 1}}, topics, width, -1)...)
}

// shortHash is the beginning of a hash that all nodes must show equally.
func shortHash(h string) string {
	if h == "" {
		return "-"
	}
	return h[:min(8, len(h))]
}
