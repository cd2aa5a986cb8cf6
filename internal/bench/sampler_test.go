package bench

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sampled runs a sampler over a load in a bubble with a clock of its own: each function is a measuring goroutine.
func sampled(t *testing.T, o *Options, loads ...func(r *run, rec *recorder)) (rows []Row, s *sampler) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &run{o: o, clock: clock{time.Now()}, stopped: newStopFlag()}
		r.window.start.Store(int64(o.Warmup))
		r.window.end.Store(int64(o.Warmup + o.Duration))
		for range loads {
			r.recorders = append(r.recorders, newRecorder(&r.window, false))
		}
		s = r.startSampler(nil)
		timer := time.AfterFunc(o.Warmup+o.Duration, r.stopped.stop)
		defer timer.Stop()
		var wg sync.WaitGroup
		for i, load := range loads {
			wg.Go(func() { load(r, r.recorders[i]) })
		}
		wg.Wait()
		s.finish()
	})
	return s.rows, s
}

// acks records n acknowledgements, one in the middle of every step, each after 1 ms.
func acks(r *run, rec *recorder, n int, step time.Duration) {
	for range n {
		time.Sleep(step / 2)
		now := r.clock.now()
		rec.ok(now-1e6, now-1e6, now, 100)
		time.Sleep(step / 2)
	}
}

func brief(rows []Row) (out []string) {
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%.1f %s %d %.0f/s", r.EndS, r.Phase, r.Records, r.PerSecond))
	}
	return out
}

func equal(t *testing.T, rows []Row, want ...string) {
	t.Helper()
	if got := brief(rows); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("rows\n%q\nwant\n%q", got, want)
	}
}

// Acknowledgements before a stall are in the rows before it, those after it in the rows after it, and the rows of the stall are empty. When
// a goroutine handed over what it had only with its next sample, all that came before the stall was in the row after it.
func TestRowsAroundAStall(t *testing.T) {
	o := &Options{Interval: time.Second, Duration: 5 * time.Second}
	load := func(r *run, rec *recorder) {
		acks(r, rec, 149, 10*time.Millisecond) // to 1.49 s
		time.Sleep(2 * time.Second)            // to 3.49 s
		acks(r, rec, 160, 10*time.Millisecond) // to 5.09 s
	}
	rows, s := sampled(t, o, load, load)
	equal(t, rows, "1.0 measured 200 200/s", "2.0 measured 98 98/s", "3.0 measured 0 0/s", "4.0 measured 102 102/s", "5.0 measured 200 200/s", "5.1 drain 18 0/s")
	if s.total.done != 2*300 || s.total.late != 2*9 || math.Abs(rows[1].MaxMs-1) > 0.01 || rows[2].MaxMs != 0 {
		t.Errorf("%d done, %d late, %+v", s.total.done, s.total.late, rows)
	}
}

// The last row is not empty when nothing is acknowledged after it, and what is outstanding at the end is not in it. Waiting for that makes no
// rows.
func TestLastRow(t *testing.T) {
	o := &Options{Interval: time.Second, Duration: 2 * time.Second}
	rows, _ := sampled(t, o, func(r *run, rec *recorder) {
		acks(r, rec, 195, 10*time.Millisecond)
		time.Sleep(60 * time.Millisecond)
	})
	equal(t, rows, "1.0 measured 100 100/s", "2.0 measured 95 95/s")
	rows, _ = sampled(t, o, func(r *run, rec *recorder) {
		acks(r, rec, 150, 10*time.Millisecond)
		time.Sleep(2 * time.Second)
		now := r.clock.now()
		rec.ok(now-2e9, now-2e9, now, 100)
	})
	equal(t, rows, "1.0 measured 100 100/s", "2.0 measured 50 50/s", "3.5 drain 1 0/s")
}

// Rows end where the warm-up and the measured time end, whatever the interval; none is of both.
func TestRowsKeepToTheWindow(t *testing.T) {
	o := &Options{Interval: time.Second, Warmup: 1500 * time.Millisecond, Duration: 2300 * time.Millisecond}
	rows, s := sampled(t, o, func(r *run, rec *recorder) { acks(r, rec, 380, 10*time.Millisecond) })
	equal(t, rows, "0.5 warm-up 50 100/s", "1.5 warm-up 100 100/s", "2.5 measured 100 100/s", "3.5 measured 100 100/s", "3.8 measured 30 100/s")
	var sum int64
	for _, r := range rows {
		if r.Phase != phaseWarmup {
			sum += r.Records
		}
	}
	if sum != s.total.done+s.total.late {
		t.Errorf("the rows have %d, the total %d and %d late", sum, s.total.done, s.total.late)
	}
}

func TestRowEnd(t *testing.T) {
	const s = int64(time.Second)
	smp := &sampler{run: &run{o: &Options{Interval: time.Second}}}
	smp.run.window.start.Store(15 * s / 10)
	smp.run.window.end.Store(38 * s / 10)
	for _, c := range []struct{ last, want int64 }{{0, 5 * s / 10}, {4 * s / 10, 5 * s / 10}, {5 * s / 10, 15 * s / 10}, {15 * s / 10, 25 * s / 10}, {26 * s / 10, 35 * s / 10},
		{35*s/10 - 1, 38 * s / 10}, {38 * s / 10, 45 * s / 10}, {62 * s / 10, 65 * s / 10}} {
		smp.last = c.last
		if got := smp.rowEnd(); got != c.want {
			t.Errorf("the row that began at %v ends at %v, not %v", time.Duration(c.last), time.Duration(got), time.Duration(c.want))
		}
	}
}

// What was measured when the sampler came a moment after the end of the warm-up is in the next row.
func TestTheMomentAfterTheWarmUp(t *testing.T) {
	r := &run{o: &Options{Interval: time.Second}, clock: clock{time.Now()}}
	r.window.start.Store(1 << 60)
	r.window.end.Store(1 << 61)
	s := &sampler{run: r, total: newShard(false), carry: newShard(false)}
	sh := newShard(false)
	sh.discard, sh.done, sh.failed = 5, 2, 1
	sh.record(sh.response, 3e6)
	s.row(sh, 1<<60)
	r.window.start.Store(0)
	sh = newShard(false)
	sh.done = 10
	s.row(sh, 1)
	a, b := s.rows[0], s.rows[1]
	if a.Phase != phaseWarmup || a.Records != 5 || a.Failed != 1 || a.MaxMs != 0 || b.Phase != phaseMeasured || b.Records != 12 || b.Failed != 0 || math.Abs(b.MaxMs-3) > 0.01 {
		t.Errorf("%+v", s.rows)
	}
}

// An end that is brought forward ends the row.
func TestInterruptEndsTheRow(t *testing.T) {
	o := &Options{Interval: time.Second, Duration: time.Minute}
	rows, _ := sampled(t, o, func(r *run, rec *recorder) {
		acks(r, rec, 130, 10*time.Millisecond)
		r.window.end.Store(r.clock.now())
		r.stopped.stop()
		acks(r, rec, 3, 100*time.Millisecond)
	})
	equal(t, rows, "1.0 measured 100 100/s", "1.3 measured 30 100/s", "1.6 drain 3 0/s")
}
