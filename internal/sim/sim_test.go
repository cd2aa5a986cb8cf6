package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const defaultSteps = 1000

func envInt(t *testing.T, name string, def int) int {
	s := os.Getenv(name)
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
	if err != nil {
		t.Fatalf("%s=%q: %v", name, s, err)
	}
	return n
}

func (s *Sometimes) add(o Sometimes) {
	a, b := reflect.ValueOf(s).Elem(), reflect.ValueOf(o)
	for i := range a.NumField() {
		a.Field(i).SetInt(a.Field(i).Int() + b.Field(i).Int())
	}
}

// A run makes much garbage and keeps nothing.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}

// mustNotBeZero holds that everything that ought to happen sometimes has happened.
func (s *Sometimes) mustNotBeZero(t *testing.T, but ...string) {
	t.Helper()
	v := reflect.ValueOf(*s)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).Int() == 0 && !slices.Contains(but, name) {
			t.Errorf("%s: never", name)
		}
	}
}

// hunt runs seeds from 0 on, on all processors, and returns the first that fails.
func hunt(o Options, seeds int) (seed int, failure string, some Sometimes, ran int) {
	var next, first atomic.Int64
	first.Store(int64(seeds))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var sum Sometimes
			n := 0
			for {
				i := next.Add(1) - 1
				if i >= first.Load() {
					break
				}
				run := o
				run.Seed = uint64(i)
				f, s := Run(run)
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
		}()
	}
	wg.Wait()
	return int(first.Load()), failure, some, ran
}

// TestSeeds runs the protocol as it is. CHRONIK_SEEDS says how many seeds; CHRONIK_SEED replays one with a trace.
func TestSeeds(t *testing.T) {
	o := Options{Steps: envInt(t, "CHRONIK_STEPS", defaultSteps), Profile: os.Getenv("CHRONIK_PROFILE")}
	if os.Getenv("CHRONIK_SEED") != "" {
		o.Seed, o.Trace = uint64(envInt(t, "CHRONIK_SEED", 0)), t.Logf
		if name := os.Getenv("CHRONIK_BUG"); name != "" {
			for _, b := range scorecard {
				if b.name == name {
					o.Core, o.Disk, o.Profile = b.core, b.disk, b.profile
				}
			}
		}
		if failure, some := Run(o); failure != "" {
			t.Fatalf("%s\n%+v", failure, some)
		}
		return
	}
	seeds := envInt(t, "CHRONIK_SEEDS", 2000)
	start := time.Now()
	seed, failure, some, ran := hunt(o, seeds)
	if failure != "" {
		t.Fatalf("seed %d: %s\nreplay: CHRONIK_SEED=%d CHRONIK_PROFILE=%s CHRONIK_STEPS=%d go test ./internal/sim -run TestSeeds -v", seed, failure, seed, o.Profile, o.Steps)
	}
	took := time.Since(start)
	if seeds >= 1000 {
		some.mustNotBeZero(t, "Excused", "BannedByDamage", "PromiseLost")
	}
	t.Logf("%d seeds of %d steps, 0 violations, %v (%.0f seeds/s); %+v", ran, o.Steps, took.Round(time.Millisecond), float64(ran)/took.Seconds(), some)
}

// TestRunsAreExact holds that a run depends on its seed only: the traces of two runs are equal.
func TestRunsAreExact(t *testing.T) {
	for seed := range uint64(30) {
		var traces [2][]byte
		for i := range traces {
			h := sha256.New()
			Run(Options{Seed: seed, Steps: defaultSteps, Trace: func(format string, args ...any) { fmt.Fprintf(h, format, args...) }})
			traces[i] = h.Sum(nil)
		}
		if !bytes.Equal(traces[0], traces[1]) {
			t.Fatalf("seed %d runs differently the second time", seed)
		}
	}
}

// TestScorecard holds that the simulator finds every seeded bug within its budget.
func TestScorecard(t *testing.T) {
	only := os.Getenv("CHRONIK_BUG")
	scale := envInt(t, "CHRONIK_SCALE", 1)
	for _, b := range scorecard {
		if only != "" && b.name != only || only == "" && b.slow && os.Getenv("CHRONIK_SEEDS") == "" {
			continue
		}
		start := time.Now()
		o := Options{Steps: envInt(t, "CHRONIK_STEPS", defaultSteps), Core: b.core, Disk: b.disk, Profile: b.profile}
		seed, failure, _, _ := hunt(o, b.seeds*scale)
		took := time.Since(start).Round(time.Millisecond)
		if failure == "" {
			t.Errorf("%-30s NOT FOUND in %d seeds (%v)", b.name, b.seeds*scale, took)
			continue
		}
		t.Logf("%-30s seed %-6d %8v  %s", b.name, seed, took, failure)
	}
}
