package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/testcluster"
)

// gapFault is one way to take a broker from its clients.
type gapFault struct {
	name string
	aim  time.Duration // for the longest gap of a partition
	// target is Controller or Follower; rolling faults hit all nodes in turn.
	target  Target
	damage  Damage
	hold    time.Duration
	rolling bool
	hasty   bool // the next node is stopped as soon as the one before says that it is ready
}

var gapFaults = []gapFault{
	{name: "kill-broker", aim: 500 * time.Millisecond, target: Follower, damage: Kill, hold: 2 * time.Second},
	{name: "kill-controller", aim: 500 * time.Millisecond, target: Controller, damage: Kill, hold: 2 * time.Second},
	{name: "stop-broker", aim: 2 * time.Second, target: Follower, damage: Pause, hold: 5 * time.Second},
	{name: "stop-controller", aim: 2 * time.Second, target: Controller, damage: Pause, hold: 5 * time.Second},
	{name: "term-broker", aim: 100 * time.Millisecond, target: Follower, damage: Terminate, hold: time.Second},
	{name: "term-controller", aim: 100 * time.Millisecond, target: Controller, damage: Terminate, hold: time.Second},
	{name: "rolling", aim: 100 * time.Millisecond, damage: Terminate, rolling: true},
	{name: "rolling-hasty", aim: 500 * time.Millisecond, damage: Terminate, rolling: true, hasty: true},
}

const (
	gapSteady   = time.Second // all is well for this long before a fault
	gapMeasured = time.Second // after all partitions are written again
	gapWithin   = 60 * time.Second
)

// TestGap measures the longest time without an acknowledgement at acks=all, as an unmodified client with default settings sees it, when a
// broker is killed, stopped or shut down; and reads all back. CHRONIK_GAP_KILLS says how often each fault is done, CHRONIK_GAP_FAULTS
// which of them (names with commas; all if empty).
//
// A broker that is stopped keeps its connections: a client that has a request under way to it waits for the answer, franz-go for 20
// seconds, whatever the cluster does. Of these partitions the test says when another broker leads them, how soon after SIGCONT the client
// with default settings writes them again, and what a second client felt in its own topic that gives a request up after 0.3 seconds. The
// aim is held against the partitions of others and against the second client.
//
// CHRONIK_GAP_CALM is the time of rest before each fault in seconds: for a minute after a late heartbeat the controller waits longer.
//
// A kill of the controller is a kill of both in one: it leads a third of the partitions too. With three voters the controller and another
// broker cannot be killed together without taking the majority along.
func TestGap(t *testing.T) {
	kills := int(number(t, "CHRONIK_GAP_KILLS", 0))
	if kills == 0 {
		t.Skip("a measurement: set CHRONIK_GAP_KILLS")
	}
	wanted := strings.FieldsFunc(os.Getenv("CHRONIK_GAP_FAULTS"), func(r rune) bool { return r == ',' })
	c := testcluster.StartCluster(t, 3, testcluster.Options{})
	o, err := NewObserver(c.Addresses())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	var lines []string
	for _, f := range gapFaults {
		if len(wanted) == 0 || slices.Contains(wanted, f.name) {
			lines = append(lines, measureGap(t, c, o, &f, kills))
		}
	}
	for _, l := range lines {
		t.Log(l)
	}
}

// measureGap does one fault again and again under load, reads all back, and returns the line of the table.
func measureGap(t *testing.T, c *testcluster.Cluster, o *Observer, f *gapFault, times int) string {
	t.Helper()
	l := newGapLoad(t, c.Addresses(), "gap-"+f.name)
	l.start()
	var hasty *gapLoad
	if f.damage == Pause {
		hasty = newGapLoad(t, c.Addresses(), "gap-impatient-"+f.name, impatient...)
		hasty.start()
	}
	var worst, others, overall, replaced, felt []time.Duration
	over := 0
	for k := range times {
		g := oneGap(t, c, o, l, hasty, f)
		t.Logf("%s %d: %s", f.name, k+1, g)
		worst, others, overall = append(worst, g.worst), append(others, g.others), append(overall, g.overall)
		if g.replaced > 0 {
			replaced = append(replaced, g.replaced)
		}
		felt = append(felt, g.impatient)
		if f.missed(&g) {
			over++
		}
	}
	line := fmt.Sprintf("%s: worst partition %s; %d above the aim of %v; partitions of others %s; all together %s", f.name, Summary(worst), over, f.aim,
		Summary(others), Summary(overall))
	if hasty != nil {
		line += fmt.Sprintf("; stopped broker replaced after %s; worst partition of the impatient client %s, its records: %s", Summary(replaced), Summary(felt),
			hasty.readBack(c, o))
	}
	return line + "; " + l.readBack(c, o)
}

// readBack ends the load and compares what is in the topic with what was acknowledged.
func (l *gapLoad) readBack(c *testcluster.Cluster, o *Observer) string {
	l.t.Helper()
	l.stop()
	if _, err := o.AwaitAll(l.t.Context(), gapWithin); err != nil {
		l.t.Fatal(err)
	}
	records, err := testcluster.ReadAll(l.t.Context(), c.Nodes[0].Kafka, l.topic, gapPartitions)
	if err != nil {
		l.t.Fatal(err)
	}
	v := l.ledger.Check(records)
	if !v.OK() || l.failed.Load() > 0 {
		l.t.Errorf("%s: %v, refused %d: %v", l.topic, v, l.failed.Load(), v.Examples)
	}
	return v.String()
}

// oneGap waits until all is well, does the fault, waits until all is well again, and returns what the clients felt.
func oneGap(t *testing.T, c *testcluster.Cluster, o *Observer, l, hasty *gapLoad, f *gapFault) gaps {
	t.Helper()
	_ = sleep(t.Context(), time.Duration(number(t, "CHRONIK_GAP_CALM", 0))*time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 2*gapWithin)
	defer cancel()
	if _, err := o.AwaitAll(ctx, gapWithin); err != nil {
		t.Fatal(err)
	}
	leaders, err := l.settle(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if hasty != nil {
		if _, err := hasty.settle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	_ = sleep(ctx, gapSteady+time.Duration(rand.Int64N(int64(300*time.Millisecond))))
	l.asked.awaitAge(ctx)
	controller := o.Controller(ctx)
	if controller < 0 {
		t.Fatal("no controller after a time of rest")
	}
	nodes := []int{controller}
	switch {
	case f.rolling:
		nodes = []int{(controller + 1) % len(c.Nodes), (controller + 2) % len(c.Nodes), controller}
	case f.target == Follower:
		nodes[0] = (controller + 1 + rand.IntN(len(c.Nodes)-1)) % len(c.Nodes)
	}
	before := l.gaps(time.Now().Add(-time.Second), time.Now(), nil, leaders)
	at := time.Now()
	var victims []int32
	for i, n := range nodes {
		if i > 0 && !f.hasty {
			l.awaitWhole(ctx, t)
		}
		victims = append(victims, int32(n+1))
		gapDamage(ctx, t, c.Nodes[n], f)
	}
	if err := l.awaitAll(ctx, time.Now()); err != nil {
		t.Fatalf("%s of node %v: %v; %s", f.name, victims, err, positions(o.Infos(ctx)))
	}
	_ = sleep(ctx, gapMeasured)
	g := l.gaps(at, time.Now(), victims, leaders)
	if hasty != nil {
		if err := hasty.awaitAll(ctx, at.Add(f.hold)); err != nil {
			t.Fatal(err)
		}
		g.replaced, g.impatient = fencedAfter(c, at, victims[0]), hasty.gaps(at, time.Now(), victims, leaders).worst
		hasty.forget()
	}
	if f.missed(&g) {
		explainGap(t, c, l, hasty, f, at, victims, g, before)
	}
	l.forget()
	return g
}

// missed reports whether the aim was missed.
func (f *gapFault) missed(g *gaps) bool {
	if f.damage == Pause {
		return max(g.others, g.impatient) > f.aim || g.worst > f.aim+f.hold
	}
	return g.worst > f.aim
}

// gapDamage does a fault to a node and undoes it.
func gapDamage(ctx context.Context, t *testing.T, s *testcluster.Server, f *gapFault) {
	t.Helper()
	began := time.Now()
	switch f.damage {
	case Kill:
		s.Kill()
	case Terminate:
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if took := time.Since(began); took > time.Second {
			t.Logf("the stop took %v", took.Round(time.Millisecond))
		}
	case Pause:
		if err := s.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	_ = sleep(ctx, f.hold)
	if f.damage == Pause {
		if err := s.Cont(); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := s.TryRestart(); err != nil {
		t.Fatal(err)
	}
}

var fencedLine = regexp.MustCompile(`time=(\S+) .*msg="broker fenced" broker=(\d+) `)

// fencedAfter is when the controller said that others lead what a broker led, 0 if it did not.
func fencedAfter(c *testcluster.Cluster, at time.Time, broker int32) time.Duration {
	for _, s := range c.Nodes {
		for _, m := range fencedLine.FindAllStringSubmatch(since(s.Log(), at), -1) {
			if told, err := time.Parse(time.RFC3339Nano, m[1]); err == nil && m[2] == strconv.Itoa(int(broker)) {
				return told.Sub(at)
			}
		}
	}
	return 0
}

// explainGap logs what all who took part said since the fault.
func explainGap(t *testing.T, c *testcluster.Cluster, l, hasty *gapLoad, f *gapFault, at time.Time, victims []int32, g, before gaps) {
	t.Helper()
	t.Logf("%s of node %v at %s: %s; in the second before: worst partition %d ms", f.name, victims, at.UTC().Format("15:04:05.000"), g, before.worst.Milliseconds())
	for i, s := range c.Nodes {
		t.Logf("node %d since then:\n%s", i+1, since(s.Log(), at.Add(-100*time.Millisecond)))
	}
	t.Logf("the client since then:\n%s", since(l.log.String(), at.Add(-100*time.Millisecond)))
	if hasty != nil {
		t.Logf("the impatient client since then:\n%s", since(hasty.log.String(), at.Add(-100*time.Millisecond)))
	}
}
