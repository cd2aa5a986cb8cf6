package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/testcluster"
)

const (
	burstPartitions = 3
	burstEvery      = 4 * time.Second
	burstRecords    = 40
	burstBytes      = 100_000
	removeWithin    = time.Minute
)

// bursts is what goes to one topic between two rests: followers that were away have much to get, and the WAL has much to recycle.
type bursts struct {
	topic  string
	ledger *testcluster.Ledger
}

func (l *load) burst() {
	c := l.producer(kgo.AllowAutoTopicCreation())
	r := rand.New(rand.NewPCG(l.seed, 4000))
	large := make([]byte, burstBytes)
	for i := range large {
		large[i] = byte(r.Uint32())
	}
	l.done.Go(func() {
		for n := 0; l.ctx.Err() == nil; sleep(l.ctx, burstEvery) {
			if l.unanswered.Load() > 4*mostUnanswered {
				continue
			}
			l.whileSending(func() {
				b := l.currentBursts()
				for range burstRecords {
					p := r.Int32N(burstPartitions)
					l.produce(c, b.ledger, &kgo.Record{Topic: b.topic, Partition: p, Value: testcluster.Value("burst", p, n),
						Headers: []kgo.RecordHeader{{Key: "padding", Value: large[:r.IntN(burstBytes)]}}}, func() {})
					n++
				}
			})
		}
	})
}

func (l *load) currentBursts() *bursts {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bursts == nil {
		l.burstTopics++
		l.bursts = &bursts{topic: fmt.Sprintf("burst-%d", l.burstTopics), ledger: testcluster.NewLedger()}
	}
	return l.bursts
}

// nextBursts ends the bursts to the current topic, and returns it; nil if there was none.
func (l *load) nextBursts() *bursts {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.bursts
	l.bursts = nil
	return old
}

// remove deletes a topic.
func (l *load) remove(name string) {
	admin := kadm.NewClient(l.client())
	ctx, cancel := context.WithTimeout(l.ctx, removeWithin)
	defer cancel()
	for {
		_, err := admin.DeleteTopic(ctx, name)
		if err == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
			return
		}
		if ctx.Err() != nil {
			l.t.Errorf("topic %s cannot be deleted: %v", name, err)
			return
		}
		sleep(ctx, 100*time.Millisecond)
	}
}
