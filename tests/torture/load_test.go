package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/testcluster"
	"github.com/chronik-io/chronik/tests/nemesis"
)

const (
	topic          = "torture"
	partitions     = 6
	writers        = 3 // idempotent
	repeaters      = 1 // not idempotent
	perRecord      = 6 * time.Millisecond
	mostUnanswered = 60 // records of a writer for one partition
	mostPadding    = 300
	autoTopics     = 30
	autoPartitions = 3
	autoEvery      = 700 * time.Millisecond
	answerWithin   = 90 * time.Second // of a record, once all is whole again
)

// load is everything that talks to the cluster while it is damaged.
type load struct {
	t       *testing.T
	cluster *testcluster.Cluster
	ledger  *testcluster.Ledger
	acks    [partitions]*nemesis.Progress // of the main topic
	topicID [16]byte
	seed    uint64

	ctx        context.Context
	stop       context.CancelFunc
	done       sync.WaitGroup
	gate       sync.RWMutex // sending is changed with it locked, and records are produced with it locked for reading
	sending    atomic.Bool
	unanswered atomic.Int64
	produced   atomic.Int64
	consumed   atomic.Int64
	rewound    atomic.Int64 // consumers that began again at an old offset
	commits    atomic.Int64
	fetches    atomic.Int64 // of committed offsets
	groups     atomic.Int64

	mu          sync.Mutex // guards the rest
	autos       []string   // topics that came into being by being named
	bursts      *bursts    // of now; nil between them
	burstTopics int
	failed      int
	waiting     map[string]int // records that are not answered, by partition
}

func newLoad(t *testing.T, c *testcluster.Cluster, seed uint64) *load {
	l := &load{t: t, cluster: c, ledger: testcluster.NewLedger(), seed: seed, waiting: map[string]int{}}
	l.ledger.MayRepeat = func(writer string) bool { return strings.HasPrefix(writer, "repeater") }
	for p := range l.acks {
		l.acks[p] = nemesis.NewProgress()
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	admin := kadm.NewClient(l.client())
	created, err := admin.CreateTopic(l.ctx, partitions, 3, nil, topic)
	if err != nil {
		t.Fatal(err)
	}
	l.topicID = created.ID
	return l
}

func (l *load) client(o ...kgo.Opt) *kgo.Client {
	l.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.cluster.Addresses()...), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.DialTimeout(time.Second), kgo.ProduceRequestTimeout(time.Second),
		kgo.RequestTimeoutOverhead(2 * time.Second), kgo.DisableClientMetrics(),
	}, o...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(c.Close)
	return c
}

// start lets everything run; it goes on until end.
func (l *load) start() {
	l.setSending(true)
	for id := range writers {
		l.write(fmt.Sprintf("writer%d", id), uint64(id), kgo.ProducerLinger(time.Duration(3*id)*time.Millisecond))
	}
	for id := range repeaters {
		l.write(fmt.Sprintf("repeater%d", id), uint64(id+writers), kgo.DisableIdempotentWrite())
	}
	l.writeAuto()
	l.burst()
	l.follow()
	l.follow(kgo.Rack(rackOf(1)))
	l.follow(kgo.Rack(rackOf(2)))
	l.rewind()
	l.commit()
}

// producer counts what it sends, and tells the ledger what comes back.
func (l *load) producer(o ...kgo.Opt) *kgo.Client {
	return l.client(append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.UnknownTopicRetries(-1), kgo.StopProducerOnDataLossDetected(), kgo.AlwaysRetryEOF()}, o...)...)
}

func (l *load) produce(c *kgo.Client, ledger *testcluster.Ledger, r *kgo.Record, then func()) {
	l.unanswered.Add(1)
	l.produced.Add(1)
	l.wait(r.Topic, r.Partition, 1)
	c.Produce(l.ctx, r, func(r *kgo.Record, err error) {
		l.unanswered.Add(-1)
		l.wait(r.Topic, r.Partition, -1)
		then()
		if err == nil {
			ledger.Ack(r)
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.failed++; l.ctx.Err() == nil && l.failed <= 20 { // a producer that tries for ever must not be told to give up
			l.t.Errorf("%s: a record for %s-%d failed: %v", r.Value, r.Topic, r.Partition, err)
		}
	})
}

// whileSending does something unless the load rests.
func (l *load) whileSending(do func()) {
	l.gate.RLock()
	defer l.gate.RUnlock()
	if l.sending.Load() {
		do()
	}
}

func (l *load) setSending(on bool) {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.sending.Store(on)
}

// wait counts what is not answered.
func (l *load) wait(topic string, partition int32, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := fmt.Sprintf("%s-%d", topic, partition)
	if l.waiting[key] += n; l.waiting[key] == 0 {
		delete(l.waiting, key)
	}
}

// write produces to the main topic, numbering its records per partition.
func (l *load) write(name string, id uint64, o ...kgo.Opt) {
	c := l.producer(o...)
	r := rand.New(rand.NewPCG(l.seed, 1000+id))
	l.done.Go(func() {
		var next [partitions]int
		var open [partitions]atomic.Int64
		for ; l.ctx.Err() == nil; sleep(l.ctx, perRecord) {
			p := r.Int32N(partitions)
			if open[p].Load() >= mostUnanswered {
				continue
			}
			l.whileSending(func() {
				record := &kgo.Record{Topic: topic, Partition: p, Value: testcluster.Value(name, p, next[p]), Headers: padding(r)}
				next[p]++
				open[p].Add(1)
				asked := time.Now()
				l.produce(c, l.ledger, record, func() { open[p].Add(-1); l.acks[p].Ack(asked) })
			})
		}
	})
}

func padding(r *rand.Rand) []kgo.RecordHeader {
	b := make([]byte, r.IntN(mostPadding))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return []kgo.RecordHeader{{Key: "padding", Value: b}}
}

// writeAuto produces to topics that nobody has created.
func (l *load) writeAuto() {
	c := l.producer(kgo.AllowAutoTopicCreation())
	r := rand.New(rand.NewPCG(l.seed, 2000))
	next := map[string]int{}
	l.done.Go(func() {
		for ; l.ctx.Err() == nil; sleep(l.ctx, autoEvery) {
			if l.unanswered.Load() > 4*mostUnanswered {
				continue
			}
			name := fmt.Sprintf("auto-%d", r.IntN(autoTopics))
			l.whileSending(func() {
				if next[name] == 0 {
					l.mu.Lock()
					l.autos = append(l.autos, name)
					l.mu.Unlock()
				}
				for p := range int32(autoPartitions) {
					l.produce(c, l.ledger, &kgo.Record{Topic: name, Partition: p, Value: testcluster.Value("auto/"+name, p, next[name]), Headers: padding(r)}, func() {})
				}
				next[name]++
			})
		}
	})
}

// topics are all topics with the numbers of their partitions.
func (l *load) topics() map[string]int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]int32{topic: partitions}
	for _, name := range l.autos {
		all[name] = autoPartitions
	}
	return all
}

// await waits until all records are answered.
func (l *load) await() error {
	for deadline := time.Now().Add(answerWithin); l.unanswered.Load() > 0; sleep(l.ctx, 20*time.Millisecond) {
		if time.Now().After(deadline) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return fmt.Errorf("%d records are not answered within %v: %v", l.unanswered.Load(), answerWithin, l.waiting)
		}
	}
	return nil
}

// end stops everything.
func (l *load) end() {
	l.stop()
	l.done.Wait()
}
