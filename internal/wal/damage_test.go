package wal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/chronik-io/chronik/internal/vfs"
)

// damagedLog is a log of several slots on a disk where everything is durable.
type damagedLog struct {
	o       Options
	mem     *vfs.Mem
	records []stored
	slots   []SlotInfo
	sealed  bool  // the last record's commit is followed by a Seal
	last    int64 // position of the last record's commit in the last slot
}

func buildLog(t testing.TB, reserve int, sealed bool) *damagedLog {
	t.Helper()
	o := crashOptions(0)
	o.Reserve, o.SealAfter = reserve, -1
	d := &damagedLog{o: o, mem: vfs.NewMem(), sealed: sealed}
	o.FS = d.mem
	w, _ := mustOpen(t, o, nil)
	rng := rand.New(rand.NewPCG(uint64(reserve), 9))
	for i := range uint64(420) {
		b := payload(i, 8+rng.IntN(1800))
		d.records = append(d.records, stored{appendRecord(t, w, b, nil, 0), b})
		if i%3 == 0 {
			mustSync(t, w)
		}
		if s := w.Slots(); len(s) > 4 {
			if err := w.Recycle(s[0].LastSeq); err != nil {
				t.Fatal(err)
			}
			for d.records[0].ref.Seq <= s[0].LastSeq {
				d.records = d.records[1:]
			}
		}
	}
	mustSync(t, w)
	for retired := 1; retired > 0; { // until then a slot given back may be replayed once more
		w.mu.Lock()
		retired = len(w.retired)
		w.mu.Unlock()
	}
	d.slots = w.Slots()
	d.last, _ = w.active().position(d.records[len(d.records)-1].ref.Seq)
	if !sealed {
		d.mem = d.mem.CrashWith(func(int) int { return 0 }) // as after a power failure: no clean Seal
	}
	mustClose(t, w)
	return d
}

// open recovers a copy of the log after mutate has damaged it.
func (d *damagedLog) open(t testing.TB, tolerant bool, mutate func(*vfs.Mem)) (got []stored, rec *Recovery, w *WAL, mem *vfs.Mem, err error) {
	t.Helper()
	mem = d.mem.CrashWith(func(n int) int { return n - 1 })
	mutate(mem)
	o := d.o
	o.FS = mem
	if tolerant {
		o.OnFault = func(Fault) error { return nil }
	}
	w, rec, err = Open(o, collect(&got))
	return got, rec, w, mem, err
}

// verify is the promise: a damaged log is reported, or nothing is missing. Only the very last commit may be taken for
// torn, and only when no Seal follows it in a slot that was not zeroed.
func (d *damagedLog) verify(t *testing.T, what string, mayTear bool, mutate func(*vfs.Mem)) {
	t.Helper()
	got, _, w, _, err := d.open(t, false, mutate)
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrVersion):
	case err != nil:
		t.Fatalf("%s: %v", what, err)
	default:
		mustClose(t, w)
		want := d.records
		if n := len(got); mayTear && n < len(want) && want[n].ref.Seq == want[len(want)-1].ref.Seq {
			want = want[:n]
		}
		if msg := sameRecords(got, want); msg != "" {
			t.Fatalf("%s went unnoticed: %s", what, msg)
		}
	}
	d.verifyTolerant(t, what, mayTear, mutate)
}

// verifyTolerant: with OnFault what is missing lies in the reported ranges, what is there is exact, the log goes on,
// and the next start says the same.
func (d *damagedLog) verifyTolerant(t *testing.T, what string, mayTear bool, mutate func(*vfs.Mem)) {
	t.Helper()
	got, rec, w, mem, err := d.open(t, true, mutate)
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
		return // beyond what can be lived with
	}
	if err != nil {
		t.Fatalf("%s, tolerant: %v", what, err)
	}
	last := d.records[len(d.records)-1].ref.Seq
	missing := missingRecords(t, what, got, d.records)
	for _, s := range missing {
		if !inFaults(rec.Faults, s.ref.Seq) && !(mayTear && s.ref.Seq == last && (rec.TornSeq == last || rec.LastSeq == last-1)) {
			t.Fatalf("%s, tolerant: commit %d is missing and in no fault: %+v", what, s.ref.Seq, rec)
		}
	}
	for _, s := range got {
		if b, err := w.Read(s.ref, nil); err != nil || !bytes.Equal(b, s.data) {
			t.Fatalf("%s, tolerant: read %+v: %v", what, s.ref, err)
		}
	}
	added := payload(1<<40, 3000)
	more := stored{appendRecord(t, w, added, nil, 0), added}
	mustClose(t, w)
	var again []stored
	o := d.o
	o.FS, o.OnFault = mem, func(Fault) error { return nil }
	w, rec2, err := Open(o, collect(&again))
	if err != nil {
		t.Fatalf("%s, tolerant, second start: %v", what, err)
	}
	mustClose(t, w)
	if msg := sameRecords(again, append(got, more)); msg != "" {
		t.Fatalf("%s, tolerant, second start: %s; first %+v, then %+v", what, msg, rec, rec2)
	}
	for _, s := range missing {
		if !inFaults(rec2.Faults, s.ref.Seq) && inFaults(rec.Faults, s.ref.Seq) {
			t.Fatalf("%s, tolerant: the fault at commit %d is forgotten by the second start: %+v", what, s.ref.Seq, rec2)
		}
	}
}

func inFaults(faults []Fault, seq uint64) bool {
	for _, f := range faults {
		if seq >= f.FromSeq && seq <= f.ToSeq {
			return true
		}
	}
	return false
}

func sameRecords(got, want []stored) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d records of %d", len(got), len(want))
	}
	for i := range got {
		if got[i].ref != want[i].ref || !bytes.Equal(got[i].data, want[i].data) {
			return fmt.Sprintf("record %d is %+v, want %+v", i, got[i].ref, want[i].ref)
		}
	}
	return ""
}

// missingRecords returns what is in want and not in got; anything else in got is an error.
func missingRecords(t *testing.T, what string, got, want []stored) (missing []stored) {
	t.Helper()
	for _, s := range want {
		if len(got) > 0 && got[0].ref == s.ref && bytes.Equal(got[0].data, s.data) {
			got = got[1:]
			continue
		}
		missing = append(missing, s)
	}
	if len(got) > 0 {
		t.Fatalf("%s, tolerant: record %+v was never appended, or not there", what, got[0].ref)
	}
	return missing
}

func overwrite(t testing.TB, m *vfs.Mem, slot int, pos int64, change func(b []byte), n int) {
	t.Helper()
	f, err := m.OpenFile("wal/"+slotName(slot), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, n)
	if got, err := f.ReadAt(b, pos); got < n && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	change(b)
	if _, err := f.WriteAt(b, pos); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func forEachLog(t *testing.T, fn func(t *testing.T, d *damagedLog)) {
	for _, reserve := range []int{0, 1} {
		for _, sealed := range []bool{true, false} {
			t.Run(fmt.Sprintf("reserve=%d,sealed=%v", reserve, sealed), func(t *testing.T) {
				fn(t, buildLog(t, reserve, sealed))
			})
		}
	}
}

// mayTear: where the last slot was not zeroed, damage of an unsealed last commit looks like a torn write.
func (d *damagedLog) mayTear() bool { return !d.sealed && d.o.Reserve == 0 }

func TestBitFlips(t *testing.T) {
	forEachLog(t, func(t *testing.T, d *damagedLog) {
		rng := rand.New(rand.NewPCG(5, 6))
		for _, s := range d.slots {
			for i := range seeds(60) {
				pos := rng.Int64N(s.Bytes)
				switch {
				case i < 20:
					pos = rng.Int64N(slotHeaderSize)
				case i < 35:
					pos = pos&^(blockSize-1) + rng.Int64N(commitHeaderSize) // often a commit header
				}
				bit := byte(1) << rng.IntN(8)
				d.verify(t, fmt.Sprintf("flip of bit %#x at %d of slot %d", bit, pos, s.Slot), d.mayTear(), func(m *vfs.Mem) {
					overwrite(t, m, s.Slot, pos, func(b []byte) { b[0] ^= bit }, 1)
				})
			}
		}
	})
}

func TestLostBlocks(t *testing.T) {
	forEachLog(t, func(t *testing.T, d *damagedLog) {
		rng := rand.New(rand.NewPCG(7, 8))
		for _, s := range d.slots {
			for range seeds(15) {
				blocks := 1 + rng.Int64N(4)
				pos := rng.Int64N(s.Bytes) &^ (blockSize - 1)
				if end := d.last + blockSize; s.Slot == d.slots[len(d.slots)-1].Slot && !d.sealed && pos < d.last && pos+blocks*blockSize >= end {
					continue // several last commits gone without a trace: nothing can tell
				}
				// Zeroed sectors are how a torn commit looks, so an unsealed last commit may be cut.
				d.verify(t, fmt.Sprintf("%d zero blocks at %d of slot %d", blocks, pos, s.Slot), !d.sealed, func(m *vfs.Mem) {
					overwrite(t, m, s.Slot, pos, func(b []byte) { clear(b) }, int(min(blocks*blockSize, s.Bytes-pos)))
				})
			}
		}
	})
}

func TestLostFiles(t *testing.T) {
	forEachLog(t, func(t *testing.T, d *damagedLog) {
		for i, s := range d.slots {
			name := "wal/" + slotName(s.Slot)
			lost := fmt.Sprintf("loss of slot %d (%d of %d)", s.Slot, i, len(d.slots))
			remove := func(m *vfs.Mem) {
				if err := m.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, _, _, err := d.open(t, false, remove); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: Open: %v, want ErrCorrupt", lost, err)
			}
			d.verify(t, lost, false, remove)
			for _, size := range []int64{0, 100, blockSize, s.Bytes / 2, s.Bytes/2 + 100, (s.Bytes / 2) &^ (blockSize - 1), d.last, d.last + 700} {
				if size > s.Bytes {
					continue
				}
				cut := fmt.Sprintf("truncation of slot %d to %d", s.Slot, size)
				d.verify(t, cut, !d.sealed, func(m *vfs.Mem) {
					f, err := m.OpenFile(name, os.O_RDWR, 0)
					if err != nil {
						t.Fatal(err)
					}
					if err := f.Truncate(size); err != nil {
						t.Fatal(err)
					}
					_ = f.Sync()
					_ = f.Close()
				})
			}
			other := d.slots[(i+1)%len(d.slots)]
			d.verify(t, fmt.Sprintf("swap of slots %d and %d", s.Slot, other.Slot), false, func(m *vfs.Mem) {
				for _, step := range [][2]string{
					{name, "wal/tmp"}, {"wal/" + slotName(other.Slot), name}, {"wal/tmp", "wal/" + slotName(other.Slot)},
				} {
					if err := m.Rename(step[0], step[1]); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
		d.verify(t, "loss of all files but the free ones", false, func(m *vfs.Mem) {
			for _, s := range d.slots {
				if err := m.Remove("wal/" + slotName(s.Slot)); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// TestReplayFrom: slots below the wanted sequence are known by their index only, and readable all the same.
func TestReplayFrom(t *testing.T) {
	d := buildLog(t, 0, true)
	var all, verified int64
	for _, from := range []uint64{0, d.slots[0].FirstSeq, d.slots[1].FirstSeq, d.slots[1].LastSeq, d.slots[3].FirstSeq, 1 << 50} {
		o := d.o
		o.ReplayFrom, o.FS = from, d.mem.CrashWith(func(int) int { return 0 })
		var got []stored
		w, rec := mustOpen(t, o, collect(&got))
		want := d.records
		for len(want) > 0 && want[0].ref.Seq < from {
			want = want[1:]
		}
		if msg := sameRecords(got, want); msg != "" {
			t.Errorf("ReplayFrom %d: %s", from, msg)
		}
		for _, s := range d.records {
			if b, err := w.Read(s.ref, nil); err != nil || !bytes.Equal(b, s.data) {
				t.Fatalf("ReplayFrom %d: read %+v: %v", from, s.ref, err)
			}
		}
		if from == 0 {
			all = rec.Bytes
		}
		verified = rec.Bytes
		mustClose(t, w)
	}
	if verified*2 > all {
		t.Errorf("a start that wants no records read %d bytes, a full one %d", verified, all)
	}
}
