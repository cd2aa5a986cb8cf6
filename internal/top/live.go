package top

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// live reads a cluster and sends what it sees. It returns when ctx is done and both of its goroutines have ended.
type live struct {
	app      *cli.App
	client   *metaclient.Client
	interval time.Duration
	inputs   chan<- Input
}

func (l *live) run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { l.gauges(ctx) })
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

// gauges samples the cluster, with rests between.
func (l *live) gauges(ctx context.Context) {
	for {
		begin := time.Now()
		g, err := l.sample(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.send(ctx, Input{Trouble: &Trouble{Part: partCluster, Text: err.Error()}})
		} else {
			l.send(ctx, Input{Gauges: g})
		}
		took := time.Since(begin)
		if !pause(ctx, restFor(l.interval, took)) {
			return
		}
	}
}

// longestRest bounds the rest after a look that took long: mostly a node was silent, and then what comes next must be seen soon.
const longestRest = 3 * time.Second

// restFor is how long to wait after a look at the cluster that took so long: to the next interval, and so that looking takes no more than
// a tenth of the time where there is much to look at.
func restFor(interval, took time.Duration) time.Duration {
	return max(interval-took, min(9*took, longestRest), 100*time.Millisecond)
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

func (l *live) sample(ctx context.Context) (*Gauges, error) {
	ctx, cancel := l.app.WithTimeout(ctx)
	defer cancel()
	if err := l.client.Reach(ctx); err != nil {
		return nil, err
	}
	status, err := l.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	topics, err := l.client.Admin().ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, metaclient.Explain("list topics", err)
	}
	delete(topics, metaclient.MetadataTopic)
	g := &Gauges{Status: status}
	if len(topics) == 0 {
		return g, nil
	}
	starts, err := l.client.Admin().ListStartOffsets(ctx, topics.Names()...)
	if err != nil && len(starts) == 0 {
		return nil, metaclient.Explain("read offsets", err)
	}
	ends, err := l.client.Admin().ListEndOffsets(ctx, topics.Names()...)
	if err != nil && len(ends) == 0 {
		return nil, metaclient.Explain("read offsets", err)
	}
	for _, t := range topics.Sorted() {
		tg := TopicGauge{Name: t.Topic, Internal: t.IsInternal, Partitions: len(t.Partitions)}
		for p, e := range ends[t.Topic] {
			if s := starts[t.Topic][p]; e.Err == nil && s.Err == nil {
				tg.EndOffset += e.Offset
				tg.Records += e.Offset - s.Offset
			}
		}
		g.Topics = append(g.Topics, tg)
	}
	return g, nil
}

// log follows the metadata log and comes back after every interruption where it was.
func (l *live) log(ctx context.Context) {
	next := int64(0)
	for {
		err := l.follow(ctx, &next)
		if ctx.Err() != nil {
			return
		}
		l.send(ctx, Input{Trouble: &Trouble{Part: partLog, Text: err.Error(), Absent: errors.Is(err, metaclient.ErrNoMetadataLog)}})
		if !pause(ctx, 2*time.Second) {
			return
		}
	}
}

func (l *live) follow(ctx context.Context, next *int64) error {
	tctx, cancel := l.app.WithTimeout(ctx)
	defer cancel()
	if err := l.client.Reach(tctx); err != nil {
		return err
	}
	tail, err := l.client.OpenTail(tctx, *next)
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
