package torture

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/testcluster"
	"github.com/chronik-io/chronik/tests/nemesis"
)

const (
	defaultFaults = 6
	settleEvery   = 20 // faults
	ackWithin     = 90 * time.Second
	slow          = 12 * time.Second       // a recovery that takes longer is described in the log
	afterRecovery = 300 * time.Millisecond // in which a gap still counts for the fault
)

// config of all nodes: little segments, and a small WAL, so that recovery meets all kinds of files.
const config = `wal_max_bytes = 268435456
min_free_bytes = 201326592
[kafka]
"num.partitions" = 3
"offsets.topic.num.partitions" = 6
"log.segment.bytes" = 4194304
"replica.selector.class" = "RackAwareReplicaSelector"
`

// rack gives each node one of its own.
func rack(node int) string { return fmt.Sprintf("\"broker.rack\" = %q\n", rackOf(node)) }

func rackOf(node int) string { return fmt.Sprintf("rack%d", node+1) }

func TestMain(m *testing.M) {
	code := m.Run()
	testcluster.Cleanup()
	os.Exit(code)
}

// run is one run of the test.
type run struct {
	t         *testing.T
	cluster   *testcluster.Cluster
	observer  *nemesis.Observer
	asks      *kgo.Client // for Metadata, of each node
	tormentor *Tormentor
	load      *load

	faults   int
	byKind   map[string]int
	gaps     map[string][]time.Duration // longest time without an ack of any one partition, where one node of three was hit
	returns  map[string][]time.Duration // from the end of the damage until all partitions acknowledge
	fulls    map[string][]time.Duration // from then on until all replicas are in sync
	settled  int
	verdict  testcluster.Verdict // of the last rest
	bursts   testcluster.Verdict // counts of all
	compared int64
	diverged int
}

func newRun(t *testing.T, seed uint64) (*run, needs) {
	dir := t.TempDir()
	have := needs{disks: mountDisks(t, dir, 3), strace: hasStrace()}
	c := testcluster.StartCluster(t, 3, testcluster.Options{Dir: dir, Proxied: true, Config: config, NodeConfig: rack})
	o, err := nemesis.NewObserver(c.Addresses())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	r := &run{t: t, cluster: c, observer: o, byKind: map[string]int{}, gaps: map[string][]time.Duration{}, returns: map[string][]time.Duration{},
		fulls: map[string][]time.Duration{}}
	r.load = newLoad(t, c, seed)
	r.asks = r.load.client(kgo.RequestRetries(0))
	r.tormentor = &Tormentor{cluster: c, controller: o.Controller, leader: r.leader}
	return r, have
}

// leader is the node that leads most partitions of the main topic, as any node sees it.
func (r *run) leader(ctx context.Context) int {
	for node := range r.cluster.Nodes {
		resp, err := r.metadata(ctx, node)
		if err != nil {
			continue
		}
		count := map[int32]int{}
		most := int32(-1)
		for _, t := range resp.Topics {
			if *t.Topic != topic {
				continue
			}
			for _, p := range t.Partitions {
				if count[p.Leader]++; p.Leader > 0 && (most < 0 || count[p.Leader] > count[most]) {
					most = p.Leader
				}
			}
		}
		if most > 0 {
			return int(most) - 1
		}
	}
	return -1
}

// round does one fault and waits until the cluster works again.
func (r *run) round(ctx context.Context, f Fault) {
	t := r.t
	t.Helper()
	out, err := r.tormentor.Do(ctx, f)
	if err != nil {
		t.Fatalf("%s: %v", f.Kind(), err)
	}
	r.faults++
	r.byKind[f.Kind()]++
	within, cancel := context.WithTimeout(ctx, ackWithin)
	defer cancel()
	last := out.Healing
	for p, acks := range r.load.acks {
		early, done := context.WithTimeout(within, slow)
		at, err := acks.AwaitAsked(early, out.Healing)
		done()
		if err != nil {
			t.Logf("fault %d, %s of %v, held %v: %s-%d does not acknowledge yet\n%s", r.faults, f.Kind(), victims(out), f.Hold, topic, p, r.state())
			at, err = acks.AwaitAsked(within, out.Healing)
		}
		if err != nil {
			t.Fatalf("fault %d, %s of %v, held %v: %s-%d: %v\n%s", r.faults, f.Kind(), victims(out), f.Hold, topic, p, err, r.state())
		}
		if at.After(last) {
			last = at
		}
	}
	back := last.Sub(out.Healing)
	r.returns[f.Kind()] = append(r.returns[f.Kind()], back)
	line := fmt.Sprintf("fault %d: %s %v, held %v; all acknowledge after %v", r.faults, f.Kind(), victims(out), f.Hold.Round(time.Millisecond), back.Round(time.Millisecond))
	if out.Majority() {
		sleep(ctx, afterRecovery)
		longest := time.Duration(0)
		for _, acks := range r.load.acks {
			longest = max(longest, acks.LongestGap(out.Began, time.Now()))
		}
		r.gaps[f.Kind()] = append(r.gaps[f.Kind()], longest)
		line += fmt.Sprintf("; longest gap %v", longest.Round(time.Millisecond))
	}
	if !f.Hurry {
		full, err := r.awaitFull(ctx, out.Healed)
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, r.state())
		}
		r.fulls[f.Kind()] = append(r.fulls[f.Kind()], full)
		line += fmt.Sprintf("; all in sync after %v", full.Round(time.Millisecond))
	}
	t.Log(line)
	for _, acks := range r.load.acks {
		acks.Forget(time.Now().Add(-time.Second))
	}
}

func victims(o *Outcome) string {
	var s []string
	for _, v := range o.Victims {
		s = append(s, strconv.Itoa(v+1))
	}
	return "(node " + strings.Join(s, ",") + ")"
}

// budget says how many faults, and until when.
func budget(t *testing.T) (faults int, until time.Time) {
	faults, until = defaultFaults, time.Now().Add(24*time.Hour)
	if v := os.Getenv("CHRONIK_TORTURE_FAULTS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("CHRONIK_TORTURE_FAULTS: %v", err)
		}
		faults = n
	}
	if v := os.Getenv("CHRONIK_TORTURE_TIME"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatalf("CHRONIK_TORTURE_TIME: %v", err)
		}
		faults, until = 1<<30, time.Now().Add(d)
	}
	return faults, until
}

func seedOf(t *testing.T) uint64 {
	v := os.Getenv("CHRONIK_SEED")
	if v == "" {
		return rand.Uint64N(1_000_000)
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("CHRONIK_SEED: %v", err)
	}
	return n
}

// TestTorture is the promise of replication on real processes: nothing that was acknowledged is lost, twice, moved or out of order, and all
// replicas hold the same.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("three processes, several faults")
	}
	faults, until := budget(t)
	seed := seedOf(t)
	r, have := newRun(t, seed)
	var match *regexp.Regexp
	if v := os.Getenv("CHRONIK_TORTURE_KINDS"); v != "" {
		match = regexp.MustCompile(v)
	}
	all := kinds(have, match)
	if len(all) == 0 {
		t.Fatal("no kind of fault matches CHRONIK_TORTURE_KINDS")
	}
	t.Logf("CHRONIK_SEED=%d; %d kinds of faults; disks of their own: %v, strace: %v", seed, len(all), have.disks, have.strace)
	schedule := NewSchedule(seed, all)
	began := time.Now()
	r.load.start()
	defer r.load.end()
	for r.faults < faults && time.Now().Before(until) && !t.Failed() {
		r.round(r.load.ctx, schedule.Next())
		if r.faults%settleEvery == 0 {
			r.settle()
		}
	}
	if r.faults%settleEvery != 0 || t.Failed() {
		r.settle()
	}
	r.load.end()
	r.report(time.Since(began))
}

func (r *run) report(took time.Duration) {
	t, l := r.t, r.load
	for _, kind := range slices.Sorted(maps.Keys(r.byKind)) {
		line := fmt.Sprintf("%3d x %s; all acknowledge after: %s", r.byKind[kind], kind, summary(r.returns[kind]))
		if g := r.gaps[kind]; len(g) > 0 {
			line += "; longest gap: " + summary(g)
		}
		if g := r.fulls[kind]; len(g) > 0 {
			line += "; all in sync after: " + summary(g)
		}
		t.Log(line)
	}
	t.Logf("%d faults in %v: %v; failed %d; divergent %d (%d batches compared, %d times at rest)", r.faults, took.Round(time.Second), r.verdict, l.failed,
		r.diverged, r.compared, r.settled)
	t.Logf("large records in bursts: acked %d, read %d; stops that were too slow: %d", r.bursts.Acked, r.bursts.Read, r.tormentor.slowStops.Load())
	t.Logf("consumed %d, consumers begun again %d; group offsets: %d commits, %d read, %d groups", l.consumed.Load(), l.rewound.Load(), l.commits.Load(),
		l.fetches.Load(), l.groups.Load())
	if least := 20 * r.faults; r.verdict.Acked < least || l.consumed.Load() < int64(least) || l.commits.Load() < int64(r.faults) {
		t.Error("too little was done: the run has shown nothing")
	}
}

// summary is a line with the median and the extremes of durations.
func summary(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	s := slices.Sorted(slices.Values(all))
	ms := func(d time.Duration) int64 { return d.Milliseconds() }
	return fmt.Sprintf("p50 %d, p99 %d, max %d ms", ms(s[len(s)/2]), ms(s[min(len(s)-1, len(s)*99/100)]), ms(s[len(s)-1]))
}
