package top

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// partTimeout bounds reading one part of the picture, so that a broker which is silent holds up only what it alone can tell.
const partTimeout = 2 * time.Second

// live reads a cluster and sends what it sees: the status, the topics' offsets and the metadata log, each at its own pace. It returns when
// ctx is done and all its goroutines have ended.
type live struct {
	app      *cli.App
	client   *metaclient.Client
	interval time.Duration
	inputs   chan<- Input
	// newest is the last status, from which the topics' leaders are known.
	newest atomic.Pointer[metaclient.Status]
}

func (l *live) run(ctx context.Context) {
	var wg sync.WaitGroup
	first := make(chan struct{}) // closed with the first status
	wg.Go(func() { l.status(ctx, sync.OnceFunc(func() { close(first) })) })
	wg.Go(func() {
		select {
		case <-first:
			l.topics(ctx)
		case <-ctx.Done():
		}
	})
	wg.Go(func() { l.log(ctx) })
	wg.Wait()
}

// send waits for room: a slow collector slows the readers down, nothing is thrown away.
func (l *live) send(ctx context.Context, in Input) {
	in.At = l.app.Now()
	select {
	case l.inputs <- in:
	case <-ctx.Done():
	}
}

// status samples the cluster's state, with rests between. got is called after each one that was read.
func (l *live) status(ctx context.Context, got func()) {
	bound := min(partTimeout, l.app.Timeout)
	for {
		begin := time.Now()
		st, err := l.client.StatusWithin(ctx, bound)
		took := time.Since(begin)
		if err != nil {
			if rerr := l.client.Reach(ctx); rerr != nil {
				err = rerr // it names every address with its cause
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			bound = min(2*bound, l.app.Timeout) // it may be the size of the cluster
			l.send(ctx, Input{Trouble: &Trouble{Part: partCluster, Text: err.Error()}})
		} else {
			bound = min(max(partTimeout, 2*took), l.app.Timeout)
			l.newest.Store(st)
			got()
			l.send(ctx, Input{Gauges: &Gauges{Status: st, TookMs: took.Milliseconds()}})
		}
		if !pause(ctx, restFor(l.interval, took)) {
			return
		}
	}
}

// topics samples the topics' offsets, with rests between.
func (l *live) topics(ctx context.Context) {
	last := metaclient.Extents{}
	for {
		begin := time.Now()
		g, err := l.readTopics(ctx, l.newest.Load(), last)
		if ctx.Err() != nil {
			return
		}
		took := time.Since(begin)
		l.send(ctx, Input{Gauges: &Gauges{Topics: g, TookMs: took.Milliseconds()}})
		if err != nil {
			l.send(ctx, Input{Trouble: &Trouble{Part: partTopics, Text: err.Error()}})
		}
		if !pause(ctx, restFor(l.interval, took)) {
			return
		}
	}
}

// Rests after a look at the cluster. The longer one is for a cluster in which there is much to look at; the shorter one for a look that
// waited for a silent node, which costs nothing, and after which what comes next must be seen soon.
const (
	longestRest = 1500 * time.Millisecond
	silenceRest = 500 * time.Millisecond
)

// restFor is how long to wait after a look at the cluster that took so long: to the next interval, and so that looking takes little of
// the time.
func restFor(interval, took time.Duration) time.Duration {
	busy := min(9*took, longestRest)
	if took >= partTimeout {
		busy = silenceRest
	}
	return max(interval-took, busy)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// readTopics asks the leaders that answer for the extents of their partitions. last holds what each partition had when its leader last told,
// and is brought up to date. The error is of those that were asked.
func (l *live) readTopics(ctx context.Context, st *metaclient.Status, last metaclient.Extents) ([]TopicGauge, error) {
	up := map[int32]bool{}
	for _, n := range st.Nodes {
		up[n.ID] = n.State == metaclient.NodeUp
	}
	asked := make([]metaclient.PartitionStatus, 0, len(st.Partitions))
	for _, p := range st.Partitions {
		if up[p.Leader] {
			asked = append(asked, p)
		}
	}
	read, err := l.client.Extents(ctx, asked)
	return gaugesOf(st.Partitions, read, last), err
}

// gaugesOf sums up by topic what was read of partitions, and what was known before of those that were not. last is brought up to date.
func gaugesOf(partitions []metaclient.PartitionStatus, read, last metaclient.Extents) []TopicGauge {
	out := []TopicGauge{}
	for _, p := range partitions { // sorted by topic
		if n := len(out); n == 0 || out[n-1].Name != p.Topic {
			out = append(out, TopicGauge{Name: p.Topic, Internal: p.Internal})
		}
		g := &out[len(out)-1]
		g.Partitions++
		e, ok := read[p.Topic][p.Partition]
		if !ok {
			e = last[p.Topic][p.Partition]
			g.Unread++
		}
		g.EndOffset += e.End
		g.Records += e.End - e.Start
		if last[p.Topic] == nil {
			last[p.Topic] = map[int32]metaclient.Extent{}
		}
		last[p.Topic][p.Partition] = e
	}
	for name := range last {
		if _, here := slices.BinarySearchFunc(out, name, func(g TopicGauge, n string) int { return strings.Compare(g.Name, n) }); !here {
			delete(last, name)
		}
	}
	return out
}

// log follows the metadata log and comes back after every interruption where it was.
func (l *live) log(ctx context.Context) {
	next, bound := int64(0), min(partTimeout, l.app.Timeout)
	for {
		err := l.follow(ctx, bound, &next)
		if ctx.Err() != nil {
			return
		}
		bound = min(2*bound, l.app.Timeout)
		l.send(ctx, Input{Trouble: &Trouble{Part: partLog, Text: err.Error(), Absent: errors.Is(err, metaclient.ErrNoMetadataLog)}})
		if !pause(ctx, 2*time.Second) {
			return
		}
	}
}

func (l *live) follow(ctx context.Context, bound time.Duration, next *int64) error {
	tctx, cancel := context.WithTimeout(ctx, bound)
	tail, err := l.client.OpenTail(tctx, *next)
	cancel()
	if err != nil {
		return err
	}
	defer tail.Close()
	l.send(ctx, Input{Log: &LogBatch{Start: tail.Start, End: tail.End}})
	for {
		entries, err := tail.Poll(ctx)
		if err != nil {
			return err
		}
		b := &LogBatch{Start: tail.Start, End: tail.End}
		for _, e := range entries {
			b.Entries = append(b.Entries, LogInput{Offset: e.Offset, Epoch: e.Epoch, Time: e.Time, Key: e.Key, Kind: e.Kind, Hash: e.Hash, Value: e.Value})
			*next = e.Offset + 1
		}
		l.send(ctx, Input{Log: b})
	}
}
