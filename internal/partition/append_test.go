package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
)

func TestAppendStampsTheTopicsTime(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	cfg := DefaultLogConfig()
	cfg.LogAppendTime = true
	l, err := f.s.Create(testID(1, 0), 0, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := makeBatch(2, 10, 5, func(b *recordbatch.Builder) { b.SetProducer(1, 0, 0) })
	again := bytes.Clone(b)
	if res := f.append(l, b); res.AppendTimeMs != testTime {
		t.Fatalf("%+v", res)
	}
	if res := f.append(l, again); !res.Duplicate || res.AppendTimeMs != testTime {
		t.Fatalf("%+v", res)
	}
	f.settle(l)
	for _, where := range []string{"WAL", "segment"} {
		got, err := l.Read(nil, 0, 2, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		h, err := recordbatch.VerifyCRC(got)
		if err != nil || !h.LogAppendTime() || h.MaxTimestamp != testTime {
			t.Fatalf("%s: %+v %v", where, h, err)
		}
		if at, err := l.OffsetForTime(testTime); err != nil || at.Offset != 0 || at.TimestampMs != testTime {
			t.Fatal(at, err)
		}
		if at, err := l.OffsetForTime(testTime + 1); err != nil || at.Offset != -1 {
			t.Fatal(at, err)
		}
		f.materialize(l)
	}
	// A topic of create time takes away a flag that a client set, and corrects a max timestamp that no record has.
	cfg.LogAppendTime = false
	l.SetConfig(cfg)
	b = makeBatch(2, 10, 5, nil)
	recordbatch.SetTimestamps(b, true, 99)
	f.append(l, b)
	f.settle(l)
	got, err := l.Read(nil, 2, 4, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := recordbatch.VerifyCRC(got); err != nil || h.LogAppendTime() || h.MaxTimestamp != 6 || h.BaseOffset != 2 {
		t.Fatal(h, err)
	}
}

func TestAppendChecksTheLeaderEpoch(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l := f.create(testID(1, 0))
	if err := l.SetLeaderEpoch(3); err != nil {
		t.Fatal(err)
	}
	if _, err := appendBatch(l, makeBatch(1, 1, testTime, nil), 2); !errors.Is(err, ErrStaleLeaderEpoch) {
		t.Fatal(err)
	}
	b := makeBatch(1, 1, testTime, nil)
	if _, err := appendBatch(l, b, 3); err != nil {
		t.Fatal(err)
	}
	if got := binary.BigEndian.Uint32(b[12:]); got != 3 {
		t.Fatal("leader epoch was not patched: ", got)
	}
	if err := l.SetLeaderEpoch(2); !errors.Is(err, ErrStaleLeaderEpoch) {
		t.Fatal(err)
	}
}

// A truncation that finds the WAL full changes nothing, and what was appended before still becomes durable.
func TestTruncateWithAFullWAL(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l := f.create(testID(1, 0))
	told := make(chan int64, 10_000)
	l.OnDurable(func(end int64) { told <- end })
	for size := 20_000; size > 0; {
		if _, err := appendBatch(l, makeBatch(1, size, testTime, nil), 0); errors.Is(err, ErrWALFull) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for {
		if err := l.Truncate(l.End() - 1); errors.Is(err, ErrWALFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := f.s.syncWAL(); err != nil {
		t.Fatal(err)
	}
	if err := l.Truncate(l.End() - 1); !errors.Is(err, ErrWALFull) {
		t.Fatal(err)
	}
	for end := int64(0); end < l.End(); end = <-told {
	}
	if l.DurableEnd() != l.End() {
		t.Fatal(l.DurableEnd(), l.End())
	}
}

// A follower takes batches as they are.
func TestReplicatedAppendIsVerbatim(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	leader, follower := f.create(testID(1, 0)), f.create(testID(2, 0))
	for epoch := range int32(3) {
		if _, err := appendBatch(leader, makeBatch(2, 10, testTime, func(b *recordbatch.Builder) { b.SetProducer(9, 0, epoch*2) }), epoch); err != nil {
			t.Fatal(err)
		}
	}
	f.settle(leader)
	all, err := readAll(leader)
	if err != nil {
		t.Fatal(err)
	}
	for rest := all; len(rest) > 0; {
		h, err := recordbatch.VerifyCRC(rest)
		if err != nil {
			t.Fatal(err)
		}
		info := recordbatch.Info{Header: h}
		if _, err := follower.Append(bytes.Clone(rest[:h.Size()]), AppendOptions{Info: info, Replicated: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := follower.Append(bytes.Clone(rest[:h.Size()]), AppendOptions{Info: info, Replicated: true}); !errors.Is(err, ErrOutOfRange) {
			t.Fatalf("the same batch twice: %v", err)
		}
		rest = rest[h.Size():]
	}
	f.settle(follower)
	f.mustRead(follower, all)
	if e, end := follower.EpochEnd(1); e != 1 || end != 4 {
		t.Fatal(e, end)
	}
	if p := follower.Producers(); len(p) != 1 || p[0].LastSequence != 5 {
		t.Fatalf("%+v", p)
	}
}

func TestReadLimits(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l := f.create(testID(1, 0))
	var sizes []int
	for range 10 {
		b := makeBatch(2, 100, testTime, nil)
		f.append(l, b)
		sizes = append(sizes, len(b))
	}
	f.settle(l)
	for _, where := range []string{"WAL", "State", "segment"} {
		for _, tt := range []struct {
			name        string
			from, limit int64
			max         int
			minOne      bool
			batches     int
			first       int64
		}{
			{"all", 0, 20, 1 << 20, false, 10, 0},
			{"in the middle of a batch", 5, 20, 1 << 20, false, 8, 4},
			{"limit", 4, 10, 1 << 20, false, 3, 4},
			{"limit inside a batch", 4, 9, 1 << 20, false, 2, 4},
			{"limit below", 4, 2, 1 << 20, true, 0, 0},
			{"bytes", 4, 20, 2*sizes[0] + 10, false, 2, 4},
			{"too few bytes", 4, 20, 10, false, 0, 0},
			{"too few bytes, one all the same", 4, 20, 10, true, 1, 4},
			{"no bytes, one all the same", 19, 20, 0, true, 1, 18},
			{"the end", 20, 25, 1 << 20, true, 0, 0},
		} {
			prefix := []byte("already there, longer than a record prefix")
			got, err := l.Read(bytes.Clone(prefix), tt.from, tt.limit, tt.max, tt.minOne)
			if err != nil || !bytes.HasPrefix(got, prefix) {
				t.Fatalf("%s, %s: %v", where, tt.name, err)
			}
			n := 0
			for b := got[len(prefix):]; len(b) > 0; n++ {
				h, err := recordbatch.VerifyCRC(b)
				if err != nil || h.BaseOffset != tt.first+int64(2*n) {
					t.Fatalf("%s, %s: batch %d at %d: %v", where, tt.name, n, h.BaseOffset, err)
				}
				b = b[h.Size():]
			}
			if n != tt.batches {
				t.Fatalf("%s, %s: %d batches", where, tt.name, n)
			}
		}
		switch where {
		case "WAL":
			f.state(l) // carries them all
			if !l.view[9].carried() {
				t.Fatal("not carried")
			}
		case "State":
			f.materialize(l)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	f := newFixture(t, vfs.OS, func(o *StoreOptions) { o.Dir, o.WAL.MaxBytes = t.TempDir(), 64<<20 })
	l := f.create(testID(1, 0))
	b := makeBatch(1, 100, testTime, nil)
	info, err := recordbatch.Validate(b, recordbatch.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l.view = make([]entry, 0, 4096) // its growth is the only allocation
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := l.Append(b, AppendOptions{Info: info, NowMs: testTime}); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}
