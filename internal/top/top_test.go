package top

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

var update = flag.Bool("update", false, "rewrite goldens")

var epoch = time.Date(2026, 1, 2, 15, 4, 0, 0, time.UTC)

// history is the metadata log of a cluster of three in which node 3 dies.
func history() []metadata.Event {
	disk := func(n byte) uuid.UUID { return uuid.UUID{0: 0xd, 15: n} }
	orders, payments := uuid.UUID{0: 1, 15: 1}, uuid.UUID{0: 1, 15: 2}
	voters := []metadata.Voter{{NodeID: 1, DiskID: disk(1)}, {NodeID: 2, DiskID: disk(2)}, {NodeID: 3, DiskID: disk(3)}}
	part := func(ids ...int32) metadata.PartitionState {
		return metadata.PartitionState{Replicas: ids, ISR: ids, Leader: ids[0]}
	}
	events := []metadata.Event{&metadata.VotersChanged{Voters: voters}, &metadata.ClusterFounded{ClusterID: "k3Jx", Founders: voters, TimestampMs: epoch.UnixMilli()}}
	for n := range int32(3) {
		events = append(events, &metadata.BrokerRegistered{BrokerID: n + 1, BrokerEpoch: int64(n) + 2, Incarnation: uuid.UUID{0: 0xb, 15: byte(n)}, DiskID: disk(byte(n + 1)),
			Endpoints: []metadata.Endpoint{{Listener: metadata.ListenerKafka, Host: "10.0.0.1", Port: 9092 + n}}, Rack: fmt.Sprintf("r%d", n+1)})
	}
	return append(events,
		&metadata.TopicCreated{Name: "orders", TopicID: orders, TimestampMs: epoch.Add(5 * time.Second).UnixMilli(), Partitions: []metadata.PartitionState{part(1, 2, 3), part(2, 3, 1), part(3, 1, 2)}},
		&metadata.TopicCreated{Name: "payments", TopicID: payments, TimestampMs: epoch.Add(6 * time.Second).UnixMilli(), Partitions: []metadata.PartitionState{part(2, 3, 1)}},
		&metadata.ConfigChanged{Resource: metadata.ResourceTopic, Name: "orders", Set: map[string]string{"retention.ms": "86400000"}},
		&metadata.ProducerIDsAllocated{BrokerID: 1, BrokerEpoch: 2, First: 0, Next: 1000},
		&metadata.BrokerFenced{BrokerID: 3, BrokerEpoch: 4},
		&metadata.SetLeader{Name: "orders", TopicID: orders, Partition: 2, Leader: 1, ISR: []int32{1, 2}, LeaderEpoch: 1, PartitionEpoch: 1},
		&metadata.UpdateIsr{Name: "orders", TopicID: orders, Partition: 0, ISR: []int32{1, 2}, BrokerEpochs: []int64{2, 3}, PartitionEpoch: 1},
		&metadata.UpdateIsr{Name: "orders", TopicID: orders, Partition: 1, ISR: []int32{2, 1}, BrokerEpochs: []int64{3, 2}, PartitionEpoch: 1},
	)
}

// inputs are what a live source would have sent: gauges each second, the log with its last entries seen as they came.
func inputs() []Input {
	out := []Input{{Header: &FileHeader{recordingFormat, recordingVersion, "10.0.0.1:9092"}}}
	events := history()
	batch := func(at time.Time, from, to int, end int64) {
		b := &LogBatch{End: end}
		for i := from; i < to; i++ {
			in := LogInput{Offset: int64(i), Epoch: 7, Key: events[i].Key(), Kind: "event", Value: metadata.AppendEvent(nil, events[i])}
			if ms := metaclient.EventTimeMs(events[i]); ms > 0 {
				in.Time = time.UnixMilli(ms).UTC()
			}
			b.Entries = append(b.Entries, in)
		}
		out = append(out, Input{At: at, Log: b})
	}
	batch(epoch.Add(10*time.Second), 0, 9, 9)
	for s := range 30 {
		at := epoch.Add(time.Duration(10+s) * time.Second)
		out = append(out, Input{At: at, Gauges: gaugesAt(s)})
		if s == 20 {
			batch(at, 9, 13, 9)
		}
	}
	return out
}

func gaugesAt(s int) *Gauges {
	node := func(id int32, state metaclient.NodeState, role string, lag int64) metaclient.Node {
		n := metaclient.Node{ID: id, State: state, Role: role, Rack: fmt.Sprintf("r%d", id), Address: fmt.Sprintf("10.0.0.1:%d", 9091+id), RTTMs: 0.2 * float64(id), MetadataOffset: 13 - lag, MetadataLag: lag,
			Leaders: 2, Replicas: 4, UsedBytes: 3 << 30, FreeBytes: 80 << 30, TotalBytes: 100 << 30}
		return n
	}
	st := &metaclient.Status{ClusterID: "k3Jx", State: metaclient.Healthy, Tolerates: 1, Controller: 1, Quorum: &metaclient.Quorum{Leader: 1, Epoch: 7, HighWatermark: 13, Voters: []int32{1, 2, 3}},
		Counts: metaclient.Counts{Topics: 2, Partitions: 4, Replicas: 12}, Findings: []metaclient.Finding{}}
	st.Nodes = []metaclient.Node{node(1, metaclient.NodeUp, "controller", 0), node(2, metaclient.NodeUp, "voter", 0), node(3, metaclient.NodeUp, "voter", 0)}
	if s >= 20 {
		st.State, st.Tolerates = metaclient.Degraded, 0
		st.Counts.UnderReplicated = 4
		st.Nodes[2] = node(3, metaclient.NodeUnreachable, "voter", 4)
		st.Nodes[2].RTTMs = -1
		st.Findings = append(st.Findings, metaclient.Finding{Severity: metaclient.Degraded, Text: "node 3 at 10.0.0.1:9094 does not answer: connection refused"})
	}
	records := int64(1_000_000 + 48_000*s + 900*(s%7)*(s%7))
	return &Gauges{Status: st, Topics: []TopicGauge{{Name: "__consumer_offsets", Internal: true, Partitions: 50, Records: 10, EndOffset: 10},
		{Name: "orders", Partitions: 3, Records: records, EndOffset: records}, {Name: "payments", Partitions: 1, Records: 77, EndOffset: 77}}}
}

// testModel has seen all inputs.
func testModel(w, h int) *model {
	c := newCollector("", true)
	for _, in := range inputs() {
		c.take(in)
	}
	m := newModel("plain", false, screenOverview)
	m.width, m.height = w, h
	m.show(c.snapshot())
	return m
}

func press(m *model, keys ...string) *model {
	for _, k := range keys {
		text := k
		if len([]rune(k)) > 1 && k != "space" {
			text = ""
		}
		if k == "space" {
			text = " "
		}
		m.key(k, text)
	}
	return m
}

func typed(m *model, s string) *model {
	for _, r := range s {
		press(m, string(r))
	}
	return press(m, "enter")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got+"\n" != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n--- got\n%s\n--- want\n%s", name, got, want)
	}
}

var sizes = [][2]int{{39, 9}, {80, 24}, {120, 32}, {200, 60}}

func TestViewsMatchGoldens(t *testing.T) {
	for _, s := range sizes {
		size := fmt.Sprintf("%dx%d", s[0], s[1])
		golden(t, "overview-"+size, testModel(s[0], s[1]).render())
		golden(t, "metadata-"+size, press(testModel(s[0], s[1]), "5").render())
	}
	golden(t, "overview-60x20", testModel(60, 20).render())
	golden(t, "help-80x24", press(testModel(80, 24), "?").render())
	golden(t, "as-of-120x32", press(testModel(120, 32), "5", "home", "down", "down", "down", "enter").render())
	golden(t, "metadata-command-120x32", press(testModel(120, 32), "5", "[", "!").render())
	ascii := press(testModel(120, 32), "5")
	ascii.ascii = true
	golden(t, "metadata-ascii-120x32", ascii.render())

	waiting := newModel("plain", false, screenOverview)
	waiting.width, waiting.height = 80, 24
	waiting.snap.Target = "10.0.0.1:9092"
	golden(t, "connecting-80x24", waiting.render())
}

func TestDisconnectedKeepsTheLastData(t *testing.T) {
	c := newCollector("", true)
	for _, in := range inputs() {
		c.take(in)
	}
	c.take(Input{At: c.now.Add(12 * time.Second), Trouble: &Trouble{Part: partCluster, Text: "cannot reach the cluster: connection refused"}})
	m := newModel("plain", false, screenOverview)
	m.width, m.height = 120, 32
	m.show(c.snapshot())
	got := m.render()
	for _, want := range []string{"stale 12s", "connection refused", "orders", "NODES"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

// TestEverySizeFits renders random sizes, screens, states and themes: never more lines or columns than there are.
func TestEverySizeFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	keys := []string{"1", "5", "?", "esc", "d", "[", "]", "up", "pgdown", "home", "enter", "h", "0", "t", "!", "space", "s", "S", "J", "f", "tab", "end"}
	for range 3000 {
		w, h := 1+r.IntN(240), 1+r.IntN(80)
		m := testModelShared()
		m.width, m.height, m.themeName, m.ascii = w, h, themeNames[r.IntN(len(themeNames))], r.IntN(3) == 0
		for range r.IntN(6) {
			press(m, keys[r.IntN(len(keys))])
		}
		lines := strings.Split(m.render(), "\n")
		if len(lines) > h {
			t.Fatalf("%d lines at %dx%d", len(lines), w, h)
		}
		for i, l := range lines {
			if n := ansi.StringWidth(l); n > w {
				t.Fatalf("line %d has %d columns at %dx%d: %q", i, n, w, h, l)
			}
			if m.ascii && w >= minWidth && h >= minHeight {
				for _, c := range ansi.Strip(l) {
					if c > 126 && c != '…' {
						t.Fatalf("%q in the ASCII line %q", c, l)
					}
				}
			}
		}
	}
}

var sharedSnapshot *Snapshot

// testModelShared is a fresh model on one snapshot: snapshots may be shared, as they never change.
func testModelShared() *model {
	if sharedSnapshot == nil {
		sharedSnapshot = testModel(80, 24).snap
	}
	m := newModel("plain", false, screenOverview)
	m.width, m.height = 80, 24
	m.show(sharedSnapshot)
	return m
}

func TestThemesSayTheSameWords(t *testing.T) {
	want := ""
	for _, name := range append([]string{"plain"}, themeNames...) {
		m := press(testModel(120, 32), "5")
		m.themeName = name
		var lines []string
		for _, l := range strings.Split(ansi.Strip(m.render()), "\n") {
			lines = append(lines, strings.TrimRight(l, " "))
		}
		got := strings.Join(lines, "\n")
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("theme %s says something else:\n%s\n---\n%s", name, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	cases := []struct {
		name string
		keys []string
		want func(m *model) bool
	}{
		{"screens", []string{"5"}, func(m *model) bool { return m.screen == screenMetadata }},
		{"tab", []string{"tab", "tab"}, func(m *model) bool { return m.screen == screenOverview }},
		{"newest is selected", nil, func(m *model) bool { return m.cursor == 12 && m.follow }},
		{"step back stops following", []string{"["}, func(m *model) bool { return m.cursor == 11 && !m.follow }},
		{"step forward at the end stays", []string{"]"}, func(m *model) bool { return m.cursor == 12 }},
		{"home", []string{"5", "home"}, func(m *model) bool { return m.cursor == 0 }},
		{"end follows again", []string{"5", "home", "end"}, func(m *model) bool { return m.cursor == 12 && m.follow }},
		{"page", []string{"5", "pgup"}, func(m *model) bool { return m.cursor == 4 }},
		{"as of", []string{"5", "[", "enter"}, func(m *model) bool { return m.asOf == 11 && m.screen == screenOverview }},
		{"as of moves with steps", []string{"5", "[", "enter", "["}, func(m *model) bool { return m.asOf == 10 }},
		{"back to live", []string{"5", "[", "enter", "0"}, func(m *model) bool { return m.asOf == -1 && m.follow && m.cursor == 12 }},
		{"escape returns from time travel", []string{"5", "[", "enter", "esc"}, func(m *model) bool { return m.asOf == -1 }},
		{"history", []string{"5", "h"}, func(m *model) bool { return len(m.events()) == 5 }},
		{"history and back", []string{"5", "h", "esc"}, func(m *model) bool { return len(m.events()) == 13 }},
		{"diff", []string{"5", "d"}, func(m *model) bool { return !m.diff }},
		{"diff is of the other screen", []string{"d"}, func(m *model) bool { return m.diff }},
		{"pause", []string{"space"}, func(m *model) bool { return m.paused }},
		{"theme", []string{"t"}, func(m *model) bool { return m.themeName == "auto" }},
		{"help and another key", []string{"?", "5"}, func(m *model) bool { return !m.help && m.screen == screenMetadata }},
		{"sort", []string{"s", "s", "S"}, func(m *model) bool { return m.sort == 2 && m.invert }},
		{"command", []string{"5", "!"}, func(m *model) bool {
			return m.commandLine() == "chronikctl metadata tail --from 12 --entity partition/orders/1 --diff -b 10.0.0.1:9092"
		}},
		{"keys go to the prompt", []string{"/", "q", "5"}, func(m *model) bool { return m.input == "q5" && m.screen == screenOverview }},
		{"prompt edits", []string{"/", "a", "b", "backspace"}, func(m *model) bool { return m.input == "a" }},
		{"prompt closes", []string{"/", "a", "esc"}, func(m *model) bool { return m.prompt == promptNone && m.filter.empty() }},
	}
	for _, c := range cases {
		if m := press(testModel(80, 24), c.keys...); !c.want(m) {
			t.Errorf("%s: %v gave cursor %d follow %v as of %d screen %d input %q events %d", c.name, c.keys, m.cursor, m.follow, m.asOf, m.screen, m.input, len(m.events()))
		}
	}
	if cmd := testModel(80, 24).key("q", "q"); cmd == nil {
		t.Error("q does not quit")
	}
}

func TestPauseHoldsTheFrame(t *testing.T) {
	m := press(testModel(80, 24), "space")
	before := m.snap
	m.Update(SnapshotMsg{&Snapshot{Target: "new", HashOffset: -1}})
	if m.snap != before {
		t.Error("a paused screen has changed")
	}
	if press(m, "space"); m.snap.Target != "new" {
		t.Error("going on did not show the newest snapshot")
	}
}

func TestGoTo(t *testing.T) {
	for input, want := range map[string]int64{"3": 3, "15:04:05": 5, "-34s": 5, "999": 12} {
		m := typed(press(testModel(120, 32), "5", "@"), input)
		if m.cursor != want || m.prompt != promptNone {
			t.Errorf("@%s: offset %d, want %d (%s)", input, m.cursor, want, m.notice)
		}
	}
	for _, input := range []string{"nonsense", "-5h"} {
		if m := typed(press(testModel(120, 32), "@"), input); m.notice == "" || m.prompt != promptGoto {
			t.Errorf("@%s was accepted", input)
		}
	}
}

func TestFilter(t *testing.T) {
	for text, want := range map[string]int{"": 13, "topic": 3, "!topic": 10, "type:UpdateIsr": 2, "entity:orders !type:Isr": 3, "what:LED": 1, "broker/[12]": 2, "offset:^1[0-2]$": 3, "nothing-at-all": 0} {
		f, err := parseFilter(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		n := 0
		for _, e := range testModelShared().snap.Events {
			if f.match(e) {
				n++
			}
		}
		if n != want {
			t.Errorf("%q lets %d events through, want %d", text, n, want)
		}
	}
	for _, bad := range []string{"(", "tpye:x"} {
		if _, err := parseFilter(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// TestRingIsBoundedAndCounts floods the collector: memory stays bounded, what fell out is counted, older snapshots stay as they were.
func TestRingIsBoundedAndCounts(t *testing.T) {
	c := newCollector("x", false)
	for _, in := range inputs() {
		c.take(in)
	}
	old := c.snapshot()
	first, n := old.Events[0], len(old.Events)
	for i := range int64(3) {
		b := &LogBatch{}
		for j := range int64(5000) {
			b.Entries = append(b.Entries, LogInput{Offset: 13 + i*5000 + j, Kind: "noop"})
		}
		c.take(Input{At: epoch.Add(time.Hour), Log: b})
	}
	s := c.snapshot()
	if len(s.Events) != maxEvents || s.Dropped != 13+15_000-maxEvents || s.FoldErr != "" || s.Image.Offset() != 15_012 {
		t.Errorf("%d events, %d dropped, %q", len(s.Events), s.Dropped, s.FoldErr)
	}
	if len(old.Events) != n || old.Events[0].Offset != first.Offset || old.Events[0].Key != first.Key {
		t.Error("an older snapshot has changed")
	}
	m := newModel("plain", false, screenMetadata)
	m.width, m.height = 120, 32
	m.show(s)
	if !strings.Contains(m.render(), "dropped 5,013") {
		t.Error("what was dropped is not shown")
	}
	c.take(Input{Log: &LogBatch{Entries: []LogInput{{Offset: 20, Kind: "noop"}}}})
	if got := c.snapshot(); len(got.Events) != len(s.Events) {
		t.Error("an entry that was read twice is shown twice")
	}
}

// TestRecordingShowsTheSameAgain records inputs and replays them.
func TestRecordingShowsTheSameAgain(t *testing.T) {
	var file bytes.Buffer
	in := make(chan Input)
	out := recordTo(&file, "10.0.0.1:9092", in, func(err error) { t.Error(err) })
	go func() {
		for _, i := range inputs()[1:] {
			in <- i
		}
		close(in)
	}()
	live := newCollector("10.0.0.1:9092", true)
	for i := range out {
		live.take(i)
	}
	h, next, err := readRecording(bytes.NewReader(file.Bytes()))
	if err != nil || h.Target != "10.0.0.1:9092" {
		t.Fatal(h, err)
	}
	again := newCollector(h.Target, true)
	ch := make(chan Input, inputBound)
	go func() {
		defer close(ch)
		if err := replay(t.Context(), next, 0, ch); err != nil {
			t.Error(err)
		}
	}()
	for i := range ch {
		again.take(i)
	}
	a, b := newModel("plain", false, screenMetadata), newModel("plain", false, screenMetadata)
	for m, c := range map[*model]*collector{a: live, b: again} {
		m.width, m.height = 120, 32
		m.show(c.snapshot())
	}
	if a.render() != b.render() || !strings.Contains(a.render(), "UpdateIsr") {
		t.Errorf("the replay differs:\n%s\n---\n%s", a.render(), b.render())
	}
	for name, text := range map[string]string{"empty": "", "other": "{}\n", "version": `{"header":{"format":"chronik-top","version":9}}`, "garbage": "x"} {
		if _, _, err := readRecording(strings.NewReader(text)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	_, next, _ = readRecording(strings.NewReader(`{"header":{"format":"chronik-top","version":1}}` + "\nbroken\n"))
	if _, err := next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a broken line: %v", err)
	}
}

// TestProgramOnAReplay runs the real program, with keys from a pipe, on a recording.
func TestProgramOnAReplay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pr, pw := io.Pipe()
	var out bytes.Buffer
	m := newModel("mono", false, screenOverview)
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(pr), tea.WithOutput(&out), tea.WithoutSignalHandler(), tea.WithWindowSize(120, 32))
	ch := make(chan Input, 100)
	for _, in := range inputs() {
		ch <- in
	}
	close(ch)
	go newCollector("", true).run(ctx, ch, time.Now, func(s *Snapshot) { p.Send(SnapshotMsg{s}) })
	go func() {
		time.Sleep(300 * time.Millisecond)
		for _, k := range "5[q" {
			fmt.Fprintf(pw, "%c", k)
			time.Sleep(150 * time.Millisecond)
		}
	}()
	final, err := p.Run()
	if err != nil {
		t.Fatal(err)
	}
	got := final.(*model)
	if got.screen != screenMetadata || got.cursor != 11 || !strings.Contains(out.String(), "METADATA LOG") {
		t.Errorf("screen %d, cursor %d", got.screen, got.cursor)
	}
}

func runTool(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	env := &cli.Env{In: strings.NewReader(""), Out: &out, Err: &errOut, Now: time.Now, Getenv: func(string) string { return "" }}
	return cli.Run(t.Context(), env, Tool, args), out.String(), errOut.String()
}

func TestOnce(t *testing.T) {
	cl, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	b := strings.Join(cl.ListenAddrs(), ",")
	code, out, errOut := runTool(t, "--once", "-b", b, "--interval", "100ms")
	if code != 0 || !strings.Contains(out, "HEALTHY") || !strings.Contains(out, "orders") || !strings.Contains(out, "no metadata log") || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d\n%s%s", code, out, errOut)
	}
	code, out, _ = runTool(t, "--once", "-b", b, "-o", "json", "--interval", "100ms")
	if code != 0 || !strings.Contains(out, `"kind": "TopSnapshot"`) || !strings.Contains(out, `"name": "orders"`) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, out, _ := runTool(t, "--once", "-b", "127.0.0.1:1"); code != cli.ExitUnreachable || out != "" {
		t.Errorf("exit code %d, %q", code, out)
	}
}

func TestOnceOfARecording(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.jsonl")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	in := make(chan Input)
	out := recordTo(f, "10.0.0.1:9092", in, func(err error) { t.Error(err) })
	go func() {
		for _, i := range inputs()[1:] {
			in <- i
		}
		close(in)
	}()
	for range out {
	}
	f.Close()
	code, text, errOut := runTool(t, "--once", "--replay", path, "--speed", "0")
	if code != cli.ExitNo || !strings.Contains(text, "DEGRADED") || !strings.Contains(text, "node 3") {
		t.Errorf("exit code %d, want 10 for a cluster that is not healthy\n%s%s", code, text, errOut)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"--screen", "x"}, {"--theme", "x"}, {"--record", "a", "--replay", "b"}, {"--speed", "-1"}, {"--interval", "1ms"}, {"--once", "-o", "csv"}} {
		if code, out, errOut := runTool(t, args...); code != cli.ExitUsage || out != "" || errOut == "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out, errOut)
		}
	}
	if code, _, _ := runTool(t, "--once", "--replay", "/nonexistent"); code != cli.ExitFailed {
		t.Errorf("exit code %d", code)
	}
}
