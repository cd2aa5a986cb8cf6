package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Events of a run. End to end, three of five are of the metadata log.
const (
	planeSteps    = 2500
	endToEndSteps = 6000
)

func (s *PlaneSometimes) add(o PlaneSometimes) {
	a, b := reflect.ValueOf(s).Elem(), reflect.ValueOf(o)
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
}

// mustNotBeZero holds that everything that ought to happen sometimes has happened.
func (s *PlaneSometimes) mustNotBeZero(t *testing.T, but ...string) {
	t.Helper()
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).Int() == 0 && !slices.Contains(but, name) {
			t.Errorf("%s: never", name)
		}
	}
}

// huntPlane runs seeds from 0 on, on all processors, and returns the first that fails.
func huntPlane(o PlaneOptions, seeds int) (seed int, failure string, some PlaneSometimes, ran int) {
	var next, first atomic.Int64
	first.Store(int64(seeds))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			var sum PlaneSometimes
			n := 0
			for {
				i := next.Add(1) - 1
				if i >= first.Load() {
					break
				}
				run := o
				run.Seed = uint64(i)
				f, s := RunPlane(run)
				sum.add(s)
				n++
				if f == "" {
					continue
				}
				mu.Lock()
				if i < first.Load() {
					first.Store(i)
					failure = f
				}
				mu.Unlock()
			}
			mu.Lock()
			some.add(sum)
			ran += n
			mu.Unlock()
		})
	}
	wg.Wait()
	return int(first.Load()), failure, some, ran
}

// TestPlaneSeeds runs the data plane as it is, on metadata that is one history seen with delay.
func TestPlaneSeeds(t *testing.T) { planeSeeds(t, false, envInt(t, "CHRONIK_SEEDS", 1000)) }

// TestEndToEndSeeds runs data plane and metadata log together: what is produced crosses both.
func TestEndToEndSeeds(t *testing.T) { planeSeeds(t, true, envInt(t, "CHRONIK_SEEDS", 3000)/10) }

func planeSeeds(t *testing.T, full bool, seeds int) {
	steps := planeSteps
	if full {
		steps = endToEndSteps
	}
	o := PlaneOptions{Steps: envInt(t, "CHRONIK_STEPS", steps), Profile: os.Getenv("CHRONIK_PROFILE"), Full: full}
	if os.Getenv("CHRONIK_SEED") != "" {
		o.Seed, o.Trace = uint64(envInt(t, "CHRONIK_SEED", 0)), t.Logf
		if name := os.Getenv("CHRONIK_BUG"); name != "" {
			for _, b := range planeScorecard {
				if b.name == name {
					o.Replica, o.Bugs, o.Profile = b.core, b.world, b.profile
				}
			}
		}
		if failure, some := RunPlane(o); failure != "" {
			t.Fatalf("%s\n%+v", failure, some)
		}
		return
	}
	start := time.Now()
	seed, failure, some, ran := huntPlane(o, seeds)
	if failure != "" {
		t.Fatalf("seed %d: %s\nreplay: CHRONIK_SEED=%d CHRONIK_PROFILE=%s CHRONIK_STEPS=%d go test ./internal/sim -run '^%s$' -v", seed, failure, seed, o.Profile,
			o.Steps, t.Name())
	}
	took := time.Since(start)
	if seeds >= 1000 && !full {
		some.mustNotBeZero(t, "LossSeen")
	}
	t.Logf("%d seeds of %d steps, 0 violations, %v (%.0f seeds/s); %+v", ran, o.Steps, took.Round(time.Millisecond), float64(ran)/took.Seconds(), some)
}

// TestPlaneRunsAreExact holds that a run depends on its seed only: the traces of two runs are equal.
func TestPlaneRunsAreExact(t *testing.T) {
	for seed := range uint64(20) {
		var traces [2][]byte
		for i := range traces {
			h := sha256.New()
			RunPlane(PlaneOptions{Seed: seed, Steps: planeSteps, Full: seed%2 == 1, Trace: func(format string, args ...any) { fmt.Fprintf(h, format, args...) }})
			traces[i] = h.Sum(nil)
		}
		if !bytes.Equal(traces[0], traces[1]) {
			t.Fatalf("seed %d runs differently the second time", seed)
		}
	}
}

// TestPlaneScorecard holds that the simulator finds every seeded bug within its budget.
func TestPlaneScorecard(t *testing.T) {
	only := os.Getenv("CHRONIK_BUG")
	scale := envInt(t, "CHRONIK_SCALE", 1)
	for _, b := range planeScorecard {
		if only != "" && b.name != only {
			continue
		}
		start := time.Now()
		o := PlaneOptions{Steps: envInt(t, "CHRONIK_STEPS", planeSteps), Replica: b.core, Bugs: b.world, Profile: b.profile}
		seed, failure, _, _ := huntPlane(o, b.seeds*scale)
		took := time.Since(start).Round(time.Millisecond)
		if failure == "" {
			t.Errorf("%-30s NOT FOUND in %d seeds (%v)", b.name, b.seeds*scale, took)
			continue
		}
		t.Logf("%-30s seed %-6d %8v  %s", b.name, seed, took, failure)
	}
}
