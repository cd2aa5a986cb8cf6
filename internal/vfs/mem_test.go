package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fsys FS, name string, flag int) File {
	t.Helper()
	f, err := fsys.OpenFile(name, flag, 0o644)
	must(t, err)
	return f
}

func write(t testing.TB, f File, b []byte, off int64) {
	t.Helper()
	n, err := f.WriteAt(b, off)
	if n != len(b) {
		t.Fatalf("WriteAt: %d of %d, %v", n, len(b), err)
	}
}

// TestSameAsOS runs random calls on Mem and on the host and compares every result.
func TestSameAsOS(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 3))
		dir := t.TempDir()
		mem := NewMem()
		names := []string{"a", "b", "d/a", "d/b", "e/f/a", "d", "e"}
		for step := range 150 {
			name, other := names[rng.IntN(len(names))], names[rng.IntN(len(names))]
			call, pos, size := rng.IntN(9), rng.Int64N(2000), rng.IntN(1500)
			run := func(fsys FS, root string) string {
				p, q := filepath.Join(root, name), filepath.Join(root, other)
				return describe(callFS(fsys, call, p, q, pos, size))
			}
			got, want := run(mem, "/"), run(OS, dir)
			if got != want {
				t.Fatalf("seed %d step %d: call %d on %s, %s: %s, the host says %s", seed, step, call, name, other, got, want)
			}
		}
	}
}

func callFS(fsys FS, call int, p, q string, pos int64, size int) (any, error) {
	switch call {
	case 0:
		return nil, fsys.MkdirAll(p, 0o755)
	case 1:
		return nil, fsys.Remove(p)
	case 2:
		return nil, fsys.RemoveAll(p)
	case 3:
		return nil, fsys.Rename(p, q)
	case 4:
		list, err := fsys.ReadDir(p)
		var names []string
		for _, e := range list {
			names = append(names, fmt.Sprint(e.Name(), e.IsDir()))
		}
		return names, err
	case 5:
		b, err := ReadFile(fsys, p)
		return b, err
	}
	flag := []int{os.O_RDWR | os.O_CREATE, os.O_RDWR, os.O_RDWR | os.O_CREATE | os.O_EXCL}[call-6]
	f, err := fsys.OpenFile(p, flag, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if size%5 == 0 {
		err := f.Truncate(pos)
		n, _ := f.Size()
		return n, err
	}
	n, err := f.WriteAt(bytes.Repeat([]byte{byte(size)}, size), pos)
	return n, err
}

// describe reduces a result to what both file systems promise.
func describe(v any, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not exist"
	case errors.Is(err, fs.ErrExist), errors.Is(err, syscall.ENOTEMPTY):
		return "exists"
	case err != nil:
		return "error"
	}
	return fmt.Sprintf("%v", v)
}

// TestCrashSectors: what is synced stays; of each unsynced sector any version may be there, and every one turns up.
func TestCrashSectors(t *testing.T) {
	m := NewMem()
	f := open(t, m, "f", os.O_RDWR|os.O_CREATE)
	must(t, m.SyncDir("/"))
	write(t, f, bytes.Repeat([]byte{1}, 4*SectorSize), 0)
	must(t, f.Sync())
	write(t, f, bytes.Repeat([]byte{2}, 2*SectorSize), SectorSize)
	write(t, f, bytes.Repeat([]byte{3}, SectorSize+10), SectorSize)
	seen := map[string]int{}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		b, err := ReadFile(m.Crash(rng), "f")
		must(t, err)
		if len(b) != 4*SectorSize || b[0] != 1 || b[3*SectorSize] != 1 {
			t.Fatalf("synced bytes changed: %d bytes", len(b))
		}
		for s := range 4 {
			if sector := b[s*SectorSize : (s+1)*SectorSize]; s != 2 && !bytes.Equal(sector, bytes.Repeat(sector[:1], SectorSize)) {
				t.Fatalf("sector %d is torn", s)
			}
		}
		seen[fmt.Sprint(b[SectorSize], b[2*SectorSize])]++
	}
	if len(seen) != 9 {
		t.Errorf("states seen of sectors 1 and 2: %v, want all 9", seen)
	}
	must(t, f.Sync())
	b, err := ReadFile(m.CrashWith(func(int) int { return 0 }), "f")
	must(t, err)
	if b[SectorSize] != 3 || b[2*SectorSize] != 3 || b[2*SectorSize+10] != 2 {
		t.Error("Sync did not make the last version durable")
	}
}

// TestCrashSize: growth and truncation are lost or kept until Sync, and cut bytes never come back as content.
func TestCrashSize(t *testing.T) {
	m := NewMem()
	f := open(t, m, "f", os.O_RDWR|os.O_CREATE)
	must(t, m.SyncDir("."))
	write(t, f, bytes.Repeat([]byte{7}, 1000), 0)
	must(t, f.Sync())
	must(t, f.Truncate(10))
	must(t, f.Truncate(2000))
	sizes := map[int]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b, err := ReadFile(m.Crash(rng), "f")
		must(t, err)
		sizes[len(b)] = true
	}
	if len(sizes) != 3 || !sizes[10] || !sizes[1000] || !sizes[2000] {
		t.Errorf("sizes %v", sizes)
	}
	must(t, f.Sync())
	b, err := ReadFile(m.CrashWith(func(int) int { return 0 }), "f")
	must(t, err)
	if len(b) != 2000 || b[9] != 7 || b[10] != 0 || b[999] != 0 {
		t.Errorf("after truncation and growth: %d bytes, %d %d", len(b), b[9], b[10])
	}
}

// TestCrashEntries: a file that is synced in an unsynced directory may be gone; a rename happens whole or not at all.
func TestCrashEntries(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("d", 0o755))
	must(t, m.SyncDir("/"))
	old := open(t, m, "d/f", os.O_RDWR|os.O_CREATE)
	write(t, old, []byte("old"), 0)
	must(t, old.Sync())
	if _, err := m.CrashWith(func(int) int { return 0 }).Stat("d/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("entry survived without SyncDir: %v", err)
	}
	must(t, m.SyncDir("d"))
	tmp := open(t, m, "d/f.tmp", os.O_RDWR|os.O_CREATE)
	write(t, tmp, []byte("new"), 0)
	must(t, tmp.Sync())
	must(t, m.Rename("d/f.tmp", "d/f"))
	seen := map[string]bool{}
	rng := rand.New(rand.NewPCG(4, 4))
	for range 100 {
		b, err := ReadFile(m.Crash(rng), "d/f")
		must(t, err)
		seen[string(b)] = true
	}
	if !seen["old"] || !seen["new"] || len(seen) != 2 {
		t.Errorf("contents seen after a rename: %v", seen)
	}
	must(t, WriteFileAtomic(m, "d/g", []byte("whole"), 0o644))
	must(t, m.Remove("d/f"))
	c := m.CrashWith(func(int) int { return 0 })
	for name, want := range map[string]string{"d/g": "whole", "d/f": "new"} {
		if b, err := ReadFile(c, name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	must(t, m.SyncDir("d"))
	if _, err := m.CrashWith(func(int) int { return 0 }).Stat("d/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removal was not durable after SyncDir: %v", err)
	}
}

func TestLoseUnsynced(t *testing.T) {
	m := NewMem()
	f := open(t, m, "f", os.O_RDWR|os.O_CREATE)
	must(t, m.SyncDir("/"))
	write(t, f, []byte("aaaa"), 0)
	must(t, f.Sync())
	write(t, f, []byte("bbbb"), 0)
	must(t, m.LoseUnsynced("f"))
	must(t, f.Sync())
	seen, err := ReadFile(m, "f")
	must(t, err)
	kept, err := ReadFile(m.CrashWith(func(n int) int { return n - 1 }), "f")
	must(t, err)
	if string(seen) != "bbbb" || string(kept) != "aaaa" {
		t.Errorf("seen %q, kept %q", seen, kept)
	}
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(1000)
	f := open(t, m, "f", os.O_RDWR|os.O_CREATE)
	write(t, f, make([]byte, 900), 0)
	if _, err := f.WriteAt(make([]byte, 101), 900); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write past the capacity: %v", err)
	}
	write(t, f, make([]byte, 900), 0) // overwriting takes nothing
	if free, total, err := m.FreeSpace("f"); free != 100 || total != 1000 || err != nil {
		t.Errorf("FreeSpace: %d of %d, %v", free, total, err)
	}
	must(t, m.Remove("f"))
	if m.Used() != 0 {
		t.Errorf("%d bytes used by nothing", m.Used())
	}
}

func TestFaulty(t *testing.T) {
	m := NewMem()
	f := NewFaulty(m)
	var calls []Op
	f.Before = func(op Op, _ string) { calls = append(calls, op) }
	rule := f.Inject(Rule{Ops: OpWrite | OpSync, Pattern: "*.wal", Skip: 1, Times: 2, Err: syscall.EIO, Partial: 3})
	wal, other := open(t, f, "x.wal", os.O_RDWR|os.O_CREATE), open(t, f, "x.log", os.O_RDWR|os.O_CREATE)
	write(t, wal, []byte("12345"), 0)  // skipped
	write(t, other, []byte("1234"), 0) // no match
	if n, err := wal.WriteAt([]byte("abcde"), 0); n != 3 || !errors.Is(err, syscall.EIO) {
		t.Errorf("partial write: %d, %v", n, err)
	}
	if err := wal.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	must(t, wal.Sync()) // used up
	if b, err := ReadFile(m, "x.wal"); err != nil || string(b) != "abc45" {
		t.Errorf("content %q, %v", b, err)
	}
	if rule.Hits() != 2 {
		t.Errorf("%d hits", rule.Hits())
	}
	rule.Remove()
	f.Inject(Rule{Ops: OpSyncDir, Delay: 20 * time.Millisecond})
	began := time.Now()
	must(t, f.SyncDir("/"))
	if time.Since(began) < 20*time.Millisecond {
		t.Error("no delay")
	}
	f.Free = func(string) (uint64, uint64, error) { return 5, 10, nil }
	if free, _, err := f.FreeSpace("/"); free != 5 || err != nil {
		t.Errorf("FreeSpace: %d, %v", free, err)
	}
	if len(calls) != 9 {
		t.Errorf("calls seen: %v", calls)
	}
}

func TestOSFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	must(t, WriteFileAtomic(OS, name, []byte("hello"), 0o600))
	f := open(t, OS, name, os.O_RDWR)
	defer func() { _ = f.Close() }()
	must(t, f.SyncRange(0, 5))
	must(t, f.Sync())
	if n, err := f.Size(); n != 5 || err != nil {
		t.Errorf("Size: %d, %v", n, err)
	}
	if n, err := f.ReadAt(make([]byte, 10), 0); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt over the end: %d, %v", n, err)
	}
	if free, total, err := OS.FreeSpace(name); free == 0 || total < free || err != nil {
		t.Errorf("FreeSpace: %d of %d, %v", free, total, err)
	}
	must(t, f.Close())
	if err := f.Sync(); err == nil {
		t.Error("Sync of a closed file succeeded")
	}
}

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	l, err := LockDir(dir)
	must(t, err)
	var held *LockedError
	if _, err := LockDir(dir); !errors.As(err, &held) || held.PID != os.Getpid() || held.Dir != dir {
		t.Errorf("second LockDir: %v", err)
	}
	must(t, l.Close())
	l, err = LockDir(dir)
	must(t, err)
	must(t, l.Close())
	if _, err := LockDir(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LockDir of a missing directory: %v", err)
	}
}
