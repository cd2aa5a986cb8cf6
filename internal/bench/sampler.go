package bench

import (
	"sync"
	"time"
)

// maxHandOver bounds how long the sampler waits for goroutines to notice its offer: acknowledgements may come in bursts far apart. One
// that stays idle is asked again at the next row. A row's rate is over the time that it really covers.
const maxHandOver = 500 * time.Millisecond

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

// sampler collects from the recorders at every interval. It is the only one that offers shards.
type sampler struct {
	run       *run
	recorders []*recorder
	spare     []*shard
	offered   []bool
	total     *shard
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
	s := &sampler{run: r, recorders: r.recorders, total: newShard(open), stop: make(chan struct{}), onRow: onRow,
		offered: make([]bool, len(r.recorders)), begin: r.clock.now(), lastUsage: readUsage()}
	s.last = s.begin
	for range s.recorders {
		s.spare = append(s.spare, newShard(open))
	}
	s.done.Go(s.loop)
	return s
}

func (s *sampler) loop() {
	t := time.NewTicker(s.run.o.Interval)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			s.row(s.collect())
		}
	}
}

// collect offers every recorder an empty shard and merges the full ones that come back.
func (s *sampler) collect() *shard {
	interval := newShard(s.total.service != nil)
	waiting := 0
	for i, r := range s.recorders {
		if !s.offered[i] {
			s.offered[i] = true
			r.next.Store(s.spare[i])
		}
		waiting++
	}
	for deadline := time.Now().Add(min(maxHandOver, s.run.o.Interval/2)); waiting > 0 && time.Now().Before(deadline); {
		waiting = 0
		for i, r := range s.recorders {
			if !s.offered[i] {
				continue
			}
			full := r.taken.Swap(nil)
			if full == nil {
				waiting++
				continue
			}
			interval.merge(full)
			full.reset()
			s.spare[i], s.offered[i] = full, false
		}
		if waiting > 0 {
			time.Sleep(200 * time.Microsecond)
		}
	}
	s.total.merge(interval)
	return interval
}

func (s *sampler) row(sh *shard) {
	now, u := s.run.clock.now(), readUsage()
	seconds := float64(now-s.last) / 1e9
	r := Row{EndS: float64(now-s.begin) / 1e9, Phase: phaseMeasured, Records: sh.done + sh.late, Failed: sh.failed,
		ClientCores: between(s.lastUsage, u).ClientCores}
	switch {
	case now <= s.run.window.start.Load() || r.Records == 0 && sh.discard > 0:
		r.Phase, r.Records = phaseWarmup, sh.discard
	case s.last >= s.run.window.end.Load():
		r.Phase = phaseDrain
	}
	if seconds > 0 && r.Phase != phaseDrain { // what was still outstanding comes in no time: that is no rate
		r.PerSecond = float64(r.Records) / seconds
		r.MiBPerS = r.PerSecond * float64(s.run.o.size) / (1 << 20)
	}
	if sh.response.TotalCount() > 0 {
		r.P50Ms, r.P99Ms = ms(sh.response.ValueAtPercentile(50)), ms(sh.response.ValueAtPercentile(99))
		r.P999Ms, r.MaxMs = ms(sh.response.ValueAtPercentile(99.9)), ms(sh.response.Max())
	}
	s.rows, s.last, s.lastUsage = append(s.rows, r), now, u
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
		if full := r.taken.Swap(nil); full != nil {
			rest.merge(full)
		}
		rest.merge(r.cur)
	}
	s.total.merge(rest)
	if rest.done+rest.late+rest.discard+rest.failed > 0 {
		s.row(rest)
	}
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
