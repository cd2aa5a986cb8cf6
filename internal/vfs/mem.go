package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// SectorSize is what Mem writes atomically: a sector has its old or its new content after a crash, never a mixture.
const SectorSize = 512

// Mem is a file system in memory that remembers what is not synced yet, so that Crash can forget any part of it.
// Relative and absolute paths name the same tree. The zero value is not usable; call NewMem.
type Mem struct {
	mu       sync.Mutex
	root     *inode
	pending  []*nameOp // namespace changes not yet durable, oldest first
	capacity int64
	used     int64
}

// inode is a file or directory. All fields are guarded by Mem.mu.
type inode struct {
	dir  bool
	mode fs.FileMode
	gone bool // no entry names it any more: its bytes are not counted

	data    []byte // file: what readers see
	durable []byte // file: what survives for certain
	// file: unsynced contents of each touched sector, oldest first; the disk may hold any of them, or the durable one.
	dirty map[int64][][]byte
	sizes []int64 // file: unsynced sizes, oldest first

	entries, durEntries map[string]*inode // directory: as seen, and as certain after a crash
}

// nameOp is one atomic change of the namespace; each edit sets (or, with a nil node, deletes) an entry.
type nameOp struct{ edits []nameEdit }

type nameEdit struct {
	dir  *inode
	name string
	node *inode
}

// NewMem returns an empty file system of unlimited capacity.
func NewMem() *Mem {
	return &Mem{root: newDirNode(0o755), capacity: 1 << 60}
}

func newDirNode(mode fs.FileMode) *inode {
	return &inode{dir: true, mode: mode.Perm() | fs.ModeDir, entries: map[string]*inode{}, durEntries: map[string]*inode{}}
}

// SetCapacity bounds the bytes of all files together; growth beyond fails with ENOSPC.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// Used returns the bytes of all files together.
func (m *Mem) Used() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func pathErr(op, path string, err error) error { return &fs.PathError{Op: op, Path: path, Err: err} }

func splitPath(name string) []string {
	p := strings.Trim(filepath.ToSlash(filepath.Clean("/"+name)), "/")
	if p == "" {
		return nil
	}
	return strings.Split(p, "/")
}

// lookup walks to name; a missing part gives fs.ErrNotExist.
func (m *Mem) lookup(name string) (*inode, error) {
	n := m.root
	for _, part := range splitPath(name) {
		if !n.dir {
			return nil, syscall.ENOTDIR
		}
		next, ok := n.entries[part]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

// parent walks to the directory of name and returns it with the last part.
func (m *Mem) parent(name string) (*inode, string, error) {
	parts := splitPath(name)
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	dir, err := m.lookup(strings.Join(parts[:len(parts)-1], "/"))
	if err != nil {
		return nil, "", err
	}
	if !dir.dir {
		return nil, "", syscall.ENOTDIR
	}
	return dir, parts[len(parts)-1], nil
}

// apply makes the edits visible and remembers them as not durable.
func (m *Mem) apply(edits ...nameEdit) {
	for _, e := range edits {
		if e.node == nil {
			delete(e.dir.entries, e.name)
		} else {
			e.dir.entries[e.name] = e.node
		}
	}
	m.pending = append(m.pending, &nameOp{edits})
}

// release stops counting the bytes below a node that lost its entry.
func (m *Mem) release(n *inode) {
	if n == nil || n.gone {
		return
	}
	n.gone = true
	m.used -= int64(len(n.data))
	for _, child := range n.entries {
		m.release(child)
	}
}

// OpenFile implements FS.
func (m *Mem) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err != nil {
		return nil, pathErr("open", name, err)
	}
	node := dir.entries[base]
	writable := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case node == nil && flag&os.O_CREATE == 0:
		return nil, pathErr("open", name, fs.ErrNotExist)
	case node == nil:
		node = &inode{mode: perm.Perm(), dirty: map[int64][][]byte{}}
		m.apply(nameEdit{dir, base, node})
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathErr("open", name, fs.ErrExist)
	case node.dir:
		return nil, pathErr("open", name, syscall.EISDIR)
	}
	if flag&os.O_TRUNC != 0 && writable {
		m.resize(node, 0)
	}
	return &memFile{m: m, n: node, name: name, writable: writable}, nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string, perm fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, part := range splitPath(dir) {
		next := n.entries[part]
		if next == nil {
			next = newDirNode(perm)
			m.apply(nameEdit{n, part, next})
		}
		if !next.dir {
			return pathErr("mkdir", dir, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err != nil {
		return pathErr("remove", name, err)
	}
	n := dir.entries[base]
	if n == nil {
		return pathErr("remove", name, fs.ErrNotExist)
	}
	if n.dir && len(n.entries) > 0 {
		return pathErr("remove", name, syscall.ENOTEMPTY)
	}
	m.apply(nameEdit{dir, base, nil})
	m.release(n)
	return nil
}

// RemoveAll implements FS: every file and directory below is a removal of its own, as on a real disk.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return pathErr("removeall", name, err)
	}
	if n := dir.entries[base]; n != nil {
		m.removeTree(dir, base, n)
	}
	return nil
}

func (m *Mem) removeTree(dir *inode, base string, n *inode) {
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		m.removeTree(n, name, n.entries[name])
	}
	m.apply(nameEdit{dir, base, nil})
	m.release(n)
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fdir, fbase, err := m.parent(from)
	if err != nil {
		return pathErr("rename", from, err)
	}
	tdir, tbase, err := m.parent(to)
	if err != nil {
		return pathErr("rename", to, err)
	}
	n := fdir.entries[fbase]
	if n == nil {
		return pathErr("rename", from, fs.ErrNotExist)
	}
	old := tdir.entries[tbase]
	switch {
	case old != nil && old.dir: // as os.Rename has it
		return pathErr("rename", to, syscall.EEXIST)
	case old == n:
		return nil
	case old != nil && n.dir:
		return pathErr("rename", to, syscall.ENOTDIR)
	case n.dir && n.holds(tdir):
		return pathErr("rename", to, syscall.EINVAL)
	}
	m.apply(nameEdit{fdir, fbase, nil}, nameEdit{tdir, tbase, n})
	m.release(old)
	return nil
}

// holds reports whether d is n or a directory below it.
func (n *inode) holds(d *inode) bool {
	if n == d {
		return true
	}
	for _, child := range n.entries {
		if child.dir && child.holds(d) {
			return true
		}
	}
	return false
}

// SyncDir implements FS: every pending change that touches dir becomes durable, in order.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.lookup(dir)
	if err != nil {
		return pathErr("syncdir", dir, err)
	}
	if !d.dir {
		return pathErr("syncdir", dir, syscall.ENOTDIR)
	}
	m.pending = slices.DeleteFunc(m.pending, func(op *nameOp) bool {
		if !slices.ContainsFunc(op.edits, func(e nameEdit) bool { return e.dir == d }) {
			return false
		}
		for _, e := range op.edits {
			applyEdit(e.dir.durEntries, e.name, e.node)
		}
		return true
	})
	return nil
}

func applyEdit(entries map[string]*inode, name string, node *inode) {
	if node == nil {
		delete(entries, name)
	} else {
		entries[name] = node
	}
}

// ReadDir implements FS.
func (m *Mem) ReadDir(dir string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.lookup(dir)
	if err != nil {
		return nil, pathErr("readdir", dir, err)
	}
	if !d.dir {
		return nil, pathErr("readdir", dir, syscall.ENOTDIR)
	}
	var list []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(d.entries)) {
		list = append(list, fs.FileInfoToDirEntry(infoOf(name, d.entries[name])))
	}
	return list, nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup(name)
	if err != nil {
		return nil, pathErr("stat", name, err)
	}
	return infoOf(filepath.Base(name), n), nil
}

// FreeSpace implements FS.
func (m *Mem) FreeSpace(path string) (free, total uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.lookup(path); err != nil {
		return 0, 0, pathErr("statfs", path, err)
	}
	return uint64(max(0, m.capacity-m.used)), uint64(m.capacity), nil
}

type memInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func infoOf(name string, n *inode) memInfo { return memInfo{name, int64(len(n.data)), n.mode} }

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }

// memFile is an open file; name, node and mode never change, closed is guarded by Mem.mu.
type memFile struct {
	m        *Mem
	n        *inode
	name     string
	writable bool
	closed   bool
}

func (f *memFile) check(op string, write bool) error {
	if f.closed {
		return pathErr(op, f.name, fs.ErrClosed)
	}
	if write && !f.writable {
		return pathErr(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	return int64(len(f.n.data)), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("read", f.name, fs.ErrInvalid)
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathErr("write", f.name, fs.ErrInvalid)
	}
	if len(p) == 0 {
		return 0, nil
	}
	end := off + int64(len(p))
	grow := end - int64(len(f.n.data))
	if grow > 0 && f.m.used+grow > f.m.capacity {
		return 0, pathErr("write", f.name, syscall.ENOSPC)
	}
	if grow > 0 {
		f.m.resize(f.n, end)
	}
	copy(f.n.data[off:], p)
	f.n.touch(off, end)
	return len(p), nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathErr("truncate", f.name, fs.ErrInvalid)
	}
	f.m.resize(f.n, size)
	return nil
}

func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.n.sync()
	return nil
}

func (f *memFile) SyncRange(int64, int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.check("syncrange", false)
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.check("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}

// resize changes the visible size; cut sectors become dirty zeros, so that regrowth cannot show old bytes.
func (m *Mem) resize(n *inode, size int64) {
	old := int64(len(n.data))
	if size == old {
		return
	}
	if !n.gone {
		m.used += size - old
	}
	if size < old {
		clear(n.data[size:])
		n.touch(size, old)
		n.data = n.data[:size]
	} else {
		n.data = append(n.data, make([]byte, size-old)...)
	}
	n.sizes = append(n.sizes, size)
}

// touch remembers the present content of the sectors of [from, to) as one more version that the disk may hold.
func (n *inode) touch(from, to int64) {
	first, last := from/SectorSize, (to+SectorSize-1)/SectorSize
	span := make([]byte, (last-first)*SectorSize)
	copy(span, n.data[first*SectorSize:])
	for s := first; s < last; s++ {
		n.dirty[s] = append(n.dirty[s], span[(s-first)*SectorSize:(s-first+1)*SectorSize])
	}
}

// sync copies the dirty sectors, not the file: files here are large and syncs many.
func (n *inode) sync() {
	if n.dir {
		return
	}
	size := len(n.data)
	if size < len(n.durable) {
		n.durable = n.durable[:size]
	} else if size > len(n.durable) {
		old := len(n.durable)
		n.durable = slices.Grow(n.durable, size-old)[:size]
		clear(n.durable[old:])
	}
	for s := range n.dirty {
		from := s * SectorSize
		if from < int64(size) {
			copy(n.durable[from:], n.data[from:min(from+SectorSize, int64(size))])
		}
	}
	clear(n.dirty)
	n.sizes = n.sizes[:0]
}
