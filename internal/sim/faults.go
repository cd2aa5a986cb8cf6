package sim

import (
	"slices"

	"github.com/chronik-io/chronik/internal/metalog"
)

// crash ends a process, with or without the power of its machine.
func (w *World) crash(n *node) {
	if n.core == nil {
		return
	}
	power := w.rng.IntN(100) < w.power
	w.Some.Crashes++
	if power {
		w.Some.PowerLosses++
	}
	w.trace("node %d crashes, power %v", n.id, power)
	n.disk.crash(power, w.rng.IntN(2) == 0, w.o.Disk)
	n.core = nil
	if w.onCrash != nil {
		w.onCrash(n)
	}
}

// wipe gives a machine an empty disk: it is another member from then on.
func (w *World) wipe(n *node) {
	if w.Some.Wipes >= 2 || w.Some.Restores > 0 || n.restored {
		return
	}
	w.crash(n)
	w.Some.Wipes++
	n.disk = w.newDisk(n.id)
	n.said, n.refused, n.banned, n.backup = metalog.Ballot{}, false, false, nil
	n.mirror, n.mirrorAt = nil, 0
	w.trace("node %d wiped", n.id)
}

// damage makes a commit unreadable, as rot does; it is found at the next start. The last commit is spared: that one may be torn, and
// no log can tell one from the other.
func (w *World) damage(n *node) {
	d := n.disk
	last := d.synced - 1
	if last-d.first < 1 || n.refused || n.restored {
		return
	}
	i := d.first + w.rng.IntN(last-d.first)
	if w.rng.IntN(2) == 0 { // recent ones matter more
		i = max(d.first, last-1-w.rng.IntN(3))
	}
	d.commits[i].damaged = true
	if w.rng.IntN(8) == 0 && i+1 < last {
		d.commits[i+1].damaged = true
	}
	w.trace("node %d: commit %d damaged", n.id, i)
	if n.core != nil && w.rng.IntN(2) == 0 {
		w.crash(n)
	}
}

// restore puts a disk back to an older state, as the restart of a virtual machine from a backup does. It is done only when all other
// members, any of which may lead, know of the boot that is forgotten: nothing else can tell.
func (w *World) restore(n *node) {
	b := n.backup
	if b == nil || b.member != n.disk.member || w.Some.Restores > 0 || w.Some.Wipes > 0 || w.weights[evDamage] > 0 || n.refused {
		return
	}
	for _, other := range w.nodes {
		if other != n && other.knows(b.member) < b.boot+1 {
			return
		}
	}
	w.crash(n)
	w.Some.Restores++
	w.trace("node %d restored from boot %d to %d", n.id, n.disk.boot, b.boot)
	n.disk, n.backup, n.restored = b, nil, true
	n.said = metalog.Ballot{}
}

// knows is the highest boot of a member of which this node's disk says that it was heard.
func (n *node) knows(m metalog.Member) uint64 {
	boot := uint64(0)
	d := n.disk
	for i := d.first; i < d.synced; i++ {
		for j := range d.commits[i].frames {
			if f := &d.commits[i].frames[j]; f.Kind == metalog.FramePeer && f.Peer.Member == m {
				boot = max(boot, f.Peer.Boot)
			}
		}
	}
	return boot
}

// mangle changes entries of a message under way: one is missing, comes twice, or does not follow the one before.
func (w *World) mangle() {
	if len(w.net) == 0 {
		return
	}
	i := w.rng.IntN(len(w.net))
	if len(w.net[i].Entries) == 0 {
		return
	}
	m := *w.net[i] // the one under way may be delivered again, or be another's
	m.Entries = slices.Clone(m.Entries)
	k := w.rng.IntN(len(m.Entries))
	switch w.rng.IntN(3) {
	case 0:
		m.Entries = slices.Delete(m.Entries, k, k+1)
	case 1:
		m.Entries = slices.Insert(m.Entries, k, m.Entries[k])
	default:
		m.Entries[k].PrevHash[0] ^= 1
	}
	w.net[i] = &m
	w.Some.Mangled++
}

// link cuts or heals one direction between two nodes, cuts all of one node, or heals all.
func (w *World) link() {
	a, b := w.rng.IntN(len(w.nodes)), w.rng.IntN(len(w.nodes))
	switch w.rng.IntN(6) {
	case 0, 1:
		for i := range w.cut {
			clear(w.cut[i])
		}
		return
	case 2: // a node alone
		for i := range w.cut {
			w.cut[a][i], w.cut[i][a] = true, true
		}
		return
	}
	w.cut[a][b] = !w.cut[a][b]
}
