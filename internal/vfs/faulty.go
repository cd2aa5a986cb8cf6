package vfs

import (
	"io/fs"
	"path/filepath"
	"sync"
	"time"
)

// Op is a set of calls of FS and File.
type Op uint32

// The calls that a Rule can name.
const (
	OpOpen Op = 1 << iota
	OpRead
	OpWrite
	OpTruncate
	OpSync
	OpSyncRange
	OpClose
	OpMkdir
	OpRemove
	OpRename
	OpSyncDir
	OpReadDir
	OpStat
	OpFreeSpace
	OpAll Op = 1<<iota - 1
)

// Rule injects a fault into matching calls.
type Rule struct {
	Ops     Op
	Pattern string        // filepath.Match on the base name of the file or directory; "" matches all
	Skip    int           // matching calls let through first
	Times   int           // calls hit after those; 0: all
	Delay   time.Duration // before the call
	Err     error         // instead of the call; nil: only Delay
	Partial int           // with Err on a write: bytes written before it fails
}

// Faulty wraps a file system and applies rules to its calls.
type Faulty struct {
	FS FS
	// Before, when set, is called before every call, without locks. Set it before use.
	Before func(op Op, path string)
	// Free, when set, replaces FreeSpace. Set it before use.
	Free func(path string) (free, total uint64, err error)

	mu    sync.Mutex
	rules []*Injected
}

// Injected is a rule in force.
type Injected struct {
	Rule
	f    *Faulty
	seen int // matching calls; guarded by Faulty.mu
	hits int
}

// NewFaulty wraps fsys; without rules it changes nothing.
func NewFaulty(fsys FS) *Faulty { return &Faulty{FS: fsys} }

// Inject puts a rule into force; of several that match a call the oldest wins.
func (f *Faulty) Inject(r Rule) *Injected {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := &Injected{Rule: r, f: f}
	f.rules = append(f.rules, in)
	return in
}

// Remove takes the rule out of force.
func (in *Injected) Remove() {
	in.f.mu.Lock()
	defer in.f.mu.Unlock()
	for i, r := range in.f.rules {
		if r == in {
			in.f.rules = append(in.f.rules[:i], in.f.rules[i+1:]...)
			return
		}
	}
}

// Hits returns how many calls the rule has hit.
func (in *Injected) Hits() int {
	in.f.mu.Lock()
	defer in.f.mu.Unlock()
	return in.hits
}

// call applies the rules to one call and returns the rule that makes it fail, if any.
func (f *Faulty) call(op Op, path string) (partial int, err error) {
	if f.Before != nil {
		f.Before(op, path)
	}
	f.mu.Lock()
	var hit *Injected
	for _, r := range f.rules {
		if r.Ops&op == 0 {
			continue
		}
		if ok, _ := filepath.Match(r.Pattern, filepath.Base(path)); r.Pattern != "" && !ok {
			continue
		}
		r.seen++
		if r.seen <= r.Skip || (r.Times > 0 && r.seen > r.Skip+r.Times) {
			continue
		}
		r.hits++
		hit = r
		break
	}
	f.mu.Unlock()
	if hit == nil {
		return 0, nil
	}
	if hit.Delay > 0 {
		time.Sleep(hit.Delay)
	}
	if hit.Err == nil {
		return 0, nil
	}
	return hit.Partial, &fs.PathError{Op: "injected", Path: path, Err: hit.Err}
}

func (f *Faulty) do(op Op, path string, fn func() error) error {
	if _, err := f.call(op, path); err != nil {
		return err
	}
	return fn()
}

// OpenFile implements FS.
func (f *Faulty) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if _, err := f.call(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(dir string, perm fs.FileMode) error {
	return f.do(OpMkdir, dir, func() error { return f.FS.MkdirAll(dir, perm) })
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.FS.Remove(name) })
}

// RemoveAll implements FS.
func (f *Faulty) RemoveAll(name string) error {
	return f.do(OpRemove, name, func() error { return f.FS.RemoveAll(name) })
}

// Rename implements FS; rules match the new name.
func (f *Faulty) Rename(from, to string) error {
	return f.do(OpRename, to, func() error { return f.FS.Rename(from, to) })
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(dir string) error {
	return f.do(OpSyncDir, dir, func() error { return f.FS.SyncDir(dir) })
}

// ReadDir implements FS.
func (f *Faulty) ReadDir(dir string) (list []fs.DirEntry, err error) {
	err = f.do(OpReadDir, dir, func() error { list, err = f.FS.ReadDir(dir); return err })
	return list, err
}

// Stat implements FS.
func (f *Faulty) Stat(name string) (info fs.FileInfo, err error) {
	err = f.do(OpStat, name, func() error { info, err = f.FS.Stat(name); return err })
	return info, err
}

// FreeSpace implements FS.
func (f *Faulty) FreeSpace(path string) (free, total uint64, err error) {
	err = f.do(OpFreeSpace, path, func() error {
		if f.Free != nil {
			free, total, err = f.Free(path)
		} else {
			free, total, err = f.FS.FreeSpace(path)
		}
		return err
	})
	return free, total, err
}

type faultyFile struct {
	File
	f *Faulty
}

func (f *faultyFile) ReadAt(p []byte, off int64) (n int, err error) {
	if _, err := f.f.call(OpRead, f.Name()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	partial, err := f.f.call(OpWrite, f.Name())
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	if partial == 0 {
		return 0, err
	}
	n, werr := f.File.WriteAt(p[:min(partial, len(p))], off)
	if werr != nil {
		return n, werr
	}
	return n, err
}

func (f *faultyFile) Truncate(size int64) error {
	return f.f.do(OpTruncate, f.Name(), func() error { return f.File.Truncate(size) })
}

func (f *faultyFile) Sync() error { return f.f.do(OpSync, f.Name(), f.File.Sync) }

func (f *faultyFile) SyncRange(off, n int64) error {
	return f.f.do(OpSyncRange, f.Name(), func() error { return f.File.SyncRange(off, n) })
}

func (f *faultyFile) Size() (n int64, err error) {
	err = f.f.do(OpStat, f.Name(), func() error { n, err = f.File.Size(); return err })
	return n, err
}

// Close always closes the file: an injected error must not leak the descriptor.
func (f *faultyFile) Close() error {
	_, err := f.f.call(OpClose, f.Name())
	if cerr := f.File.Close(); err == nil {
		err = cerr
	}
	return err
}
