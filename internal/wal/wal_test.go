package wal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

const testKind = FirstUserKind + 1

// testOptions are small, so that slots, chunks and the ring turn over within a few hundred records.
func testOptions(fsys vfs.FS) Options {
	return Options{
		FS: fsys, Dir: "wal", SlotBytes: 128 << 10, MaxBytes: 1 << 20, ZeroStep: 32 << 10,
		RingBytes: 128 << 10, ChunkBytes: 32 << 10, MaxPendingBytes: 64 << 10, SealAfter: time.Hour,
		Logger:  slog.New(slog.DiscardHandler),
		OnFatal: func(err error) { panic(err) },
	}
}

// payload makes record i recognisable: its number, then bytes that follow from it.
func payload(i uint64, size int) []byte {
	b := make([]byte, max(size, 8))
	binary.LittleEndian.PutUint64(b, i)
	rng := rand.New(rand.NewPCG(i, 1))
	for j := 8; j < len(b); j++ {
		b[j] = byte(rng.UintN(256))
	}
	return b
}

func appendRecord(t testing.TB, w *WAL, b []byte, sub *Sub, mark int64) Ref {
	t.Helper()
	ref, err := w.Append(testKind, len(b), func(dst []byte) { copy(dst, b) }, sub, mark)
	if err != nil {
		t.Fatalf("Append of %d bytes: %v", len(b), err)
	}
	return ref
}

func mustOpen(t testing.TB, o Options, replay func(Record) error) (*WAL, *Recovery) {
	t.Helper()
	if replay == nil {
		replay = func(Record) error { return nil }
	}
	w, rec, err := Open(o, replay)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return w, rec
}

func mustSync(t testing.TB, w *WAL) {
	t.Helper()
	if err := w.Sync(context.Background()); err != nil {
		t.Fatalf("Sync: %v", err)
	}
}

func mustClose(t testing.TB, w *WAL) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

type stored struct {
	ref  Ref
	data []byte
}

// collect returns a replay function that keeps everything.
func collect(into *[]stored) func(Record) error {
	return func(r Record) error {
		if r.Kind != testKind {
			return fmt.Errorf("replayed kind %d", r.Kind)
		}
		*into = append(*into, stored{r.Ref, bytes.Clone(r.Payload)})
		return nil
	}
}

func TestAppendReadReplay(t *testing.T) {
	for _, backing := range []string{"memory", "disk"} {
		t.Run(backing, func(t *testing.T) {
			var fsys vfs.FS = vfs.NewMem()
			o := testOptions(fsys)
			if backing == "disk" {
				o.FS, o.Dir = vfs.OS, t.TempDir()
			}
			w, rec := mustOpen(t, o, nil)
			if !rec.Fresh {
				t.Fatalf("first Open: %+v", rec)
			}
			var want []stored
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range uint64(400) {
				b := payload(i, rng.IntN(3000))
				if i%97 == 0 {
					b = payload(i, 40<<10) // larger than a chunk
				}
				want = append(want, stored{appendRecord(t, w, b, nil, 0), b})
				if i%7 == 0 {
					mustSync(t, w)
				}
				if used := w.Usage().UsedBytes; used > 600<<10 {
					if err := w.Recycle(w.Slots()[0].LastSeq); err != nil {
						t.Fatal(err)
					}
				}
				for _, k := range []int{len(want) - 1, rng.IntN(len(want))} {
					got, err := w.Read(want[k].ref, []byte("x"))
					if want[k].ref.Seq < w.Usage().OldestSeq {
						continue // recycled; the ring may still have it
					}
					if err != nil || !bytes.Equal(got[1:], want[k].data) {
						t.Fatalf("Read of record %d (%+v): %d bytes, %v", k, want[k].ref, len(got), err)
					}
				}
			}
			mustClose(t, w)
			for round := range 2 {
				var got []stored
				w, rec = mustOpen(t, o, collect(&got))
				if !rec.Clean || len(rec.Faults) > 0 || rec.TornSeq != 0 {
					t.Fatalf("Open after Close: %+v", rec)
				}
				compareTail(t, got, want)
				for _, s := range got {
					if b, err := w.Read(s.ref, nil); err != nil || !bytes.Equal(b, s.data) {
						t.Fatalf("round %d: Read %+v from file: %v", round, s.ref, err)
					}
				}
				b := payload(uint64(len(want)), 100)
				want = append(want, stored{appendRecord(t, w, b, nil, 0), b})
				mustClose(t, w)
			}
		})
	}
}

// compareTail checks that got is want without some of its oldest records.
func compareTail(t testing.TB, got, want []stored) {
	t.Helper()
	if len(got) > len(want) || len(got) == 0 {
		t.Fatalf("replayed %d records of %d", len(got), len(want))
	}
	want = want[len(want)-len(got):]
	for i := range got {
		if got[i].ref != want[i].ref || !bytes.Equal(got[i].data, want[i].data) {
			t.Fatalf("replayed record %d is %+v, want %+v", i, got[i].ref, want[i].ref)
		}
	}
}

func TestDurableCallbacks(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.MaxBytes = 64 << 20
	w, _ := mustOpen(t, o, nil)
	const appenders, each = 8, 300
	var wg sync.WaitGroup
	type reached struct {
		mu    sync.Mutex
		marks []int64
	}
	subs := make([]reached, appenders)
	for a := range appenders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			sub := &Sub{Durable: func(mark int64) {
				subs[a].mu.Lock()
				defer subs[a].mu.Unlock()
				subs[a].marks = append(subs[a].marks, mark)
			}}
			for i := range int64(each) {
				appendRecord(t, w, payload(uint64(i), 200), sub, i+1)
			}
		}()
	}
	wg.Wait()
	mustSync(t, w)
	commits := w.Usage().Commits
	mustClose(t, w)
	total := 0
	for a := range subs {
		m := subs[a].marks
		total += len(m)
		if len(m) == 0 || m[len(m)-1] != each {
			t.Errorf("appender %d: last mark %v, want %d", a, m, each)
		}
		for i := 1; i < len(m); i++ {
			if m[i] <= m[i-1] {
				t.Errorf("appender %d: mark %d after %d: not one call per commit", a, m[i], m[i-1])
			}
		}
		if uint64(len(m)) > commits {
			t.Errorf("appender %d was called %d times in %d commits", a, len(m), commits)
		}
	}
	t.Logf("%d records, %d commits, %d calls", appenders*each, commits, total)
}

func TestAppendErrors(t *testing.T) {
	o := testOptions(vfs.NewMem())
	w, _ := mustOpen(t, o, nil)
	nothing := func([]byte) {}
	if _, err := w.Append(FirstUserKind-1, 1, nothing, nil, 0); !errors.Is(err, ErrOptions) {
		t.Errorf("append of an own kind: %v", err)
	}
	if _, err := w.Append(testKind, int(w.MaxRecord())+1, nothing, nil, 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("append of too much: %v", err)
	}
	var refs []Ref
	for {
		ref, err := w.Append(testKind, int(w.MaxRecord()), func(b []byte) { b[0] = byte(len(refs)) }, nil, 0)
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if refs = append(refs, ref); len(refs) > 100 {
			t.Fatal("no end of space")
		}
	}
	if len(refs) != int(o.MaxBytes/o.SlotBytes) {
		t.Errorf("%d records of a slot each fit into %d slots", len(refs), o.MaxBytes/o.SlotBytes)
	}
	mustSync(t, w)
	if err := w.Recycle(refs[1].Seq + 1); err != nil { // + 1: the Roll behind it
		t.Fatal(err)
	}
	refs = append(refs, appendRecord(t, w, []byte{8}, nil, 0))
	for i, ref := range refs {
		b, err := w.Read(ref, nil)
		if i < 2 && (!errors.Is(err, ErrNotFound) || len(b) > 0) {
			t.Errorf("read of recycled record %d: %v", i, err)
		}
		if i >= 2 && (err != nil || b[0] != byte(i)) {
			t.Errorf("read of record %d: %v", i, err)
		}
	}
	if _, err := w.Read(Ref{Seq: 1 << 40, Off: 76, Len: 1}, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("read of a commit to come: %v", err)
	}
	mustClose(t, w)
	if _, err := w.Append(testKind, 1, nothing, nil, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
	if _, err := w.Read(refs[3], nil); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if err := w.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}
