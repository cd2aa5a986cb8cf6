package vfs

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

// Crash returns what a disk may hold if the power fails now: everything synced, and of the rest whatever rng picks:
// each unsynced sector in any of its versions, each file size, each directory entry. m itself goes on unharmed, so
// one run can be crashed at many places.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	// Some crashes keep nearly everything or nearly nothing: uniform picks alone would hardly ever produce them.
	switch rng.IntN(8) {
	case 0:
		return m.CrashWith(func(int) int { return 0 })
	case 1:
		return m.CrashWith(func(n int) int { return n - 1 })
	case 2: // all but a few
		return m.CrashWith(func(n int) int {
			if rng.IntN(16) == 0 {
				return rng.IntN(n)
			}
			return n - 1
		})
	case 3: // only a few
		return m.CrashWith(func(n int) int {
			if rng.IntN(16) == 0 {
				return rng.IntN(n)
			}
			return 0
		})
	}
	return m.CrashWith(rng.IntN)
}

// CrashWith is Crash with the caller's picks: choose(n) returns a number in [0, n); 0 is always the durable state
// and n-1 the latest. Calls come in a fixed order for a fixed state, so a caller can enumerate all outcomes.
func (m *Mem) CrashWith(choose func(n int) int) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crasher{choose: choose, copies: map[*inode]*inode{}}
	out := &Mem{capacity: m.capacity}
	out.root = c.directory(m.root)
	for _, op := range m.pending {
		if choose(2) == 0 {
			continue
		}
		for _, e := range op.edits {
			dir := c.directory(e.dir)
			if e.node == nil {
				delete(dir.entries, e.name)
			} else {
				dir.entries[e.name] = c.shell(e.node)
			}
		}
	}
	c.settle(out, out.root)
	return out
}

type crasher struct {
	choose func(int) int
	copies map[*inode]*inode // old to new
}

// shell returns the copy of a node, without the content of a file.
func (c *crasher) shell(n *inode) *inode {
	if n.dir {
		return c.directory(n)
	}
	if cp := c.copies[n]; cp != nil {
		return cp
	}
	cp := &inode{mode: n.mode, dirty: map[int64][][]byte{}}
	c.copies[n] = cp
	return cp
}

// directory returns the copy of a directory with its durable entries.
func (c *crasher) directory(n *inode) *inode {
	if cp := c.copies[n]; cp != nil {
		return cp
	}
	cp := newDirNode(n.mode)
	c.copies[n] = cp
	for _, name := range slices.Sorted(maps.Keys(n.durEntries)) {
		cp.entries[name] = c.shell(n.durEntries[name])
	}
	return cp
}

// settle fills in the files that can be reached, in path order, and makes every entry durable.
func (c *crasher) settle(m *Mem, dir *inode) {
	origin := make(map[*inode]*inode, len(c.copies))
	for old, cp := range c.copies {
		origin[cp] = old
	}
	done := map[*inode]bool{}
	var walk func(*inode)
	walk = func(d *inode) {
		done[d] = true
		d.durEntries = maps.Clone(d.entries)
		for _, name := range slices.SortedFunc(maps.Keys(d.entries), cmp.Compare[string]) {
			n := d.entries[name]
			if done[n] {
				continue
			}
			if n.dir {
				walk(n)
				continue
			}
			done[n] = true
			c.content(origin[n], n)
			m.used += int64(len(n.data))
		}
	}
	walk(dir)
}

// content picks a size and a version of every dirty sector.
func (c *crasher) content(old, n *inode) {
	size := int64(len(old.durable))
	if len(old.sizes) > 0 {
		if i := c.choose(len(old.sizes) + 1); i > 0 {
			size = old.sizes[i-1]
		}
	}
	n.data = make([]byte, size)
	copy(n.data, old.durable)
	for _, s := range slices.Sorted(maps.Keys(old.dirty)) {
		versions := old.dirty[s]
		i := c.choose(len(versions) + 1)
		if from := s * SectorSize; i > 0 && from < size {
			copy(n.data[from:min(from+SectorSize, size)], versions[i-1])
		}
	}
	n.durable = slices.Clone(n.data)
}

// LoseUnsynced does what Linux does after a failed write-back: the unsynced bytes of a file stay visible but count as
// clean, so that no later Sync writes them; only writing them again does.
func (m *Mem) LoseUnsynced(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup(name)
	if err != nil {
		return pathErr("lose", name, err)
	}
	clear(n.dirty)
	return nil
}
