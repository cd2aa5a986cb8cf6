package wal

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// fillUp appends until the log refuses, and returns what it took.
func fillUp(t *testing.T, w *WAL, want error) (taken []stored) {
	t.Helper()
	for i := range uint64(5000) {
		b := payload(i, 1500)
		ref, err := w.Append(testKind, len(b), func(dst []byte) { copy(dst, b) }, nil, 0)
		if err != nil {
			if !errors.Is(err, want) {
				t.Fatalf("Append: %v, want %v", err, want)
			}
			return taken
		}
		taken = append(taken, stored{ref, b})
	}
	t.Fatal("the log never refused")
	return nil
}

func TestDiskFull(t *testing.T) {
	for reserve := range 2 {
		mem := vfs.NewMem()
		o := testOptions(mem)
		o.Reserve = reserve
		o.MaxPendingBytes = 16 << 10
		w, _ := mustOpen(t, o, nil)
		if reserve > 0 {
			waitFor(t, "the reserve", func() bool { return w.Usage().Ready == reserve })
			if used := mem.Used(); used != 2*o.SlotBytes {
				t.Errorf("%d bytes with one slot active and one in reserve", used)
			}
		}
		mem.SetCapacity(o.SlotBytes*int64(1+reserve) + 32<<10)
		taken := fillUp(t, w, ErrNoSpace)
		if n := len(w.Slots()); n < 1+reserve {
			t.Errorf("reserve %d: refused with %d slots in use", reserve, n)
		}
		mustSync(t, w)
		for _, s := range taken {
			if b, err := w.Read(s.ref, nil); err != nil || !bytes.Equal(b, s.data) {
				t.Fatalf("read on a full disk: %v", err)
			}
		}
		if u := w.Usage(); !u.NoSpace {
			t.Errorf("usage of a full disk: %+v", u)
		}
		if _, err := w.Append(testKind, 1500, func([]byte) {}, nil, 0); !errors.Is(err, ErrNoSpace) {
			t.Errorf("append on a full disk: %v", err)
		}
		// A stop and start on the full disk must work too.
		mustClose(t, w)
		var got []stored
		w, _ = mustOpen(t, o, collect(&got))
		if msg := sameRecords(got, taken); msg != "" {
			t.Fatalf("start on a full disk: %s", msg)
		}
		mem.SetCapacity(1 << 40)
		waitFor(t, "space", func() bool {
			b := payload(uint64(len(taken)), 1500)
			ref, err := w.Append(testKind, len(b), func(dst []byte) { copy(dst, b) }, nil, 0)
			if err != nil {
				return false
			}
			taken = append(taken, stored{ref, b})
			return true
		})
		for range 60 {
			b := payload(uint64(len(taken)), 1500)
			taken = append(taken, stored{appendRecord(t, w, b, nil, 0), b})
		}
		mustClose(t, w)
		got = nil
		w, _ = mustOpen(t, o, collect(&got))
		if msg := sameRecords(got, taken); msg != "" {
			t.Fatalf("after the disk was full: %s", msg)
		}
		mustClose(t, w)
	}
}

// TestDiskFullRecycle: a full disk stops growth only; slots that are given back are used again.
func TestDiskFullRecycle(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	o.MaxBytes = 4 << 20 // enough even if each record is a commit
	w, _ := mustOpen(t, o, nil)
	for range 300 {
		appendRecord(t, w, payload(1, 1500), nil, 0)
	}
	mustSync(t, w)
	mem.SetCapacity(mem.Used())
	fillUp(t, w, ErrNoSpace)
	for range 10 {
		mustSync(t, w)
		if err := w.Recycle(w.DurableSeq()); err != nil {
			t.Fatal(err)
		}
		if n := len(fillUp(t, w, ErrNoSpace)); n < 20 {
			t.Fatalf("only %d records fit after Recycle", n)
		}
	}
	mustClose(t, w)
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("no %s within 10 s", what)
}

// TestIOError: whatever write or sync fails, OnFatal is called once, nothing is reported durable from then on, and
// what was reported before is there at the next start.
func TestIOError(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync} {
		for skip := range 30 {
			mem := vfs.NewMem()
			faulty := vfs.NewFaulty(mem)
			o := crashOptions(uint64(skip))
			var fatal, durable atomic.Int64
			o.FS, o.OnFatal = faulty, func(err error) {
				fatal.Add(1)
				if !errors.Is(err, syscall.EIO) {
					t.Errorf("OnFatal(%v)", err)
				}
			}
			w, _ := mustOpen(t, o, nil)
			rule := faulty.Inject(vfs.Rule{Ops: op, Skip: skip * 3, Times: 1, Partial: 700, Err: syscall.EIO})
			var taken []stored
			sub := &Sub{Durable: func(mark int64) { durable.Store(mark) }}
			var err error
			for i := 0; err == nil; i++ {
				b := payload(uint64(i), 900)
				var ref Ref
				if ref, err = w.Append(testKind, len(b), func(dst []byte) { copy(dst, b) }, sub, int64(i+1)); err == nil {
					taken = append(taken, stored{ref, b})
					if i%5 == 0 {
						err = w.Sync(context.Background())
					}
				}
				if s := w.Slots(); len(s) > 3 {
					_ = w.Recycle(0) // nothing: all must be found again
				}
				if errors.Is(err, ErrFull) {
					t.Fatalf("op %d after %d: the fault was never met", op, skip)
				}
			}
			if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) {
				t.Fatalf("op %d after %d: %v, want ErrFailed for EIO", op, skip, err)
			}
			if _, err := w.Append(testKind, 1, func([]byte) {}, nil, 0); !errors.Is(err, ErrFailed) {
				t.Errorf("append after the failure: %v", err)
			}
			if err := w.Close(); !errors.Is(err, ErrFailed) {
				t.Errorf("Close after the failure: %v", err)
			}
			if fatal.Load() != 1 || rule.Hits() != 1 {
				t.Errorf("OnFatal called %d times, fault met %d times", fatal.Load(), rule.Hits())
			}
			reported := durable.Load()
			var got []stored
			o.FS = mem.CrashWith(func(int) int { return 0 })
			w, _ = mustOpen(t, o, collect(&got))
			mustClose(t, w)
			if int64(len(got)) < reported || len(got) > len(taken) {
				t.Fatalf("op %d after %d: %d records found, %d reported, %d taken", op, skip, len(got), reported, len(taken))
			}
			if msg := sameRecords(got, taken[:len(got)]); msg != "" {
				t.Fatal(msg)
			}
		}
	}
}

// TestBackpressure: with a slow disk no more than MaxPendingBytes are taken, and a record larger than that alone.
func TestBackpressure(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	o := testOptions(faulty)
	o.MaxPendingBytes = 10 << 10
	w, _ := mustOpen(t, o, nil)
	faulty.Inject(vfs.Rule{Ops: vfs.OpSync, Delay: 2 * time.Millisecond})
	for i := range 60 {
		size := 1 << 10
		if i%20 == 10 {
			size = 50 << 10
		}
		appendRecord(t, w, payload(uint64(i), size), nil, 0)
		if u := w.Usage(); u.Pending > max(o.MaxPendingBytes, int64(size)+frameHeaderSize) {
			t.Fatalf("%d bytes pending", u.Pending)
		}
		if u := w.Usage(); u.RingBytes > o.RingBytes {
			t.Fatalf("ring of %d bytes", u.RingBytes)
		}
	}
	mustClose(t, w)
}

// TestSyncContext: a wait ends with its context, and Close wakes those who wait for room.
func TestSyncContext(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewMem())
	o := testOptions(faulty)
	o.MaxPendingBytes = 4 << 10
	w, _ := mustOpen(t, o, nil)
	mustSync(t, w)
	rule := faulty.Inject(vfs.Rule{Ops: vfs.OpSync, Delay: 300 * time.Millisecond})
	appendRecord(t, w, payload(1, 4000), nil, 0)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := w.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Sync: %v", err)
	}
	blocked := make(chan error)
	go func() {
		_, err := w.Append(testKind, 4000, func([]byte) {}, nil, 0)
		blocked <- err
	}()
	waitFor(t, "blocked append", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.waiters > 0
	})
	rule.Remove()
	mustClose(t, w)
	if err := <-blocked; err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("append during Close: %v", err)
	}
}

// TestSeal: an idle log writes one Seal, and not one more.
func TestSeal(t *testing.T) {
	mem := vfs.NewMem()
	o := testOptions(mem)
	o.SealAfter = 5 * time.Millisecond
	w, _ := mustOpen(t, o, nil)
	for round := range uint64(3) {
		appendRecord(t, w, payload(round, 10), nil, 0)
		waitFor(t, "Seal", func() bool { return w.Usage().Commits == 2*round+2 })
		time.Sleep(30 * time.Millisecond)
		if n := w.Usage().Commits; n != 2*round+2 {
			t.Fatalf("%d commits after %d records", n, round+1)
		}
	}
	o.FS = mem.CrashWith(func(int) int { return 0 })
	w2, rec := mustOpen(t, o, nil)
	if rec.Clean || rec.LastSeq != 6 {
		t.Errorf("recovery without Close: %+v", rec)
	}
	time.Sleep(30 * time.Millisecond)
	if n := w2.Usage().Commits; n != 0 {
		t.Errorf("%d commits after a start on a sealed log", n)
	}
	mustClose(t, w2)
	mustClose(t, w)
}

// TestMark: the header of each commit carries what Options.Mark returns, and a start finds the last.
func TestMark(t *testing.T) {
	o := testOptions(vfs.NewMem())
	var mark atomic.Uint64
	o.Mark = mark.Load
	w, _ := mustOpen(t, o, nil)
	for i := range uint64(5) {
		mark.Store(i * 11)
		appendRecord(t, w, payload(i, 10), nil, 0)
		mustSync(t, w)
	}
	mustClose(t, w)
	w, rec := mustOpen(t, o, nil)
	if rec.LastMark != 44 {
		t.Errorf("last mark %d, want 44", rec.LastMark)
	}
	mustClose(t, w)
}
