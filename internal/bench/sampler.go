package bench

import (
	"slices"
	"sync"
	"time"
)

// maxExchange bounds how long the sampler tries to exchange a shard into which its goroutine writes: it may have been interrupted there.
// Then its samples are in the next row. A row's rate is over the time that it really covers.
const maxExchange = 500 * time.Millisecond

// Row is one interval of a run.
type Row struct {
	EndS        float64 `json:"endSeconds"` // since the load began
	Phase       string  `json:"phase"`
	Records     int64   `json:"records"`
	PerSecond   float64 `json:"recordsPerSecond"`
	MiBPerS     float64 `json:"mibPerSecond"`
	Failed      int64   `json:"failed"`
	P50Ms       float64 `json:"p50Ms"`
	P99Ms       float64 `json:"p99Ms"`
	P999Ms      float64 `json:"p999Ms"`
	MaxMs       float64 `json:"maxMs"`
	ClientCores float64 `json:"clientCores"`
}

// Phases of a row.
const (
	phaseWarmup   = "warm-up"
	phaseMeasured = "measured"
	phaseDrain    = "drain"
)

// sampler makes a row of what the recorders have measured at every interval of the measured time, and where that begins and ends. A row is of
// the time in which its records ended.
type sampler struct {
	run       *run
	recorders []*recorder
	spare     []*shard
	total     *shard
	carry     *shard // measured at the end of a row of the warm-up
	rows      []Row
	begin     int64
	last      int64
	lastUsage usage
	onRow     func(Row)
	stop      chan struct{}
	done      sync.WaitGroup
}

// startSampler begins to collect; finish ends it after all measuring goroutines have ended.
func (r *run) startSampler(onRow func(Row)) *sampler {
	open := r.o.model() == modelOpen && r.o.Mode != modeEndToEnd // there the schedule is the producers', not the reader's
	s := &sampler{run: r, recorders: r.recorders, total: newShard(open), carry: newShard(open), stop: make(chan struct{}), onRow: onRow,
		begin: r.clock.now(), lastUsage: readUsage()}
	s.last = s.begin
	for range s.recorders {
		s.spare = append(s.spare, newShard(open))
	}
	s.done.Go(s.loop)
	return s
}

func (s *sampler) loop() {
	stopped := s.run.stopped.ch
	for {
		end := s.rowEnd()
		t := time.NewTimer(time.Duration(end - s.run.clock.now()))
		select {
		case <-s.stop:
			t.Stop()
			return
		case <-t.C:
		case <-stopped: // the end has come, or has been brought forward
			t.Stop()
			stopped = nil
			continue
		}
		s.row(s.collect(), end)
	}
}

// rowEnd is where the row that began at last ends: rows are whole intervals from the beginning of the measured time on, and end where that
// begins and ends.
func (s *sampler) rowEnd() int64 {
	start, end, interval := s.run.window.start.Load(), s.run.window.end.Load(), int64(s.run.o.Interval)
	n := (s.last - start) / interval
	if s.last >= start {
		n++
	}
	next := start + n*interval
	if next-s.last < interval/100 { // the timer was early
		next += interval
	}
	if s.last < end {
		next = min(next, end)
	}
	return next
}

// collect exchanges the shards of all recorders and merges the full ones.
func (s *sampler) collect() *shard {
	interval := newShard(s.total.service != nil)
	left := make([]int, len(s.recorders))
	for i := range left {
		left[i] = i
	}
	for deadline := time.Now().Add(min(maxExchange, s.run.o.Interval/2)); ; time.Sleep(50 * time.Microsecond) {
		left = slices.DeleteFunc(left, func(i int) bool {
			full := s.recorders[i].exchange(s.spare[i])
			if full == nil {
				return false
			}
			interval.merge(full)
			full.reset()
			s.spare[i] = full
			return true
		})
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	s.total.merge(interval)
	return interval
}

// row adds the row that was to end at end and ends now.
func (s *sampler) row(sh *shard, end int64) {
	now, u := s.run.clock.now(), readUsage()
	seconds := float64(now-s.last) / 1e9
	sh.merge(s.carry)
	s.carry.reset()
	r := Row{EndS: float64(now-s.begin) / 1e9, Phase: phaseMeasured, Records: sh.done + sh.late, Failed: sh.failed,
		ClientCores: between(s.lastUsage, u).ClientCores}
	latency := sh.response
	switch {
	case end <= s.run.window.start.Load():
		r.Phase, r.Records, latency = phaseWarmup, sh.discard, newHistogram()
		sh.discard, sh.failed = 0, 0 // what was measured between end and now belongs to the next row
		s.carry.merge(sh)
	case r.Records == 0 && sh.discard > 0:
		r.Phase, r.Records = phaseWarmup, sh.discard
	case s.last >= s.run.window.end.Load():
		r.Phase = phaseDrain
	}
	if seconds > 0 && r.Phase != phaseDrain { // what was still outstanding comes in no time: that is no rate
		r.PerSecond = float64(r.Records) / seconds
		if s.run.o.Mode != modeMetadata { // a request there is of no size
			r.MiBPerS = r.PerSecond * float64(s.run.o.size) / (1 << 20)
		}
	}
	if latency.TotalCount() > 0 {
		r.P50Ms, r.P99Ms = ms(latency.ValueAtPercentile(50)), ms(latency.ValueAtPercentile(99))
		r.P999Ms, r.MaxMs = ms(latency.ValueAtPercentile(99.9)), ms(latency.Max())
	}
	if r.Phase != phaseDrain || r.Records+r.Failed > 0 { // what is outstanding may take long to come
		s.rows, s.lastUsage = append(s.rows, r), u
	}
	s.last = now
	if s.onRow != nil {
		s.onRow(r)
	}
}

// finish takes what is left. The measuring goroutines have ended, so their shards may be read.
func (s *sampler) finish() {
	close(s.stop)
	s.done.Wait()
	rest := newShard(s.total.service != nil)
	for _, r := range s.recorders {
		rest.merge(r.cur.Load())
	}
	s.total.merge(rest)
	if rest.done+rest.late+rest.discard+rest.failed+s.carry.done+s.carry.late > 0 {
		s.row(rest, s.run.clock.now())
	}
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
