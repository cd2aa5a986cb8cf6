package bench

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// endToEndDrain is how long a run waits for acknowledged records to arrive after the load has ended.
const endToEndDrain = 10 * time.Second

// endToEnd reads what the producers write, as it comes. One client reads all partitions, so that one checker sees everything.
type endToEnd struct {
	run      *run
	recorder *recorder
	checker  *checker
	kafka    *kgo.Client
	wg       sync.WaitGroup
	cancel   context.CancelFunc
	received chan struct{} // closed when as many records as acknowledged have come
	target   chan int64
}

// startEndToEnd must come before the producers start and after their slots are counted.
func (r *run) startEndToEnd(producers int) (*endToEnd, error) {
	assign := map[int32]kgo.Offset{}
	for p, o := range r.startOffsets {
		assign[int32(p)] = kgo.NewOffset().At(o)
	}
	kc, err := r.meta.With(append(fetchOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: assign}))...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &endToEnd{run: r, kafka: kc, cancel: cancel, recorder: newRecorder(&r.window, false), checker: newChecker(r.id, r.partitions, producers),
		received: make(chan struct{}), target: make(chan int64, 1)}
	r.recorders = append(r.recorders, e.recorder)
	e.wg.Go(func() { e.read(ctx) })
	return e, nil
}

func (e *endToEnd) read(ctx context.Context) {
	var got int64
	want := int64(-1)
	for ctx.Err() == nil {
		select {
		case want = <-e.target:
		default:
		}
		if want >= 0 && got >= want {
			close(e.received)
			return
		}
		pctx := ctx
		var cancel context.CancelFunc = func() {}
		if want < 0 {
			pctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
		}
		fetches := e.kafka.PollFetches(pctx)
		cancel()
		now := e.run.clock.now()
		fetches.EachRecord(func(rec *kgo.Record) {
			h, ours := e.checker.take(rec.Partition, rec.Value)
			if !ours {
				return
			}
			got++
			e.recorder.ok(h.intendedNs, h.intendedNs, now, int64(len(rec.Value)))
		})
	}
}

// finish waits for what was acknowledged, and compares.
func (e *endToEnd) finish() Integrity {
	var acked int64
	for _, l := range e.run.ledgers {
		for seq := uint64(0); seq < l.sent; seq++ {
			if l.acked.has(seq) {
				acked++
			}
		}
	}
	e.target <- acked
	select {
	case <-e.received:
	case <-time.After(endToEndDrain):
	}
	e.cancel()
	e.wg.Wait()
	e.kafka.Close()
	return e.checker.finish(e.run.ledgers)
}
