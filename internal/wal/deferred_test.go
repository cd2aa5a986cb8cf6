package wal

import (
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

func deferRecord(t testing.TB, w *WAL, b []byte) Ref {
	t.Helper()
	ref, err := w.AppendDeferred(testKind, len(b), func(dst []byte) { copy(dst, b) })
	if err != nil {
		t.Fatalf("AppendDeferred of %d bytes: %v", len(b), err)
	}
	return ref
}

// However quick the disk, deferred records share a commit until somebody needs it; then they are as durable as others.
func TestDeferredRecordsArePacked(t *testing.T) {
	o := testOptions(vfs.NewMem())
	w, _ := mustOpen(t, o, nil)
	first := appendRecord(t, w, payload(0, 100), nil, 0)
	mustSync(t, w)
	before := w.Usage()
	var want []stored
	for i := range uint64(100) {
		b := payload(i, 100)
		want = append(want, stored{deferRecord(t, w, b), b})
		if want[i].ref.Seq != want[0].ref.Seq {
			t.Fatalf("record %d is in commit %d, the first one in %d", i, want[i].ref.Seq, want[0].ref.Seq)
		}
		if w.LastSeq() != first.Seq {
			t.Fatal("LastSeq counts what nobody has begun to write")
		}
	}
	if u := w.Usage(); u.Commits != before.Commits {
		t.Fatal("a deferred record began a commit")
	}
	last := appendRecord(t, w, payload(1, 100), nil, 0)
	if last.Seq != want[0].ref.Seq || w.LastSeq() != last.Seq {
		t.Fatal("an append does not take the deferred records along")
	}
	for deadline := time.Now().Add(10 * time.Second); w.DurableSeq() < last.Seq; {
		if time.Now().After(deadline) {
			t.Fatal("the append did not begin the commit")
		}
		time.Sleep(time.Millisecond)
	}
	for _, s := range want {
		if b, err := w.Read(s.ref, nil); err != nil || string(b) != string(s.data) {
			t.Fatal(err)
		}
	}
	ref := deferRecord(t, w, payload(2, 10))
	mustSync(t, w)
	if w.DurableSeq() < ref.Seq {
		t.Fatal("Sync left a deferred record")
	}
	deferRecord(t, w, payload(3, 10))
	mustClose(t, w)
	var got []stored
	w, _ = mustOpen(t, o, collect(&got))
	if len(got) != 104 {
		t.Fatalf("%d records after Close, not 104", len(got))
	}
	mustClose(t, w)
}

// A commit of deferred records that is all that may be pending is started by whoever needs room.
func TestDeferredRecordsMakeRoom(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.MaxPendingBytes = 16 << 10
	w, _ := mustOpen(t, o, nil)
	deferRecord(t, w, payload(0, 10_000))
	appended := make(chan error, 1)
	go func() {
		_, err := w.Append(testKind, 10_000, func([]byte) {}, nil, 0)
		appended <- err
	}()
	select {
	case err := <-appended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("an append waits for deferred records that nobody writes")
	}
	mustClose(t, w)
}

// Deferred records never wait for more than the log's own bounds: what is pending, and the Seal of an idle log.
func TestDeferredRecordsDoNotStay(t *testing.T) {
	o := testOptions(vfs.NewMem())
	o.SealAfter = time.Millisecond
	w, _ := mustOpen(t, o, nil)
	for i := range uint64(300) { // beyond MaxPendingBytes, several slots
		deferRecord(t, w, payload(i, 2000))
	}
	ref := deferRecord(t, w, payload(1, 10))
	for deadline := time.Now().Add(10 * time.Second); w.DurableSeq() < ref.Seq; {
		if time.Now().After(deadline) {
			t.Fatal("an idle log left a deferred record")
		}
		time.Sleep(time.Millisecond)
	}
	mustClose(t, w)
}
