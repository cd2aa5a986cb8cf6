package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
)

// The disk fills while segments are written: appends are refused with a clear error, reads and deletes go on, nothing is lost, and all
// goes on by itself when there is space.
func TestFullDisk(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	var free atomic.Uint64
	free.Store(1 << 30)
	faulty.Free = func(string) (uint64, uint64, error) { return free.Load(), 1 << 40, nil }
	f := newFixture(t, faulty, func(o *StoreOptions) { o.MinFreeBytes = 1 << 20 })
	l := f.create(testID(1, 0))
	var want []byte
	add := func(n int) {
		for range n {
			b := makeBatch(1, 10_000, testTime, nil)
			f.append(l, b)
			want = append(want, b...)
		}
		f.settle(l)
	}
	add(30)
	f.materialize(l)
	add(30)
	rule := faulty.Inject(vfs.Rule{Ops: vfs.OpWrite, Pattern: "*.log", Skip: 0, Err: syscall.ENOSPC, Partial: 777})
	free.Store(1000)
	err := f.s.materializeOne(l)
	if !isNoSpace(err) || rule.Hits() == 0 {
		t.Fatal(err)
	}
	f.s.failed(err) // not fatal
	if err := f.s.Admit(1); !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	f.mustRead(l, want)
	if err := l.AdvanceStart(1); err != nil {
		t.Fatal(err)
	}
	want = want[len(want)/60:]
	f.mustRead(l, want)
	if err := f.s.materializeOne(l); !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	f.s.checkSpace()
	if err := f.s.Admit(1); !errors.Is(err, ErrNoSpace) || !f.s.NoSpace() {
		t.Fatal(err)
	}
	rule.Remove()
	free.Store(1 << 30)
	f.s.checkSpace()
	if err := f.s.Admit(1); err != nil || f.s.NoSpace() {
		t.Fatal(err)
	}
	add(1)
	if err := f.s.materializeOne(l); err != nil {
		t.Fatal(err)
	}
	if l.segEnd.Load() != l.End() {
		t.Fatal(l.segEnd.Load(), l.End())
	}
	f.mustRead(l, want)
	f.state(l)
	f.reopen()
	f.mustRead(f.s.Get(testID(1, 0)), want)
}

// Every write and sync of a segment fails once with ENOSPC, at each place in turn; the next try must succeed and be right.
func TestFullDiskAnywhere(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpOpen, vfs.OpMkdir} {
		for skip := range 12 {
			faulty := vfs.NewFaulty(vfs.NewMem())
			f := newFixture(t, faulty, nil)
			l, err := f.s.Create(testID(1, 0), 0, smallSegments())
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			for i := range 40 {
				b := makeBatch(1, 800, testTime+int64(i), nil)
				f.append(l, b)
				want = append(want, b...)
				if i == 9 {
					f.settle(l)
					f.materialize(l)
				}
			}
			f.settle(l)
			pattern := "0000000000*" // files of segments, not those of the WAL, which are filled in the background
			if op == vfs.OpSyncDir || op == vfs.OpMkdir {
				pattern = "0*"
			}
			rule := faulty.Inject(vfs.Rule{Ops: op, Pattern: pattern, Skip: skip, Times: 1, Err: syscall.ENOSPC, Partial: 100})
			err = f.s.materializeOne(l)
			rule.Remove()
			if (err != nil) != (rule.Hits() > 0) || err != nil && !isNoSpace(err) {
				t.Fatalf("op %b, call %d: %v after %d faults", op, skip, err, rule.Hits())
			}
			f.mustRead(l, want)
			if err := f.s.materializeOne(l); err != nil {
				t.Fatalf("op %b, call %d, second try: %v", op, skip, err)
			}
			f.mustRead(l, want)
			if got, err := l.OffsetForTime(testTime + 33); err != nil || got.Offset != 33 {
				t.Fatal(got, err)
			}
			f.state(l)
			f.reopen()
			l = f.s.Get(testID(1, 0))
			f.mustRead(l, want)
			if got, err := l.OffsetForTime(testTime + 33); err != nil || got.Offset != 33 {
				t.Fatal(got, err)
			}
			if err := f.s.Close(); err != nil {
				t.Fatal(err)
			}
			f.s = nil
		}
	}
}

// An I/O error while a segment is synced leaves the disk in an unknown state: the node must stop.
func TestSyncErrorIsFatal(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	var fatal error
	f := newFixture(t, faulty, func(o *StoreOptions) { o.WAL.OnFatal = func(err error) { fatal = err } })
	l := f.create(testID(1, 0))
	f.append(l, makeBatch(1, 100, testTime, nil))
	f.settle(l)
	faulty.Inject(vfs.Rule{Ops: vfs.OpSync, Pattern: "*.log", Err: syscall.EIO})
	f.s.failed(f.s.materializeOne(l))
	if !errors.Is(fatal, syscall.EIO) {
		t.Fatal(fatal)
	}
}

// damage changes bytes of a file.
func damage(t testing.TB, fsys vfs.FS, name string, at int64, b []byte) {
	t.Helper()
	file, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCorruptSegmentIsReportedNeverCut(t *testing.T) {
	t.Run("magic", func(t *testing.T) { corruptSegment(t, 16, []byte{9}) })
	t.Run("record bytes", func(t *testing.T) { corruptSegment(t, recordbatch.HeaderSize+5, []byte{0xA5, 0x5A}) })
}

// corruptSegment damages the batch of offset 4, position bytes behind its beginning: it is never served, and never cut.
func corruptSegment(t *testing.T, position int64, bytes []byte) {
	mem := vfs.NewMem()
	f := newFixture(t, mem, nil)
	l, err := f.s.Create(testID(1, 0), 0, smallSegments())
	if err != nil {
		t.Fatal(err)
	}
	segmented(f, l, 8)
	f.state(l)
	size := int64(0)
	for _, s := range *l.segs.Load() {
		size += s.size.Load()
	}
	path := (*l.segs.Load())[1].path + logSuffix
	damage(t, mem, path, position, bytes)
	for range 2 {
		if _, err := l.Read(nil, 4, 8, 1<<20, true); !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if b, err := l.Read(nil, 0, 8, 1<<20, true); err != nil || len(b) == 0 {
			t.Fatal(err)
		}
		f.reopen()
		l = f.s.Get(testID(1, 0))
	}
	infos, err := l.SegmentInfos()
	if err != nil || len(infos) != 2 || infos[0].Bytes+infos[1].Bytes != size || l.End() != 8 {
		t.Fatal(infos, err)
	}
	if res := f.append(l, makeBatch(1, 10, testTime, nil)); res.BaseOffset != 8 {
		t.Fatal("appends go on: ", res)
	}
}

func TestMissingSegmentIsCorrupt(t *testing.T) {
	for _, which := range []int{0, 1, 2} {
		mem := vfs.NewMem()
		f := newFixture(t, mem, nil)
		l, err := f.s.Create(testID(1, 0), 0, smallSegments())
		if err != nil {
			t.Fatal(err)
		}
		segmented(f, l, 12)
		f.state(l)
		at := int64(which * 4)
		path := (*l.segs.Load())[which].path + logSuffix
		if err := f.s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := mem.Remove(path); err != nil {
			t.Fatal(err)
		}
		f.open()
		l = f.s.Get(testID(1, 0))
		if _, err := l.Read(nil, at, 12, 1<<20, true); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("segment %d: %v", which, err)
		}
	}
}

// A partition whose open segment is lost refuses appends and keeps its tail in the WAL; the other partitions go on around it.
func TestDamagedPartitionDoesNotStopTheNode(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem, nil)
	l, other := f.create(testID(1, 0)), f.create(testID(2, 0))
	segmented(f, l, 12)
	f.state(l)
	path := (*l.segs.Load())[0].path + logSuffix
	var tail []byte
	for range 10 {
		b := makeBatch(1, 10_000, testTime, nil)
		f.append(l, b)
		tail = append(tail, b...)
	}
	if err := f.s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mem.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.open()
	l, other = f.s.Get(l.ID()), f.s.Get(other.ID())
	f.settle(l, other)
	check := func() {
		t.Helper()
		if got, err := l.Read(nil, 12, l.End(), 1<<20, true); err != nil || !bytes.Equal(got, tail) {
			t.Fatal(len(got), err)
		}
		if l.Size(3, l.End()) == 0 {
			t.Error("nothing to be read: a fetch would wait instead of getting the error")
		}
		if _, err := l.Read(nil, 3, l.End(), 1<<20, true); !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	}
	for range 400 { // twice around the WAL
		f.append(other, makeBatch(1, 10_000, testTime, nil))
		f.settle(other)
		if err := f.s.maintain(false); err != nil && !isDamage(err) {
			t.Fatal(err)
		}
	}
	check()
	if _, err := appendBatch(l, makeBatch(1, 10, testTime, nil), 0); !errors.Is(err, ErrCorrupt) || l.Fault() == nil {
		t.Fatal(err)
	}
	f.reopen()
	l = f.s.Get(l.ID())
	check()
}

// Many small batches in many partitions: the index over the WAL stays in its bound.
func TestIndexIsBounded(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.MaxIndexBytes = 20_000 })
	var logs []*Log
	for p := range int32(20) {
		logs = append(logs, f.create(testID(1, p)))
	}
	for i := range 2000 {
		f.append(logs[i%20], makeBatch(1, 10, testTime, nil))
		if i%100 == 99 {
			f.settle(logs...)
			if err := f.s.maintain(false); err != nil {
				t.Fatal(err)
			}
			if n := f.s.viewEntries.Load() * entryBytes; n > 20_000 {
				t.Fatalf("%d bytes of index", n)
			}
		}
	}
	for _, l := range logs {
		if b, err := readAll(l); err != nil || len(b) == 0 {
			t.Fatal(err)
		}
	}
}

// An idle partition costs little memory: ten thousand of them a few MiB.
func TestIdlePartitionIsSmall(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) { o.WAL.MaxBytes = 64 << 20 })
	const n = 10_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range int32(n) {
		f.create(testID(1, i))
	}
	f.settle()
	logs := f.s.All()
	used := f.s.wal.Usage().DiskBytes
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc) - used) / n
	t.Logf("%d bytes for each of %d partitions", each, len(logs))
	if each > 1500 {
		t.Fatalf("%d bytes each", each)
	}
}

// The indexes of the open segment are not synced: after a crash anything may be in them.
func TestDamagedIndexIsRebuilt(t *testing.T) {
	for name, hurt := range map[string]func(f *fixture, path string){
		"gone":    func(f *fixture, p string) { _ = f.fs.Remove(p + indexSuffix); _ = f.fs.Remove(p + timeSuffix) },
		"zeros":   func(f *fixture, p string) { damage(f.t, f.fs, p+indexSuffix, 8, make([]byte, 64)) },
		"time":    func(f *fixture, p string) { damage(f.t, f.fs, p+timeSuffix, 12, make([]byte, 64)) },
		"garbage": func(f *fixture, p string) { damage(f.t, f.fs, p+indexSuffix, 8, bytes.Repeat([]byte{7, 77}, 100)) },
		"shifted": func(f *fixture, p string) { damage(f.t, f.fs, p+indexSuffix, 24, []byte{0, 0, 0, 30, 0, 0, 11, 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, vfs.NewMem(), nil)
			cfg := DefaultLogConfig()
			cfg.IndexIntervalBytes = 1500
			l, err := f.s.Create(testID(1, 0), 0, cfg)
			if err != nil {
				t.Fatal(err)
			}
			segmented(f, l, 40)
			f.state(l)
			path := (*l.segs.Load())[0].path
			if err := f.s.Close(); err != nil {
				t.Fatal(err)
			}
			hurt(f, path)
			f.open()
			l = f.s.Get(testID(1, 0))
			for i := int64(39); i >= 0; i-- {
				b, err := l.Read(nil, i, 40, 1, true)
				if err != nil {
					t.Fatal(err)
				}
				if h, err := recordbatch.VerifyCRC(b); err != nil || h.BaseOffset != i {
					t.Fatal(h, err)
				}
				if got, err := l.OffsetForTime(testTime + i*1000); err != nil || got.Offset != i {
					t.Fatalf("time of %d: %+v %v", i, got, err)
				}
			}
		})
	}
}

// Everything at once on a small store: appends, reads, deletes of records, drops, and the maintenance with its recycling.
func TestConcurrentUse(t *testing.T) {
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
	for p := range int32(6) {
		id := testID(1, p)
		l, err := f.s.Create(id, 0, cfg)
		if err != nil {
			t.Fatal(err)
		}
		l.OnDurable(l.SetHighWatermark)
		wg.Go(func() { appender(ctx, t, f.s, l, int64(p)) })
		wg.Go(func() { reader(ctx, t, l) })
	}
	wg.Go(func() {
		for n := int32(0); ctx.Err() == nil; n++ {
			id := testID(2, 0)
			l, err := f.s.Create(id, n, cfg)
			if err != nil {
				if errors.Is(err, ErrWALFull) {
					time.Sleep(time.Millisecond)
					continue
				}
				t.Error(err)
				return
			}
			l.OnDurable(l.SetHighWatermark)
			for range 20 {
				_, _ = appendBatch(l, makeBatch(1, 3000, testTime, nil), 0)
			}
			for ctx.Err() == nil && f.s.Drop(id) != nil { // a full WAL has room again only while the maintenance runs
				time.Sleep(time.Millisecond)
			}
		}
	})
	wg.Wait()
	for p := range int32(6) {
		l := f.s.Get(testID(1, p))
		if _, err := readAll(l); err != nil {
			t.Error(err)
		}
		if l.End() == 0 {
			t.Error("nothing was appended")
		}
	}
}

func appender(ctx context.Context, t *testing.T, s *Store, l *Log, pid int64) {
	for seq := int32(0); ctx.Err() == nil; {
		if s.Admit(1000) != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		b := makeBatch(1, 1000, testTime+int64(seq), func(b *recordbatch.Builder) { b.SetProducer(pid, 0, seq) })
		res, err := appendBatch(l, b, 0)
		if errors.Is(err, ErrWALFull) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil || res.Duplicate || res.BaseOffset != int64(seq) {
			t.Errorf("append %d: %+v %v", seq, res, err)
			return
		}
		seq++
		if seq%64 == 0 {
			if err := l.AdvanceStart(min(l.HighWatermark(), l.Start()+10)); err != nil && !errors.Is(err, ErrWALFull) {
				t.Error(err)
				return
			}
		}
	}
}

func reader(ctx context.Context, t *testing.T, l *Log) {
	rng := rand.New(rand.NewPCG(1, 2))
	for ctx.Err() == nil {
		hw := l.HighWatermark()
		start := l.Start()
		if hw <= start {
			time.Sleep(time.Millisecond)
			continue
		}
		from := start + rng.Int64N(hw-start)
		b, err := l.Read(nil, from, hw, 10_000, true)
		if errors.Is(err, ErrOutOfRange) && l.Start() > from {
			continue
		}
		if err != nil || len(b) == 0 {
			t.Errorf("read at %d of %d to %d: %d bytes, %v", from, start, hw, len(b), err)
			return
		}
		for next := from; len(b) > 0; next++ {
			h, err := recordbatch.VerifyCRC(b)
			if err != nil || h.BaseOffset != next {
				t.Errorf("read at %d: %v", next, fmt.Sprint(h, err))
				return
			}
			b = b[h.Size():]
		}
		got, err := l.OffsetForTime(testTime + from)
		if err != nil || got.Offset != from && l.Start() <= from {
			t.Errorf("time of %d: %+v %v", from, got, err)
			return
		}
	}
}
