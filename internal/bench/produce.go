package bench

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/metaclient"
)

// retryPause is how long a slot of the closed loop rests after a failure: a dead cluster must not become a hot loop.
const retryPause = 100 * time.Millisecond

// producerClient is one kgo client and all that is outstanding on it. Its fields below "promises" belong to the client's one goroutine
// that finishes records.
type producerClient struct {
	run     *run
	kafka   *kgo.Client
	pending sync.WaitGroup // slots that are still running, or records outstanding
	free    *ring[*slot]   // open loop and async

	// promises
	recorder   *recorder
	lastOffset []int64 // by partition; an acknowledged offset must be above
	errors     errorCounts
	acked      int64
}

// slot is one record that is sent, finished and sent again. Nothing is allocated on the way.
type slot struct {
	client   *producerClient
	record   kgo.Record
	payload  []byte
	producer uint32
	seq      uint64
	intended int64
	sent     int64
	random   uint64
	left     int64 // closed loop: records still to send; below 0 is without end
	ledger   *ledger
	promise  func(*kgo.Record, error)
}

// ledger is what one producer has sent and what was acknowledged. seq is the sender's; acked the finisher's.
type ledger struct {
	sent  uint64 // written by the sender; read after the load has ended
	acked bitset
}

// bitset is a growing set of sequences.
type bitset []uint64

// set adds n; false when it was there.
func (b *bitset) set(n uint64) bool {
	w := n / 64
	for uint64(len(*b)) <= w {
		*b = append(*b, 0)
	}
	bit := uint64(1) << (n % 64)
	if (*b)[w]&bit != 0 {
		return false
	}
	(*b)[w] |= bit
	return true
}

func (b bitset) has(n uint64) bool { return n/64 < uint64(len(b)) && b[n/64]&(1<<(n%64)) != 0 }

// errorCounts counts failures by cause.
type errorCounts map[string]int64

func (c *errorCounts) add(cause string) {
	if *c == nil {
		*c = errorCounts{}
	}
	if len(*c) >= 32 && (*c)[cause] == 0 {
		cause = "other"
	}
	(*c)[cause]++
}

// openProducers opens the clients of a producing load.
func (r *run) openProducers() error {
	opts, err := r.o.producerOptions()
	if err != nil {
		return err
	}
	for range r.o.Clients {
		c := &producerClient{run: r, recorder: newRecorder(&r.window, r.o.model() == modelOpen), lastOffset: make([]int64, r.partitions)}
		for i := range c.lastOffset {
			c.lastOffset[i] = -1
		}
		if c.kafka, err = r.meta.With(append([]kgo.Opt{kgo.DefaultProduceTopic(r.topic)}, opts...)...); err != nil {
			return err
		}
		r.producers = append(r.producers, c)
		r.recorders = append(r.recorders, c.recorder)
	}
	return nil
}

// newSlot makes a record of a producer; the filler differs from slot to slot.
func (c *producerClient) newSlot(producer uint32, l *ledger) *slot {
	s := &slot{client: c, payload: make([]byte, int(c.run.o.size)), producer: producer, ledger: l, left: -1, random: uint64(producer)*0x9E3779B97F4A7C15 + c.run.id | 1}
	fillPayload(s.payload, c.run.o.Payload, s.random)
	s.promise = s.finish
	return s
}

// startClosed starts the closed loop: each client keeps its share of --concurrency records outstanding, and the goroutine that
// finishes a record sends the slot's next one.
func (r *run) startClosed() {
	next := uint32(0)
	quota := share(r.o.Messages, r.o.Concurrency)
	for i, c := range r.producers {
		n := r.o.Concurrency / len(r.producers)
		if i < r.o.Concurrency%len(r.producers) {
			n++
		}
		c.pending.Add(n)
		slots := make([]*slot, n)
		for j := range slots {
			l := &ledger{}
			r.ledgers = append(r.ledgers, l)
			slots[j] = c.newSlot(next, l)
			slots[j].left = quota(int(next))
			next++
		}
		go func() {
			for _, s := range slots {
				s.next()
			}
		}()
	}
}

// share divides a limit among n; without a limit everybody gets -1.
func share(limit int64, n int) func(i int) int64 {
	return func(i int) int64 {
		if limit == 0 {
			return -1
		}
		part := limit / int64(n)
		if int64(i) < limit%int64(n) {
			part++
		}
		return part
	}
}

// next sends the slot's next record, or ends the slot.
func (s *slot) next() {
	now := s.client.run.clock.now()
	if s.left == 0 || now >= s.client.run.window.end.Load() {
		s.client.pending.Done()
		return
	}
	if s.left > 0 {
		s.left--
	}
	s.send(now, now)
}

// send stamps and produces the record.
func (s *slot) send(intended, now int64) {
	run := s.client.run
	s.seq = s.ledger.sent
	s.ledger.sent++
	s.intended, s.sent = intended, now
	stamp(s.payload, run.id, s.producer, s.seq, intended)
	var key []byte
	if run.keys != nil {
		s.random ^= s.random << 13
		s.random ^= s.random >> 7
		s.random ^= s.random << 17
		key = run.keys[s.random%uint64(len(run.keys))]
	}
	s.record = kgo.Record{Key: key, Value: s.payload, Topic: run.topic, Timestamp: run.clock.base.Add(time.Duration(now)), Context: context.Background()}
	s.client.kafka.Produce(context.Background(), &s.record, s.promise)
}

// finish takes the outcome of a record.
func (s *slot) finish(rec *kgo.Record, err error) {
	c := s.client
	end := c.run.clock.now()
	cause := ""
	switch {
	case err != nil:
		cause = metaclient.Cause(err)
	case c.run.o.Acks == "0":
	case rec.Offset < 0:
		cause = "acknowledged without an offset"
	case int(rec.Partition) < len(c.lastOffset):
		if rec.Offset <= c.lastOffset[rec.Partition] {
			cause = "acknowledged offset went back"
		}
		c.lastOffset[rec.Partition] = max(c.lastOffset[rec.Partition], rec.Offset)
	}
	if cause == "" {
		s.ledger.acked.set(s.seq)
		c.acked++
		c.recorder.ok(s.intended, s.sent, end, int64(len(s.payload)))
	} else {
		c.errors.add(cause)
		c.recorder.fail()
	}
	switch {
	case c.free != nil:
		c.free.put(s)
		c.pending.Done()
	case cause != "":
		time.AfterFunc(retryPause, s.next)
	default:
		s.next()
	}
}

// waitProducers waits until nothing is outstanding.
func (r *run) waitProducers() {
	for _, c := range r.producers {
		c.pending.Wait()
	}
}

// closeProducers ends the clients and sums up what failed.
func (r *run) closeProducers() {
	for _, c := range r.producers {
		c.kafka.Close()
		for cause, n := range c.errors {
			if r.errors == nil {
				r.errors = errorCounts{}
			}
			r.errors[cause] += n
		}
		r.acked += c.acked
		c.errors, c.acked = nil, 0
	}
}

// makeKeys prepares the keys, so that none is made on the measuring path.
func makeKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = strconv.AppendInt([]byte("key-"), int64(i), 10)
	}
	return keys
}

// stopFlag is closed once.
type stopFlag struct {
	closed atomic.Bool
	ch     chan struct{}
}

func newStopFlag() *stopFlag { return &stopFlag{ch: make(chan struct{})} }

func (s *stopFlag) stop() {
	if s.closed.CompareAndSwap(false, true) {
		close(s.ch)
	}
}
