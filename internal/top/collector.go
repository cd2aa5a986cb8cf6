package top

import (
	"context"
	"time"

	"github.com/chronik-io/chronik/internal/metaclient"
)

// Bounds of the collector's memory.
const (
	maxEvents     = 10_000
	maxSeries     = 240
	maxTopics     = 5_000 // topics with a series of their own
	topicSeries   = 60
	frameInterval = 100 * time.Millisecond
	inputBound    = 64
)

// collector owns everything that snapshots are made of.
type collector struct {
	target string
	replay bool

	status     *metaclient.Status
	statusAt   time.Time // of when it is
	topicsAt   time.Time // likewise the topics
	offsetsAt  time.Time // when the topics had been read: the rates are over the time between two of these
	clusterErr string
	offsetsErr string
	logErr     string
	noLog      bool

	behind      int64 // committed entries that have not come
	behindSince time.Time

	series []float64
	since  []time.Time // when the time of each value of series began
	peak   float64
	rate   float64
	topics map[string]*TopicRate
	order  []string

	events  []Event
	dropped int64
	fold    *metaclient.Fold
	hashed  int64
	now     time.Time
}

func newCollector(target string, replay bool) *collector {
	return &collector{target: target, replay: replay, topics: map[string]*TopicRate{}, hashed: -1}
}

// run takes inputs and hands out snapshots, at most ten per second, and one each second although nothing came, so that ages go on.
// It returns when inputs is closed or ctx is done.
func (c *collector) run(ctx context.Context, inputs <-chan Input, now func() time.Time, emit func(*Snapshot)) {
	tick := time.NewTicker(frameInterval)
	defer tick.Stop()
	dirty, last := true, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case in, ok := <-inputs:
			if !ok {
				emit(c.snapshot())
				return
			}
			c.take(in)
			dirty = true
		case <-tick.C:
			if t := now(); dirty || t.Sub(last) >= time.Second {
				if !c.replay && t.After(c.now) {
					c.now = t
				}
				emit(c.snapshot())
				dirty, last = false, t
			}
		}
	}
}

// take folds one input into the state.
func (c *collector) take(in Input) {
	if in.At.After(c.now) {
		c.now = in.At
	}
	switch {
	case in.Header != nil:
		c.target = in.Header.Target
	case in.Gauges != nil:
		c.takeGauges(in.At, in.Gauges)
	case in.Log != nil:
		c.takeLog(in.At, in.Log)
	case in.Trouble != nil:
		switch in.Trouble.Part {
		case partLog:
			c.logErr, c.noLog = in.Trouble.Text, in.Trouble.Absent
		case partTopics:
			c.offsetsErr = in.Trouble.Text
		default:
			c.clusterErr = in.Trouble.Text
		}
	}
	c.measureBehind()
}

// measureBehind compares what came of the log with what the quorum has committed: a tail that hangs is quiet, and so is a quiet log.
func (c *collector) measureBehind() {
	c.behind = 0
	if c.status != nil && c.status.Quorum != nil && len(c.events) > 0 {
		c.behind = max(0, c.status.Quorum.HighWatermark-c.events[len(c.events)-1].Offset-1)
	}
	switch {
	case c.behind == 0:
		c.behindSince = time.Time{}
	case c.behindSince.IsZero():
		c.behindSince = c.now
	}
}

func (c *collector) takeGauges(at time.Time, g *Gauges) {
	began := at
	if took := time.Duration(g.TookMs) * time.Millisecond; took >= partTimeout { // somebody was waited for: what the others said is as old
		began = at.Add(-took)
	}
	if g.Status != nil {
		c.status, c.statusAt, c.clusterErr = g.Status, began, ""
	}
	if g.Topics != nil {
		c.takeTopics(at, g.Topics)
		c.topicsAt, c.offsetsAt, c.offsetsErr = began, at, ""
	}
}

func (c *collector) takeTopics(at time.Time, topics []TopicGauge) {
	seconds := at.Sub(c.offsetsAt).Seconds()
	known := !c.offsetsAt.IsZero() && seconds > 0.05
	present := map[string]bool{}
	var total float64
	c.order = c.order[:0:0]
	for _, t := range topics {
		present[t.Name] = true
		c.order = append(c.order, t.Name)
		old := c.topics[t.Name]
		next := &TopicRate{TopicGauge: t}
		if old != nil {
			next.Series = old.Series
		}
		switch {
		case old == nil || !known || t.EndOffset < old.EndOffset:
		case t.Unread < old.Unread: // what has come in the partitions that are read again came in more than this time
			next.Rate = old.Rate
		default:
			next.Rate = float64(t.EndOffset-old.EndOffset) / seconds
		}
		if len(c.order) <= maxTopics {
			next.Series = appendBounded(next.Series, next.Rate, topicSeries)
		}
		if !t.Internal {
			total += next.Rate
		}
		c.topics[t.Name] = next
	}
	for name := range c.topics {
		if !present[name] {
			delete(c.topics, name)
		}
	}
	if known {
		c.rate = total
		c.peak = max(c.peak, total)
		c.since = append(c.since, c.offsetsAt)
		c.since = c.since[max(0, len(c.since)-maxSeries):]
		c.series = appendBounded(c.series, total, maxSeries)
	}
}

// appendBounded returns a new slice, as older snapshots hold the old one.
func appendBounded(s []float64, v float64, bound int) []float64 {
	if len(s) >= bound {
		s = s[len(s)-bound+1:]
	}
	out := make([]float64, 0, bound)
	return append(append(out, s...), v)
}

func (c *collector) takeLog(at time.Time, b *LogBatch) {
	c.logErr, c.noLog = "", false
	if c.fold == nil {
		c.fold = metaclient.NewFold(b.Start)
	}
	for _, in := range b.Entries {
		if n := len(c.events); n > 0 && in.Offset <= c.events[n-1].Offset {
			continue // read again after a reconnection
		}
		e := metaclient.RebuildEntry(in.Offset, in.Epoch, in.Time, in.Key, in.Kind, in.Hash, in.Value)
		broken := c.fold.Err != nil
		step := c.fold.Apply(e)
		if e.Type == metaclient.TypeImageHash && !broken && c.fold.Err == nil && c.fold.Complete {
			c.hashed = e.Offset
		}
		if e.Time.IsZero() && e.Offset >= b.End {
			e.Time = at // it was committed just now; older ones without a time keep none
		}
		c.events = append(c.events, Event{LogEntry: e, What: metaclient.Describe(e), Before: step.Before, After: step.After})
	}
	if over := len(c.events) - maxEvents; over > 0 {
		c.dropped += int64(over)
		c.events = c.events[over:] // older snapshots keep their view; append moves to a new array when this one is used up
	}
}

func (c *collector) snapshot() *Snapshot {
	s := &Snapshot{At: c.now, Target: c.target, Replay: c.replay, Status: c.status, StatusAt: c.statusAt, TopicsAt: c.topicsAt, Cluster: c.clusterErr, Offsets: c.offsetsErr, Log: c.logErr, NoLog: c.noLog,
		Rate: c.rate, Peak: c.peak, Series: c.series, Events: c.events[:len(c.events):len(c.events)], Dropped: c.dropped, HashOffset: c.hashed,
		Behind: c.behind, BehindSince: c.behindSince}
	for _, n := range c.order {
		s.Topics = append(s.Topics, *c.topics[n])
		s.Unread += c.topics[n].Unread
	}
	if len(c.since) > 0 {
		s.Span = c.offsetsAt.Sub(c.since[0])
	}
	if c.fold != nil {
		s.Image, s.Whole = c.fold.Image, c.fold.Complete
		if c.fold.Err != nil {
			s.FoldErr = c.fold.Err.Error()
		}
	}
	for i := len(c.events) - 1; i >= 0; i-- {
		if at := c.events[i].Time; !at.IsZero() && c.now.Sub(at) >= time.Minute {
			break
		} else if !at.IsZero() {
			s.PerMinute++
		}
	}
	return s
}
