package bench

import (
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histograms hold nanoseconds with three significant figures between one microsecond and ten minutes.
const (
	histogramMin = 1_000
	histogramMax = 600_000_000_000
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(histogramMin, histogramMax, 3) }

// shard is what one goroutine has measured since its shard was last taken.
type shard struct {
	response *hdrhistogram.Histogram // from the intended start to the end
	service  *hdrhistogram.Histogram // from the real start to the end; nil in a closed loop, where both starts are one
	lag      *hdrhistogram.Histogram // from the intended to the real start
	done     int64                   // ended well within the measured time
	late     int64                   // started within it, ended well after it
	discard  int64                   // started in the warm-up
	failed   int64
	bytes    int64
	overflow int64
}

func newShard(open bool) *shard {
	s := &shard{response: newHistogram()}
	if open {
		s.service, s.lag = newHistogram(), newHistogram()
	}
	return s
}

func (s *shard) reset() {
	s.response.Reset()
	if s.service != nil {
		s.service.Reset()
		s.lag.Reset()
	}
	s.done, s.late, s.discard, s.failed, s.bytes, s.overflow = 0, 0, 0, 0, 0, 0
}

// merge adds o to s; o stays as it is.
func (s *shard) merge(o *shard) {
	s.overflow += s.response.Merge(o.response)
	if o.service != nil && s.service != nil {
		s.overflow += s.service.Merge(o.service)
		s.overflow += s.lag.Merge(o.lag)
	}
	s.done += o.done
	s.late += o.late
	s.discard += o.discard
	s.failed += o.failed
	s.bytes += o.bytes
	s.overflow += o.overflow
}

func (s *shard) record(h *hdrhistogram.Histogram, ns int64) {
	if ns < histogramMin {
		ns = histogramMin
	}
	if h.RecordValue(ns) != nil {
		s.overflow++
		_ = h.RecordValue(histogramMax)
	}
}

// recorder gives one measuring goroutine a shard of its own. The goroutine takes it out for each sample and puts it back; between two
// samples the sampler may exchange it for an empty one, so that what was measured is there at the end of its row although no sample follows.
// The goroutine waits for nobody.
type recorder struct {
	cur    atomic.Pointer[shard] // nil while the goroutine writes into it
	window *window
}

// window is the measured time, in nanoseconds since the run began. It is fixed before the load starts; end moves on Ctrl-C.
type window struct {
	start, end atomic.Int64
}

func newRecorder(w *window, open bool) *recorder {
	r := &recorder{window: w}
	r.cur.Store(newShard(open))
	return r
}

// ok counts a success that was to start at intended, started at sent and ended at end.
func (r *recorder) ok(intended, sent, end, bytes int64) {
	s := r.cur.Swap(nil)
	defer r.cur.Store(s)
	if intended < r.window.start.Load() {
		s.discard++
		return
	}
	if end <= r.window.end.Load() {
		s.done++
		s.bytes += bytes
	} else {
		s.late++
	}
	s.record(s.response, end-intended)
	if s.service != nil {
		s.record(s.service, end-sent)
		s.record(s.lag, sent-intended)
	}
}

func (r *recorder) fail() {
	s := r.cur.Swap(nil)
	s.failed++
	r.cur.Store(s)
}

// exchange returns the shard and leaves an empty one; nil while the goroutine writes.
func (r *recorder) exchange(empty *shard) *shard {
	s := r.cur.Load()
	if s == nil || !r.cur.CompareAndSwap(s, empty) {
		return nil
	}
	return s
}

// clock measures nanoseconds since the run began, monotonic.
type clock struct{ base time.Time }

func (c clock) now() int64 { return int64(time.Since(c.base)) }
