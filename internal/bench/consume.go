package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// prefillBytes is how much is written for reading when --messages does not say.
const prefillBytes = 512 << 20

// prefill writes the records that mode consume reads from the run's own topic.
func (r *run) prefill(ctx context.Context) error {
	if !r.ownTopic {
		return nil
	}
	o := *r.o
	o.Mode, o.Async, o.Rate, o.Verify = modeProduce, true, 0, false
	o.Clients, o.Concurrency = 1, 1
	if o.Messages == 0 {
		o.Messages = max(1000, prefillBytes/int64(o.size))
	}
	w := &run{o: &o, app: r.app, meta: r.meta, clock: r.clock, id: r.id, topic: r.topic, partitions: r.partitions, keys: r.keys, stopped: newStopFlag(), limits: r.limits}
	w.window.end.Store(1 << 62)
	if err := w.openProducers(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { w.window.end.Store(0); w.stopped.stop() })
	defer stop()
	progress := r.app.NewProgress()
	s := w.startSampler(func(row Row) {
		progress.Set("writing %s records to read   %s/s", cli.Count(o.Messages), cli.Rate(row.PerSecond))
	})
	w.startPumps()
	loaded := make(chan struct{})
	go w.giveUpAfter(ctx, loaded)
	w.waitProducers()
	close(loaded)
	s.finish()
	progress.Clear()
	w.closeProducers()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(w.errors) > 0 {
		return cli.Failf("write the records to read: %s", w.explainErrors())
	}
	r.ledgers = w.ledgers
	return nil
}

// consumeLoad reads the topic again and again until the time is over or --messages are read.
type consumeLoad struct {
	wg      sync.WaitGroup
	mu      sync.Mutex // guards err, rounds and result; taken once per client and round
	err     error
	rounds  int
	result  Integrity
	checked bool
}

// startConsume divides the partitions among the clients and starts them.
func (r *run) startConsume(ctx context.Context) (*consumeLoad, error) {
	tctx, cancel := r.app.WithTimeout(ctx)
	defer cancel()
	starts, err := r.meta.Admin().ListStartOffsets(tctx, r.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, metaclient.Explain("read start offsets of "+r.topic, err)
	}
	ends, err := r.endOffsets(tctx)
	if err != nil {
		return nil, err
	}
	load := &consumeLoad{}
	clients := min(r.o.Clients, r.partitions)
	quota := share(r.o.Messages, clients)
	any := false
	for i := range clients {
		c := &consumerClient{run: r, load: load, recorder: newRecorder(&r.window, false), starts: map[int32]int64{}, ends: map[int32]int64{}, left: quota(i)}
		for p := i; p < r.partitions; p += clients {
			s, _ := starts.Lookup(r.topic, int32(p))
			if s.Offset < ends[p] {
				c.starts[int32(p)], c.ends[int32(p)] = s.Offset, ends[p]
			}
		}
		if len(c.ends) == 0 {
			continue
		}
		any = true
		r.recorders = append(r.recorders, c.recorder)
		load.wg.Go(func() { c.read(ctx) })
	}
	if !any {
		return nil, cli.Failf("topic %s is empty: there is nothing to read", r.topic).WithNext("leave out --topic, or write first with --mode produce --topic %s", r.topic)
	}
	return load, nil
}

// consumerClient is one reading client; all of it belongs to its goroutine.
type consumerClient struct {
	run      *run
	load     *consumeLoad
	recorder *recorder
	starts   map[int32]int64
	ends     map[int32]int64
	left     int64
	corrupt  int64
	gaps     int64
	total    int64
}

func (c *consumerClient) read(ctx context.Context) {
	assign := map[int32]kgo.Offset{}
	rewind := map[int32]kgo.EpochOffset{}
	for p, s := range c.starts {
		assign[p] = kgo.NewOffset().At(s)
		rewind[p] = kgo.EpochOffset{Epoch: -1, Offset: s}
	}
	kc, err := c.run.meta.With(append(fetchOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.run.topic: assign}))...)
	for rounds := 0; err == nil; rounds++ {
		if rounds > 0 {
			kc.SetOffsets(map[string]map[int32]kgo.EpochOffset{c.run.topic: rewind})
		}
		var more bool
		if more, err = c.round(ctx, kc); !more {
			break
		}
	}
	if kc != nil {
		kc.Close()
	}
	c.load.mu.Lock()
	defer c.load.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) && c.load.err == nil {
		c.load.err = err
	}
	c.load.checked = true
	c.load.result.Read += c.total
	c.load.result.Corrupt += c.corrupt
	c.load.result.Lost += c.gaps
}

// round reads all partitions once; more is false when the time or the limit is over.
func (c *consumerClient) round(ctx context.Context, kc *kgo.Client) (more bool, err error) {
	next := map[int32]int64{}
	for p, s := range c.starts {
		next[p] = s
	}
	open := len(next)
	for open > 0 {
		fetches := kc.PollFetches(ctx)
		now := c.run.clock.now()
		if ctx.Err() != nil || now >= c.run.window.end.Load() {
			return false, nil
		}
		for _, e := range fetches.Errors() {
			return false, metaclient.Explain(fmt.Sprintf("read %s-%d", e.Topic, e.Partition), e.Err)
		}
		var bytes, n int64
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			at, end := next[p.Partition], c.ends[p.Partition]
			for _, rec := range p.Records {
				if rec.Offset < at || rec.Offset >= end {
					continue
				}
				c.gaps += rec.Offset - at
				if _, state := readHeader(rec.Value); state == payloadCorrupt {
					c.corrupt++
				}
				at = rec.Offset + 1
				n++
				bytes += int64(len(rec.Value))
				if at == end {
					open--
				}
			}
			next[p.Partition] = at
		})
		c.total += n
		c.recorder.counted(n, bytes, now)
		if c.left > 0 {
			if c.left -= n; c.left <= 0 {
				return false, nil
			}
		}
	}
	c.load.mu.Lock()
	c.load.rounds++
	c.load.mu.Unlock()
	return true, nil
}

// counted adds records that have no latency of their own.
func (r *recorder) counted(n, bytes, now int64) {
	s := r.cur.Swap(nil)
	defer r.cur.Store(s)
	if now < r.window.start.Load() {
		s.discard += n
		return
	}
	s.done += n
	s.bytes += bytes
}
