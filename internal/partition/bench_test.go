package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

func openBench(b testing.TB, dir string) *Store {
	b.Helper()
	s, err := OpenStore(StoreOptions{FS: vfs.OS, Dir: dir, Logger: quiet()})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkAppend appends 1 KiB batches to 12 partitions as fast as the WAL takes them, with the maintenance running.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s := openBench(b, b.TempDir())
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() { _ = s.Run(ctx) })
			var logs []*Log
			for i := range 12 {
				l, err := s.Create(testID(1, int32(i)), 0, DefaultLogConfig())
				if err != nil {
					b.Fatal(err)
				}
				l.OnDurable(l.SetHighWatermark)
				logs = append(logs, l)
			}
			batch := makeBatch(1, size-80, testTime, nil)
			info, err := recordbatch.Validate(batch, recordbatch.Limits{Deep: true})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				for s.Admit(len(batch)) != nil {
					time.Sleep(time.Millisecond)
				}
				if _, err := logs[i%12].Append(batch, AppendOptions{Info: info, NowMs: testTime}); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.syncWAL(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			cancel()
			wg.Wait()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkAppendReplicated appends pushes of some 1 KiB batches to 12 partitions as fast as the WAL takes them, with the maintenance running.
func BenchmarkAppendReplicated(b *testing.B) {
	for _, batches := range []int{1, 16} {
		b.Run(fmt.Sprintf("%dx1KiB", batches), func(b *testing.B) {
			s := openBench(b, b.TempDir())
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			wg.Go(func() { _ = s.Run(ctx) })
			var logs []*Log
			for i := range 12 {
				l, err := s.Create(testID(1, int32(i)), 0, DefaultLogConfig())
				if err != nil {
					b.Fatal(err)
				}
				l.OnDurable(l.SetHighWatermark)
				logs = append(logs, l)
			}
			one := makeBatch(1, 1024-80, testTime, nil)
			recordbatch.PatchLeaderEpoch(one, 1)
			push := bytes.Repeat(one, batches)
			b.SetBytes(int64(len(push)))
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				l := logs[i%12]
				for n := range batches {
					recordbatch.PatchBaseOffset(push[n*len(one):], l.End()+int64(n))
				}
				for {
					_, err := l.AppendReplicated(1, push, testTime)
					if err == nil {
						break
					}
					if !errors.Is(err, ErrWALFull) {
						b.Fatal(err)
					}
					time.Sleep(time.Millisecond)
				}
			}
			if err := s.syncWAL(); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			cancel()
			wg.Wait()
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkAppendSync has 128 callers that wait until their batch is durable.
func BenchmarkAppendSync(b *testing.B) {
	s := openBench(b, b.TempDir())
	var logs []*Log
	type waiter struct {
		mu   sync.Mutex
		cond *sync.Cond
	}
	waiters := make([]waiter, 12)
	for i := range 12 {
		l, err := s.Create(testID(1, int32(i)), 0, DefaultLogConfig())
		if err != nil {
			b.Fatal(err)
		}
		w := &waiters[i]
		w.cond = sync.NewCond(&w.mu)
		l.OnDurable(func(end int64) {
			l.SetHighWatermark(end)
			w.mu.Lock()
			w.cond.Broadcast()
			w.mu.Unlock()
		})
		logs = append(logs, l)
	}
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range 128 {
		wg.Go(func() {
			batch := makeBatch(1, 1024, testTime, nil)
			info, _ := recordbatch.Validate(batch, recordbatch.Limits{Deep: true})
			l, w := logs[c%12], &waiters[c%12]
			for n.Add(1) <= int64(b.N) {
				res, err := l.Append(batch, AppendOptions{Info: info, NowMs: testTime})
				if err != nil {
					b.Error(err)
					return
				}
				w.mu.Lock()
				for l.HighWatermark() <= res.LastOffset {
					w.cond.Wait()
				}
				w.mu.Unlock()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRead reads a log of 1 KiB batches in fetches of 1 MiB, from the WAL's ring and from a segment.
func BenchmarkRead(b *testing.B) {
	s := openBench(b, b.TempDir())
	defer func() { _ = s.Close() }()
	l, err := s.Create(testID(1, 0), 0, DefaultLogConfig())
	if err != nil {
		b.Fatal(err)
	}
	batch := makeBatch(1, 1024-80, testTime, nil)
	info, _ := recordbatch.Validate(batch, recordbatch.Limits{Deep: true})
	for range 32 << 10 {
		if _, err := l.Append(batch, AppendOptions{Info: info, NowMs: testTime}); err != nil {
			b.Fatal(err)
		}
	}
	for _, where := range []string{"ring", "segment"} {
		if where == "segment" {
			if err := s.syncWAL(); err != nil {
				b.Fatal(err)
			}
			for l.DurableEnd() < l.End() {
				time.Sleep(time.Millisecond)
			}
			l.SetHighWatermark(l.End())
			s.maint.Lock()
			err := s.materialize(l)
			s.maint.Unlock()
			if err != nil {
				b.Fatal(err)
			}
		}
		b.Run(where, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 1<<20)
			from := int64(0)
			for b.Loop() {
				out, err := l.Read(buf, from, l.End(), 1<<20, true)
				if err != nil {
					b.Fatal(err)
				}
				from += int64(len(out) / len(batch))
				if from >= l.End() {
					from = 0
				}
				b.SetBytes(int64(len(out)))
			}
		})
	}
}

// BenchmarkOpen opens a store with 10,000 partitions, all but 12 idle, and 256 MiB in the WAL.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openBench(b, dir)
	for i := range 10_000 {
		if _, err := s.Create(testID(byte(i%100), int32(i/100)), 0, DefaultLogConfig()); err != nil {
			b.Fatal(err)
		}
	}
	batch := makeBatch(1, 1024-80, testTime, nil)
	info, _ := recordbatch.Validate(batch, recordbatch.Limits{Deep: true})
	for i := range 256 << 10 {
		if _, err := s.Get(testID(byte(i%12), 0)).Append(batch, AppendOptions{Info: info, NowMs: testTime}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		s := openBench(b, dir)
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkOpenLarge opens a store with CHRONIK_BIG_GIB GiB of topics on disk, in 100 partitions. It is skipped without that.
func BenchmarkOpenLarge(b *testing.B) {
	gib, _ := strconv.Atoi(os.Getenv("CHRONIK_BIG_GIB"))
	if gib == 0 {
		b.Skip("CHRONIK_BIG_GIB is not set")
	}
	dir := b.TempDir()
	s := openBench(b, dir)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	var logs []*Log
	for i := range int32(100) {
		l, err := s.Create(testID(1, i), 0, DefaultLogConfig())
		if err != nil {
			b.Fatal(err)
		}
		l.OnDurable(l.SetHighWatermark)
		logs = append(logs, l)
	}
	batch := makeBatch(16, 1024, testTime, nil)
	info, _ := recordbatch.Validate(batch, recordbatch.Limits{})
	for i := range gib << 30 / len(batch) {
		for s.Admit(len(batch)) != nil {
			time.Sleep(time.Millisecond)
		}
		if _, err := logs[i%100].Append(batch, AppendOptions{Info: info, NowMs: testTime}); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := openBench(b, dir)
		if _, err := s.Get(testID(1, 7)).Read(nil, 0, 100, 1<<20, true); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// A slot named by thousands of idle partitions is recycled with one small State each.
func TestIdlePartitionsDoNotThrashRecycling(t *testing.T) {
	const partitions = 2000
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) {
		o.WAL = wal.Options{SlotBytes: 1 << 20, MaxBytes: 8 << 20, ZeroStep: 256 << 10, RingBytes: 1 << 20, SealAfter: -1,
			OnFatal: func(err error) { panic(err) }}
	})
	for i := range partitions {
		f.create(testID(byte(i%100), int32(i/100)))
	}
	busy := f.s.Get(testID(0, 0))
	before := f.s.wal.Usage().Records
	written := 0
	for range 3 { // three times around the WAL
		for n := 0; n < 8<<20; {
			b := makeBatch(1, 60<<10, testTime, nil)
			f.append(busy, b)
			n += len(b)
			written++
			f.settle(busy)
			if err := f.s.maintain(false); err != nil {
				t.Fatal(err)
			}
		}
	}
	states := int(f.s.wal.Usage().Records-before) - written
	if states > 12*partitions {
		t.Fatalf("%d States for %d idle partitions", states, partitions)
	}
	t.Logf("%d States for %d idle partitions", states, partitions)
	f.reopen()
	if n := len(f.s.All()); n != partitions {
		t.Fatal(n)
	}
}
