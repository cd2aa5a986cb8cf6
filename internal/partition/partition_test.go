package partition

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

const testTime = 1_700_000_000_000

// fixture is a store with small files.
type fixture struct {
	t    testing.TB
	fs   vfs.FS
	opts StoreOptions
	s    *Store
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newFixture(t testing.TB, fs vfs.FS, edit func(*StoreOptions)) *fixture {
	t.Helper()
	o := StoreOptions{FS: fs, Dir: "/data", MinFreeBytes: 1, Logger: quiet(),
		WAL: wal.Options{SlotBytes: 256 << 10, MaxBytes: 2 << 20, ZeroStep: 64 << 10, RingBytes: 256 << 10, SealAfter: -1,
			OnFatal: func(err error) { panic(err) }}}
	if edit != nil {
		edit(&o)
	}
	f := &fixture{t: t, fs: fs, opts: o}
	f.open()
	t.Cleanup(func() {
		if f.s != nil {
			_ = f.s.Close()
		}
	})
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	if err := f.fs.MkdirAll(f.opts.Dir, 0o755); err != nil {
		f.t.Fatal(err)
	}
	s, err := OpenStore(f.opts)
	if err != nil {
		f.t.Fatal(err)
	}
	f.s = s
}

// reopen closes the store and opens it again.
func (f *fixture) reopen() {
	f.t.Helper()
	if err := f.s.Close(); err != nil {
		f.t.Fatal(err)
	}
	f.open()
}

func testID(topic byte, partition int32) ID {
	return ID{Topic: uuid.UUID{1, 2, 3, topic}, Partition: partition}
}

func (f *fixture) create(id ID) *Log {
	f.t.Helper()
	l, err := f.s.Create(id, 1, DefaultLogConfig())
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// makeBatch builds a batch of n records of about size bytes each.
func makeBatch(n, size int, tsMs int64, edit func(*recordbatch.Builder)) []byte {
	b := recordbatch.NewBuilder()
	for i := range n {
		value := make([]byte, size)
		rand.New(rand.NewSource(tsMs + int64(i))).Read(value)
		b.Append(tsMs+int64(i), []byte("k"), value)
	}
	if edit != nil {
		edit(b)
	}
	out, err := b.Build(recordbatch.None)
	if err != nil {
		panic(err)
	}
	return out
}

func (f *fixture) append(l *Log, batch []byte) AppendResult {
	f.t.Helper()
	res, err := appendBatch(l, batch, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return res
}

func appendBatch(l *Log, batch []byte, epoch int32) (AppendResult, error) {
	info, err := recordbatch.Validate(batch, recordbatch.Limits{Deep: true})
	if err != nil {
		return AppendResult{}, err
	}
	return l.Append(batch, AppendOptions{Info: info, LeaderEpoch: epoch, NowMs: testTime})
}

// settle makes everything durable and raises the high watermark to it.
func (f *fixture) settle(logs ...*Log) {
	f.t.Helper()
	if err := f.s.syncWAL(); err != nil {
		f.t.Fatal(err)
	}
	for _, l := range logs {
		deadline := time.Now().Add(5 * time.Second)
		for l.DurableEnd() < l.End() { // the callback may come a little after
			if time.Now().After(deadline) {
				f.t.Fatalf("%s: durable end %d, end %d", l.ID(), l.DurableEnd(), l.End())
			}
			time.Sleep(10 * time.Microsecond)
		}
		l.SetHighWatermark(l.End())
	}
}

func (f *fixture) materialize(l *Log) {
	f.t.Helper()
	f.s.maint.Lock()
	defer f.s.maint.Unlock()
	if err := f.s.materialize(l); err != nil {
		f.t.Fatal(err)
	}
}

// readAll reads the log from start to end and checks that batches follow each other.
func readAll(l *Log) ([]byte, error) {
	var out []byte
	for from := l.Start(); from < l.End(); {
		got, err := l.Read(nil, from, l.End(), 100_000, true)
		if err != nil {
			return nil, err
		}
		if len(got) == 0 {
			return nil, fmt.Errorf("nothing at %d of %d", from, l.End())
		}
		out = append(out, got...)
		first := true
		for len(got) > 0 {
			h, err := recordbatch.VerifyCRC(got)
			if err != nil {
				return nil, err
			}
			if h.BaseOffset != from && !first || h.BaseOffset > from || h.LastOffset() < from {
				return nil, fmt.Errorf("batch %d to %d where %d was expected", h.BaseOffset, h.LastOffset(), from)
			}
			from, first = h.LastOffset()+1, false
			got = got[h.Size():]
		}
	}
	return out, nil
}

func (f *fixture) mustRead(l *Log, want []byte) {
	f.t.Helper()
	got, err := readAll(l)
	if err != nil {
		f.t.Fatalf("%s: %v", l.ID(), err)
	}
	if string(got) != string(want) {
		f.t.Fatalf("%s: read %d bytes, want %d, or they differ", l.ID(), len(got), len(want))
	}
}

func TestAppendReadRecover(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), nil)
	l := f.create(testID(1, 0))
	var want []byte
	for i := range 10 {
		b := makeBatch(3, 100, testTime+int64(i), nil)
		if res := f.append(l, b); res.BaseOffset != int64(i*3) || res.LastOffset != int64(i*3+2) || res.AppendTimeMs != -1 {
			t.Fatalf("%+v", res)
		}
		want = append(want, b...)
	}
	if out, err := l.Read(nil, 0, l.DurableEnd(), 1<<20, true); err != nil || len(out)%(len(want)/10) != 0 {
		t.Fatal(len(out), err)
	}
	f.settle(l)
	f.mustRead(l, want)
	f.reopen()
	l = f.s.Get(testID(1, 0))
	f.mustRead(l, want)
	f.settle(l)
	f.materialize(l)
	if l.segEnd.Load() != 30 || len(l.view) != 0 {
		t.Fatal(l.segEnd.Load(), len(l.view))
	}
	f.mustRead(l, want)
	f.reopen() // no State yet: the segment is cut and all comes from the WAL
	l = f.s.Get(testID(1, 0))
	f.mustRead(l, want)
	f.settle(l)
	f.materialize(l)
	f.state(l)
	f.reopen()
	l = f.s.Get(testID(1, 0))
	if l.segEnd.Load() != 30 || len(l.view) != 0 {
		t.Fatal(l.segEnd.Load(), len(l.view))
	}
	f.mustRead(l, want)
	if _, err := l.Read(nil, 31, 100, 1, true); !errors.Is(err, ErrOutOfRange) {
		t.Fatal(err)
	}
	if out, err := l.Read(nil, 30, 100, 1, true); err != nil || len(out) != 0 {
		t.Fatal(out, err)
	}
}

// state writes a State that refers to nothing before it.
func (f *fixture) state(l *Log) {
	f.t.Helper()
	f.settle()
	f.s.maint.Lock()
	defer f.s.maint.Unlock()
	if done, err := f.s.writeState(l, f.s.wal.DurableSeq()); err != nil || !done {
		f.t.Fatal(done, err)
	}
}
