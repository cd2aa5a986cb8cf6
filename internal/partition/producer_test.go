package partition

import (
	"errors"
	"math"
	"testing"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
)

// produced is one produce of a story and what Kafka 4.3.1 answers.
type produced struct {
	pid   int64
	epoch int16
	seq   int32
	n     int
	base  int64 // expected
	dup   bool
	err   error
}

func idempotent(p produced) []byte {
	return makeBatch(p.n, 10, testTime+int64(p.seq), func(b *recordbatch.Builder) { b.SetProducer(p.pid, p.epoch, p.seq) })
}

func TestSequencesAsKafka(t *testing.T) {
	for name, story := range map[string][]produced{
		"in order":               {{seq: 0, n: 2}, {seq: 2, n: 3, base: 2}, {seq: 5, n: 1, base: 5}},
		"duplicate of last":      {{seq: 0, n: 2}, {seq: 0, n: 2, dup: true}, {seq: 2, n: 1, base: 2}},
		"first is not zero":      {{seq: 7, n: 1}, {seq: 8, n: 1, base: 1}},
		"gap":                    {{seq: 0, n: 2}, {seq: 5, n: 1, err: ErrOutOfOrderSequence}, {seq: 2, n: 1, base: 2}},
		"overlap of two":         {{seq: 0, n: 2}, {seq: 2, n: 2, base: 2}, {seq: 1, n: 2, err: ErrOutOfOrderSequence}},
		"same start, other size": {{seq: 0, n: 2}, {seq: 0, n: 1, err: ErrOutOfOrderSequence}},
		"sequence wraps": {{seq: math.MaxInt32 - 1, n: 2}, {seq: 0, n: 1, base: 2}, {seq: 1, n: 1, base: 3},
			{seq: math.MaxInt32 - 1, n: 2, dup: true}},
		"wraps inside a batch":  {{seq: math.MaxInt32, n: 2}, {seq: 1, n: 1, base: 2}, {seq: math.MaxInt32, n: 2, dup: true}},
		"new epoch from 0":      {{seq: 0, n: 2}, {epoch: 1, seq: 2, n: 1, err: ErrOutOfOrderSequence}, {epoch: 1, seq: 0, n: 1, base: 2}},
		"old epoch":             {{epoch: 1, seq: 0, n: 1}, {epoch: 0, seq: 1, n: 1, err: ErrInvalidProducerEpoch}},
		"epoch -1":              {{epoch: -1, seq: 0, n: 1}, {epoch: -1, seq: 9, n: 1, base: 1}, {epoch: 3, seq: 4, n: 1, base: 2}},
		"old epoch's duplicate": {{seq: 0, n: 1}, {epoch: 1, seq: 0, n: 1, base: 1}, {epoch: 1, seq: 0, n: 1, base: 1, dup: true}},
		"two producers":         {{seq: 0, n: 1}, {pid: 1, seq: 0, n: 1, base: 1}, {seq: 1, n: 1, base: 2}, {pid: 1, seq: 1, n: 1, base: 3}},
		"duplicate in the window": {{seq: 0, n: 1}, {seq: 1, n: 1, base: 1}, {seq: 2, n: 1, base: 2}, {seq: 3, n: 1, base: 3}, {seq: 4, n: 1, base: 4},
			{seq: 0, n: 1, dup: true}, {seq: 2, n: 1, base: 2, dup: true}},
		"older than the window": {{seq: 0, n: 1}, {seq: 1, n: 1, base: 1}, {seq: 2, n: 1, base: 2}, {seq: 3, n: 1, base: 3}, {seq: 4, n: 1, base: 4},
			{seq: 5, n: 1, base: 5}, {seq: 0, n: 1, err: ErrOutOfOrderSequence}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, vfs.NewMem(), nil)
			l := f.create(testID(1, 0))
			for i, p := range story {
				if i > 0 {
					f.settle(l) // what is above the high watermark is remembered longer
				}
				end := l.End()
				res, err := appendBatch(l, idempotent(p), 0)
				if !errors.Is(err, p.err) {
					t.Fatalf("step %d: %v, expected %v", i, err, p.err)
				}
				if err != nil || p.dup {
					if l.End() != end {
						t.Fatalf("step %d left something behind", i)
					}
				}
				if err != nil {
					continue
				}
				if res.BaseOffset != p.base || res.LastOffset != p.base+int64(p.n)-1 || res.Duplicate != p.dup {
					t.Fatalf("step %d: %+v", i, res)
				}
				if want := testTime + int64(p.seq) + int64(p.n) - 1; p.dup && res.AppendTimeMs != want {
					t.Fatalf("step %d: append time %d, expected the original's %d", i, res.AppendTimeMs, want)
				}
			}
		})
	}
}

// A follower appends a hundred batches of a producer, one of its acks is lost and the high watermark stays; the new leader's log is
// shorter. What the truncation leaves must be recognised, after a restart too.
func TestProducersSurviveTruncationAndRestart(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l := f.create(testID(1, 0))
	for seq := range int32(10) {
		f.append(l, idempotent(produced{pid: 5, seq: seq, n: 1}))
	}
	f.settle(l)
	for seq := int32(10); seq < 40; seq++ {
		f.append(l, idempotent(produced{pid: 5, seq: seq, n: 1}))
	}
	f.append(l, idempotent(produced{pid: 6, seq: 0, n: 1}))
	if err := f.s.syncWAL(); err != nil {
		t.Fatal(err)
	}
	if err := l.Truncate(9); !errors.Is(err, ErrTruncateBelowHighWatermark) {
		t.Fatal(err)
	}
	if err := l.Truncate(12); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if got := l.Producers(); len(got) != 1 || got[0].ProducerID != 5 || got[0].LastSequence != 11 {
			t.Fatalf("%+v", got)
		}
		for seq := int32(7); seq < 12; seq++ {
			if res := f.append(l, idempotent(produced{pid: 5, seq: seq, n: 1})); !res.Duplicate || res.BaseOffset != int64(seq) {
				t.Fatalf("sequence %d: %+v", seq, res)
			}
		}
		if _, err := appendBatch(l, idempotent(produced{pid: 5, seq: 13, n: 1}), 0); !errors.Is(err, ErrOutOfOrderSequence) {
			t.Fatal(err)
		}
	}
	check()
	f.settle(l)
	f.state(l)
	check()
	f.reopen()
	l = f.s.Get(testID(1, 0))
	check()
	f.settle(l)
	f.append(l, idempotent(produced{pid: 5, seq: 12, n: 1}))
}

func TestProducersExpireAndAreBounded(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.MaxProducers = 3 })
	l := f.create(testID(1, 0))
	for pid := range int64(5) {
		b := idempotent(produced{pid: pid, n: 1})
		info, _ := recordbatch.Validate(b, recordbatch.Limits{})
		if _, err := l.Append(b, AppendOptions{Info: info, NowMs: testTime + pid}); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.Producers(); len(got) != 3 || got[0].ProducerID != 2 {
		t.Fatalf("%+v", got)
	}
	l.mu.Lock()
	l.producers.expire(testTime + 4)
	l.mu.Unlock()
	if got := l.Producers(); len(got) != 1 || got[0].ProducerID != 4 {
		t.Fatalf("%+v", got)
	}
}

func FuzzDecodeState(f *testing.F) {
	tab := &producerTable{m: map[int64]*producer{}}
	h, _ := recordbatch.ParseHeader(idempotent(produced{pid: 1, n: 2}))
	tab.add(&h, 0, testTime, 10)
	st := state{start: 1, end: 9, segEnd: 3, keepFrom: 5, active: activeMark{base: 0, bytes: 77}, epochs: []epochStart{{1, 0}, {3, 4}},
		producers: tab.encode(), carried: makeBatch(1, 5, testTime, nil)}
	f.Add(st.encode(testID(1, 2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, rest, err := parsePrefix(b)
		if err != nil {
			return
		}
		if st, _, err := decodeState(p, rest); err == nil {
			if _, err := decodeProducers(st.producers); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
		}
	})
}
