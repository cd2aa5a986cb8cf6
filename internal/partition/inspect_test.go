package partition

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// inspected reads the directory of a store that is closed.
func inspected(t *testing.T, fs vfs.FS) map[ID]*Inspected {
	t.Helper()
	in, err := Inspect(fs, "/data")
	if err != nil {
		t.Fatal(err)
	}
	out := map[ID]*Inspected{}
	for i := range in.Logs {
		out[in.Logs[i].ID] = &in.Logs[i]
	}
	return out
}

func (r *Inspected) checksum(t *testing.T) (crc uint32, batches int) {
	t.Helper()
	if err := r.Batches(func(b BatchSum) error {
		if b.Base >= r.Start {
			crc = b.Extend(crc)
			batches++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return crc, batches
}

// A stopped node's directory gives the checksum that the running one gave, wherever the batches are: in segments, in the WAL, carried in a
// State, or moved. Nothing is written.
func TestInspectSeesWhatChecksumSaw(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem, nil)
	logs := []*Log{f.create(testID(1, 0)), f.create(testID(1, 1)), f.create(testID(2, 0)), f.create(testID(2, 1))}
	gone := f.create(testID(3, 0))
	f.append(gone, makeBatch(1, 10, testTime, nil))
	for i := range 1500 {
		f.append(logs[0], makeBatch(3, 500, testTime+int64(i), nil))
		if i%10 == 0 {
			f.append(logs[1], makeBatch(1, 100, testTime+int64(i), nil))
		}
		if i < 5 {
			f.append(logs[2], makeBatch(1, 50, testTime+int64(i), nil)) // small and old: carried when its slot goes
		}
		if i%100 == 99 {
			f.settle(logs...)
			f.materialize(logs[0])
			if err := f.s.maintain(false); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.append(logs[0], makeBatch(3, 500, testTime, nil))
	f.settle(logs...)
	if err := logs[0].AdvanceStart(700); err != nil {
		t.Fatal(err)
	}
	if err := f.s.Drop(gone.ID()); err != nil {
		t.Fatal(err)
	}
	type sum struct {
		crc     uint32
		batches int
	}
	want := map[ID]sum{}
	for _, l := range logs {
		crc, n, err := l.Checksum(l.Start(), l.End())
		if err != nil {
			t.Fatal(err)
		}
		want[l.ID()] = sum{crc, n}
	}
	if logs[0].segEnd.Load() == 0 || logs[0].segEnd.Load() == logs[0].End() {
		t.Fatal("the log is not in both places")
	}
	if err := f.s.Close(); err != nil {
		t.Fatal(err)
	}
	f.s = nil
	before := mem.Used()
	got := inspected(t, mem)
	for _, l := range logs {
		r := got[l.ID()]
		if r == nil || r.Start != l.Start() || r.End != l.End() || r.Fault != nil {
			t.Fatalf("%s: %+v", l.ID(), r)
		}
		if crc, n := r.checksum(t); (sum{crc, n}) != want[l.ID()] {
			t.Errorf("%s: checksum %08x of %d batches, it was %+v", l.ID(), crc, n, want[l.ID()])
		}
	}
	if r := got[logs[0].ID()]; r.SegmentEnd == 0 || r.SegmentEnd == r.End || !got[logs[2].ID()].log.view[0].carried() {
		t.Fatalf("not all places are read: %+v", r)
	}
	if got[gone.ID()] != nil || len(got) != len(logs) || mem.Used() != before {
		t.Errorf("%d logs, %d bytes used, %d before", len(got), mem.Used(), before)
	}
	flipBits(t, mem, got[logs[0].ID()])
}

// flipBit flips a bit of a file.
func flipBit(t *testing.T, mem *vfs.Mem, path string, at int64) {
	t.Helper()
	file, err := mem.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := file.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := file.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

// flipBits flips a bit in a segment, then in the WAL: both are found.
func flipBits(t *testing.T, mem *vfs.Mem, r *Inspected) {
	flipBit(t, mem, newSegment(r.log.dir(), r.log.active.base).path+logSuffix, 300)
	if err := inspected(t, mem)[r.ID].Batches(func(BatchSum) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a flipped bit in a segment: %v", err)
	}
	slots, err := mem.ReadDir("/data/wal")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slots {
		if info, err := e.Info(); err == nil && info.Size() > 8192 {
			flipBit(t, mem, filepath.Join("/data/wal", e.Name()), 5000)
		}
	}
	if _, err := Inspect(mem, "/data"); !errors.Is(err, wal.ErrCorrupt) {
		t.Errorf("flipped bits in the WAL: %v", err)
	}
}

// A part at a time gives the same checksum as all at once.
func TestChecksumSome(t *testing.T) {
	mem := vfs.NewMem()
	f := newFixture(t, mem, nil)
	l := f.create(testID(1, 0))
	for i := range 50 {
		f.append(l, makeBatch(2, 300, testTime+int64(i), nil))
	}
	f.settle(l)
	l.hw.Store(60)
	f.materialize(l)
	want, n, err := l.Checksum(0, 100)
	if err != nil || n != 50 {
		t.Fatal(n, err)
	}
	var crc uint32
	total, steps := 0, 0
	for at := int64(0); at < 99; steps++ { // the last batch does not lie wholly below 99
		var some int
		if crc, some, at, err = l.ChecksumSome(crc, at, 99, 2000); err != nil || some > 4 {
			t.Fatal(some, err)
		}
		total += some
	}
	last, _, err := l.Checksum(0, 98)
	if err != nil || crc != last || total != 49 || steps < 10 || last == want {
		t.Errorf("%d batches in %d steps, %08x, at once %08x, %v", total, steps, crc, last, err)
	}
	flipBit(t, mem, newSegment(l.dir(), l.active.base).path+logSuffix, 3*l.active.bytes/4)
	if _, _, at, err := l.ChecksumSome(0, 0, 60, 1<<30); !errors.Is(err, ErrCorrupt) || at != 44 { // of 30 batches of 2 records
		t.Errorf("damage is told of at %d: %v", at, err)
	}
}
