package nemesis

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/testcluster"
)

const (
	defaultRounds    = 4
	roundsInOne      = 5                // rounds of a generation of keys
	recoverWithin    = 30 * time.Second // from the end of a fault to the next acknowledged change
	afterRecovery    = time.Second      // in which a gap still counts for the fault
	watchEvery       = 50 * time.Millisecond
	leastPerOneRound = 20 // acknowledged changes; fewer show nothing
)

func TestMain(m *testing.M) {
	code := m.Run()
	testcluster.Cleanup()
	os.Exit(code)
}

// run is one run of the test.
type run struct {
	t        *testing.T
	cluster  *testcluster.Cluster
	observer *Observer
	nemesis  *Nemesis
	load     *metadataLoad
	tool     string // chronikctl
	tally    *tally
	faults   map[string]int
	gaps     map[string][]time.Duration // by kind: longest time without an acknowledged change while a majority was there
	returns  map[string][]time.Duration // by kind: from the end of the fault to the next acknowledged change
}

func newRun(t *testing.T, seed uint64) *run {
	c := testcluster.StartCluster(t, 3, testcluster.Options{})
	o, err := NewObserver(c.Addresses())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	r := &run{t: t, cluster: c, observer: o, nemesis: New(c, o.Controller), tally: newTally(), tool: testcluster.Tool(t, "chronikctl"),
		faults: map[string]int{}, gaps: map[string][]time.Duration{}, returns: map[string][]time.Duration{}}
	r.load = newMetadataLoad(t, c.Addresses(), r.nemesis, seed)
	return r
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// round does one fault and waits until changes are acknowledged again.
func (r *run) round(ctx context.Context, f Fault) {
	r.t.Helper()
	out, err := r.nemesis.Do(ctx, f)
	if err != nil {
		r.t.Fatalf("%s: %v", f.Kind(), err)
	}
	r.faults[f.Kind()]++
	within, cancel := context.WithTimeout(ctx, recoverWithin)
	defer cancel()
	back, err := r.load.progress.AwaitAsked(within, out.Healed)
	if err != nil {
		r.t.Fatalf("%s: %v; %s", f.Kind(), err, positions(r.observer.Infos(ctx)))
	}
	if out.Majority {
		if sleep(ctx, afterRecovery) == nil {
			r.gaps[f.Kind()] = append(r.gaps[f.Kind()], r.load.progress.LongestGap(out.Began, time.Now()))
		}
	} else {
		r.returns[f.Kind()] = append(r.returns[f.Kind()], back.Sub(out.Healing))
	}
}

// TestMetadataUnderFaults is the promise of the metadata log on real processes: no acknowledged change is lost, nothing that was deleted
// comes back, answers are linearizable per key, and all nodes hold the same.
func TestMetadataUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("three processes, several rounds of kills and stops")
	}
	rounds := int(number(t, "CHRONIK_NEMESIS_ROUNDS", defaultRounds))
	seed := number(t, "CHRONIK_SEED", rand.Uint64N(1_000_000))
	t.Logf("CHRONIK_SEED=%d CHRONIK_NEMESIS_ROUNDS=%d", seed, rounds)
	r := newRun(t, seed)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go r.observer.Watch(ctx, watchEvery)
	schedule := NewSchedule(seed, DefaultLimits)
	began := time.Now()
	for n, generation := 0, 0; n < rounds && !t.Failed(); generation++ {
		h := r.load.start(generation)
		for range roundsInOne {
			if n++; n > rounds {
				break
			}
			r.round(ctx, schedule.Next())
		}
		r.load.stop()
		r.settle(generation, h)
		t.Logf("round %d: %d changes acknowledged, %d histories checked", min(n, rounds), r.load.progress.Count(), r.tally.keys)
	}
	stop()
	r.report(time.Since(began))
}

func (r *run) report(took time.Duration) {
	t := r.t
	total := 0
	for _, kind := range slices.Sorted(maps.Keys(r.faults)) {
		n := r.faults[kind]
		total += n
		line := fmt.Sprintf("%3d x %s", n, kind)
		if g := r.gaps[kind]; len(g) > 0 {
			line += "; longest time without an acknowledged change: " + Summary(g)
		}
		if g := r.returns[kind]; len(g) > 0 {
			line += "; from the end of the fault to an acknowledged change: " + Summary(g)
		}
		t.Log(line)
	}
	asked, compared, differ := r.observer.Compared()
	for _, d := range differ {
		t.Error(d)
	}
	y := r.tally
	t.Logf("%d faults in %v; %s", total, took.Round(time.Second), r.load.report())
	t.Logf("acknowledged changes %d; lost %d, resurrected %d; changed later by operations of unknown outcome %d", r.load.progress.Count(), y.lost, y.resurrected, y.changed)
	t.Logf("porcupine: %d keys, %d operations: ok %d, illegal %d, undecided %d (longest %v)", y.keys, y.ops, y.ok, y.illegal, y.undecide, y.longestCheck.Round(time.Millisecond))
	t.Logf("image hashes: %d told, %d compared at equal offsets, %d differ; at rest after: %s", asked, compared, len(differ), Summary(y.settled))
	if n := r.load.progress.Count(); n < leastPerOneRound*total {
		t.Errorf("only %d changes were acknowledged in %d rounds: the run has shown nothing", n, total)
	}
}
