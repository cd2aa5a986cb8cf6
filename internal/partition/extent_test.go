package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
)

// readExtent reads what Extent has measured in pieces of at most step bytes, or one batch.
func readExtent(l *Log, from int64, e Extent, step int) ([]byte, error) {
	var all []byte
	for at := from; at < e.End; {
		b, err := l.Read(nil, at, e.End, step, true)
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			return nil, fmt.Errorf("nothing at %d below %d", at, e.End)
		}
		all = append(all, b...)
		for len(b) > 0 {
			h, err := recordbatch.VerifyCRC(b)
			if err != nil || at < h.BaseOffset || at > h.LastOffset() {
				return nil, fmt.Errorf("batch %d to %d at %d: %w", h.BaseOffset, h.LastOffset(), at, err)
			}
			at = h.LastOffset() + 1
			b = b[h.Size():]
		}
	}
	if int64(len(all)) != e.Bytes {
		return nil, fmt.Errorf("measured %d bytes up to %d, read %d", e.Bytes, e.End, len(all))
	}
	return all, nil
}

// On logs of random batches in ring, WAL files, States and segments Extent is exactly what a model says: as many whole batches as fit.
func TestExtentIsExact(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		f := newFixture(t, vfs.NewMem(), nil)
		cfg := DefaultLogConfig()
		cfg.SegmentBytes, cfg.IndexIntervalBytes = 20_000, int64(rng.IntN(6000))+1
		l, err := f.s.Create(testID(1, 0), 0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		var ends, sizes []int64
		for range 1 + rng.IntN(5) {
			for range rng.IntN(60) {
				b := makeBatch(1+rng.IntN(4), rng.IntN(1<<rng.IntN(12)+1), testTime, nil)
				f.append(l, b)
				ends, sizes = append(ends, l.End()), append(sizes, int64(len(b)))
			}
			f.settle(l)
			switch rng.IntN(4) {
			case 0:
				f.materialize(l)
			case 1:
				f.state(l)
			}
		}
		if rng.IntN(3) == 0 {
			f.state(l)
			f.reopen()
			l = f.s.Get(testID(1, 0))
			l.SetHighWatermark(l.End())
		}
		for range 300 {
			from, limit := rng.Int64N(l.End()+1), rng.Int64N(l.End()+2)
			maxBytes, minOne := rng.IntN(1<<(4+rng.IntN(14))), rng.IntN(2) == 0
			e, err := l.Extent(from, limit, maxBytes, minOne)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			want := Extent{End: from}
			for i := range ends {
				if ends[i] <= from {
					continue
				}
				if ends[i] > limit || want.Bytes+sizes[i] > int64(maxBytes) && !(minOne && want.Bytes == 0) {
					break
				}
				want.Bytes, want.End = want.Bytes+sizes[i], ends[i]
			}
			if e != want {
				t.Fatalf("seed %d: %d to %d, %d bytes, %v: %+v, want %+v", seed, from, limit, maxBytes, minOne, e, want)
			}
			if _, err := readExtent(l, from, e, 1+rng.IntN(8000)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

// An extent holds while the log goes on: appends, batches that move from the WAL to segments, slots that are recycled. Only the log start
// may pass it, and then the read says so.
func TestExtentHoldsWhileTheLogMoves(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.MaxOpenSegments = 4; o.RetentionInterval = 20 * time.Millisecond })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	cfg := smallSegments()
	cfg.SegmentBytes, cfg.RetentionBytes = 50_000, 400_000
	var read, gone [3]int
	for p := range 3 {
		l, err := f.s.Create(testID(1, int32(p)), 0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		l.OnDurable(l.SetHighWatermark)
		wg.Go(func() { appender(ctx, t, f.s, l, int64(p)) })
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(p), 3))
			for ctx.Err() == nil {
				hw, start := l.HighWatermark(), l.Start()
				if hw <= start {
					time.Sleep(time.Millisecond)
					continue
				}
				from := start + rng.Int64N(hw-start)
				e, err := l.Extent(from, hw, 1+rng.IntN(100_000), true)
				if err == nil && e.Bytes == 0 {
					err = fmt.Errorf("nothing from %d to %d", from, hw)
				}
				if err == nil {
					time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
					_, err = readExtent(l, from, e, 1+rng.IntN(20_000))
				}
				switch {
				case err == nil:
					read[p]++
				case errors.Is(err, ErrOutOfRange) && l.Start() > from:
					gone[p]++
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for p := range 3 {
		if read[p] < 20 {
			t.Errorf("partition %d: %d extents read, %d gone", p, read[p], gone[p])
		}
	}
}

// With damage in a segment an extent ends before it, or reading it reports it; other bytes never come out.
func TestExtentAndDamage(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	cfg := DefaultLogConfig()
	cfg.IndexIntervalBytes = 1500
	l, err := f.s.Create(testID(1, 0), 0, cfg)
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 40)
	good, err := l.Read(nil, 0, l.End(), 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	s := (*l.segs.Load())[0]
	for at := int64(0); at < s.size.Load(); at += 397 {
		old := make([]byte, 8)
		if _, err := segmentFile(t, f, s).ReadAt(old, at); err != nil {
			break
		}
		damage(t, f.fs, s.path+logSuffix, at, bytes.Repeat([]byte{0xee}, 8))
		e, err := l.Extent(0, l.End(), 1<<20, true)
		if err == nil && e.Bytes > 0 {
			b, err := readExtent(l, 0, e, 3000)
			if err == nil && !bytes.Equal(b, good[:e.Bytes]) {
				t.Fatalf("damage at %d: other bytes", at)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("damage at %d: %+v %v", at, e, err)
		}
		damage(t, f.fs, s.path+logSuffix, at, old)
	}
}

func segmentFile(t *testing.T, f *fixture, s *segment) vfs.File {
	t.Helper()
	h, err := f.s.files.open(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.s.files.release(h) })
	return h.log
}
