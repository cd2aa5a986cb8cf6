package top

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// A broker that is silent costs the status two seconds and its own partitions; everything else is read and shown as always. When each part
// had the whole timeout, and the topics' offsets came after the status, nothing came for ten seconds.
func TestASilentBrokerHoldsNothingUp(t *testing.T) {
	cl, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(2, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cl.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		resp := kreq.ResponseKind().(*kmsg.MetadataResponse)
		for i, a := range []string{cl.ListenAddrs()[0], silent.Addr().String()} {
			b := kmsg.NewMetadataResponseBroker()
			host, port, _ := net.SplitHostPort(a)
			n, _ := strconv.Atoi(port)
			b.NodeID, b.Host, b.Port = int32(i), host, int32(n)
			resp.Brokers = append(resp.Brokers, b)
		}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("orders")
		for i := range int32(2) {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.Replicas, p.ISR = i, i, []int32{i}, []int32{i}
			topic.Partitions = append(topic.Partitions, p)
		}
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	for i := range int32(2) {
		if err := cl.MoveTopicPartition("orders", i, 0); err != nil {
			t.Fatal(err)
		}
	}
	app := &cli.App{Env: &cli.Env{Now: time.Now}, Flags: cli.Flags{Timeout: 30 * time.Second}}
	client, err := metaclient.OpenTarget("chronik-top", metaclient.Target{Bootstrap: cl.ListenAddrs()[:1]})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	in, ended := make(chan Input), make(chan struct{})
	go func() {
		defer close(ended)
		(&live{app: app, client: client, interval: 100 * time.Millisecond, inputs: in}).run(ctx)
	}()
	defer func() {
		begin := time.Now()
		cancel()
		<-ended
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %s to end", took) // the client library waits for a silent broker, done or not
		}
	}()
	c, deadline := newCollector("", false), time.After(partTimeout+2*time.Second)
	for c.status == nil || c.topicsAt.IsZero() {
		select {
		case i := <-in:
			c.take(i)
		case <-deadline:
			t.Fatalf("status %v, topics of %s: nothing in time", c.status, c.topicsAt)
		}
	}
	s := c.snapshot()
	if s.Status.State == metaclient.Healthy || s.Status.Nodes[1].State != metaclient.NodeUnreachable || s.Status.Nodes[0].State != metaclient.NodeUp {
		t.Errorf("%+v", s.Status)
	}
	if len(s.Topics) != 1 || s.Topics[0].Partitions != 2 || s.Unread != 1 {
		t.Errorf("%+v", s.Topics)
	}
}

// What cannot be read is taken to be as it was, and what has come in it meanwhile is in no second's rate.
func TestPartitionsThatAreNotRead(t *testing.T) {
	partitions := []metaclient.PartitionStatus{{Topic: "a", Partition: 0}, {Topic: "a", Partition: 1}, {Topic: "b", Partition: 0}}
	last := metaclient.Extents{}
	c := newCollector("", true)
	at := epoch
	take := func(read metaclient.Extents) *Snapshot {
		at = at.Add(time.Second)
		c.take(Input{At: at, Gauges: &Gauges{Topics: gaugesOf(partitions, read, last)}})
		return c.snapshot()
	}
	take(metaclient.Extents{"a": {0: {Start: 0, End: 1000}, 1: {Start: 500, End: 1000}}, "b": {0: {Start: 0, End: 7}}})
	s := take(metaclient.Extents{"a": {0: {Start: 0, End: 1100}, 1: {Start: 500, End: 1100}}, "b": {0: {Start: 0, End: 7}}})
	if s.Rate != 200 || s.Unread != 0 || s.Topics[0].Records != 1700 {
		t.Fatalf("rate %v, %+v", s.Rate, s.Topics)
	}
	s = take(metaclient.Extents{"a": {0: {Start: 0, End: 1200}}})
	if s.Rate != 100 || s.Unread != 2 || s.Topics[0].Records != 1800 || s.Topics[1].Records != 7 || s.Topics[1].Unread != 1 {
		t.Errorf("rate %v, %d unread, %+v", s.Rate, s.Unread, s.Topics)
	}
	s = take(metaclient.Extents{"a": {0: {Start: 0, End: 1300}, 1: {Start: 500, End: 90_000}}, "b": {0: {Start: 0, End: 7}}})
	if s.Rate != 100 || s.Peak != 200 || s.Unread != 0 || s.Topics[0].Records != 90_800 {
		t.Errorf("rate %v, peak %v, %+v", s.Rate, s.Peak, s.Topics)
	}
	if s.Span != 3*time.Second || len(s.Series) != 3 {
		t.Errorf("%s, %v", s.Span, s.Series)
	}
	at = at.Add(4 * time.Second)
	if s = take(metaclient.Extents{}); s.Span != 8*time.Second {
		t.Errorf("samples are not seconds: %s", s.Span)
	}
	partitions = partitions[2:]
	if s = take(metaclient.Extents{}); len(s.Topics) != 1 || len(last) != 1 {
		t.Errorf("a deleted topic stays: %+v, %v", s.Topics, last)
	}
}

// The verdict of a picture that is older than three seconds is of the past, in word and colour; a status that waited for somebody is as
// old as its beginning.
func TestNoGreenVerdictOfThePast(t *testing.T) {
	for _, tc := range []struct {
		tookMs int64
		age    time.Duration
		slack  time.Duration
		past   bool
	}{{5, 2900 * time.Millisecond, 0, false}, {5, 3100 * time.Millisecond, 0, true}, {2000, 900 * time.Millisecond, 0, false}, {2000, 1100 * time.Millisecond, 0, true},
		{5, 5 * time.Second, 4 * time.Second, false}} {
		c := newCollector("", false)
		c.take(Input{At: epoch, Gauges: &Gauges{Status: gaugesAt(0).Status, TookMs: tc.tookMs}})
		c.now = epoch.Add(tc.age)
		m := newModel("dark", false, screenOverview)
		m.width, m.height, m.slack = 80, 24, tc.slack
		m.show(c.snapshot())
		first, _, _ := strings.Cut(m.render(), "\n")
		th := newTheme("dark", true, false)
		green, past := strings.Contains(first, th.good.Render("● HEALTHY")), strings.Contains(first, "▲ was HEALTHY")
		if green == tc.past || past != tc.past || strings.Contains(first, "stale") != tc.past {
			t.Errorf("%+v: %q", tc, first)
		}
	}
	c := newCollector("", false) // one that is not healthy waits for the silent node with each look
	c.take(Input{At: epoch, Gauges: &Gauges{Status: gaugesAt(20).Status, TookMs: 2050}})
	c.now = epoch.Add(2600 * time.Millisecond)
	m := newModel("plain", false, screenOverview)
	m.width, m.height = 80, 24
	m.show(c.snapshot())
	if got := m.render(); !strings.Contains(got, "▲ DEGRADED") || strings.Contains(got, "stale") {
		t.Errorf("flickers:\n%s", got)
	}
}

// Whatever the width, verdict and age are whole; addresses go first.
func TestTheVerdictIsNeverCut(t *testing.T) {
	three := "127.0.0.1:26201,127.0.0.1:26202,127.0.0.1:26203"
	for _, st := range []metaclient.State{metaclient.Healthy, metaclient.Degraded, metaclient.Unavailable} {
		for _, age := range []time.Duration{0, 100 * time.Minute} {
			for width := minWidth; width <= 200; width++ {
				status := *gaugesAt(0).Status
				status.State = st
				c := newCollector(three, false)
				c.take(Input{At: epoch, Gauges: &Gauges{Status: &status}})
				c.now = epoch.Add(age)
				m := newModel("plain", false, screenOverview)
				m.width, m.height = width, 24
				m.show(c.snapshot())
				first, _, _ := strings.Cut(m.render(), "\n")
				want := []string{string(st), "live"}
				if age > 0 {
					want = []string{"was " + string(st), "stale 1h40m"}
				}
				if width >= 46 {
					want = append(want, "chronik-top")
				}
				if width >= 80 {
					want = append(want, "15:04:00")
					if age > 0 {
						want[len(want)-1] = "16:44:00"
					} else if st != metaclient.Unavailable {
						want = append(want, "tolerates 1 failure")
					}
				}
				if width >= 120 {
					want = append(want, three)
				}
				for _, w := range want {
					if !strings.Contains(first, w) {
						t.Fatalf("%q is missing at %d columns: %q", w, width, first)
					}
				}
			}
		}
	}
}

// Nodes that a low window has no room for are counted.
func TestHiddenNodesAreCounted(t *testing.T) {
	for height, want := range map[int]string{10: "and 2 more", 11: "and 1 more", 12: ""} {
		m := newModel("plain", false, screenOverview)
		m.width, m.height = minWidth, height
		c := newCollector("", true)
		c.take(Input{At: epoch, Gauges: gaugesAt(0)})
		m.show(c.snapshot())
		got := m.render()
		shown := strings.Count(got, "● up")
		if hidden := 3 - shown; want != "" && want != fmt.Sprintf("and %d more", hidden) || !strings.Contains(got, want) || want == "" && hidden > 0 {
			t.Errorf("%d lines:\n%s", height, got)
		}
	}
}

// A tail that hangs is quiet, and so is a quiet log: the quorum's high watermark tells them apart.
func TestALogThatDoesNotCome(t *testing.T) {
	c := newCollector("", false)
	in := inputs()
	c.take(in[1]) // entries to 8
	status := gaugesAt(0).Status
	status.Quorum.HighWatermark = 13
	c.take(Input{At: epoch.Add(11 * time.Second), Gauges: &Gauges{Status: status}})
	m := newModel("plain", false, screenOverview)
	m.width, m.height = 100, 40
	for _, tc := range []struct {
		s    int
		says bool
	}{{12, false}, {15, true}} {
		c.now = epoch.Add(time.Duration(tc.s) * time.Second)
		for _, sc := range []screen{screenOverview, screenMetadata} {
			m.screen = sc
			m.show(c.snapshot())
			if got := m.render(); strings.Contains(got, "▲ 4 more have not come for 4s") != tc.says {
				t.Errorf("after %d s:\n%s", tc.s, got)
			}
		}
	}
	for _, i := range in {
		if i.Log != nil {
			c.take(i)
		}
	}
	m.show(c.snapshot())
	if got := m.render(); strings.Contains(got, "have not come") {
		t.Errorf("all have come:\n%s", got)
	}
}

// Recordings of version 1 have status and topics in one input.
func TestRecordingsOfVersion1(t *testing.T) {
	_, next, err := readRecording(strings.NewReader(`{"header":{"format":"chronik-top","version":1,"target":"x"}}
{"at":"2026-01-02T15:04:00Z","gauges":{"status":{"state":"HEALTHY"},"topics":[{"name":"a","partitions":1,"records":5,"endOffset":5}]}}
{"at":"2026-01-02T15:04:01Z","gauges":{"status":{"state":"HEALTHY"},"topics":null}}
`))
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector("", true)
	for _, want := range []int{1, 0} {
		in, err := next()
		if err != nil {
			t.Fatal(err)
		}
		c.take(in)
		if s := c.snapshot(); len(s.Topics) != want || s.Status.State != metaclient.Healthy {
			t.Errorf("%d topics, want %d", len(s.Topics), want)
		}
	}
}
