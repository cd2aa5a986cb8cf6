package sim

import (
	"encoding/binary"
	"slices"

	"github.com/chronik-io/chronik/internal/metalog"
)

// members are the members as the machines are now.
func (w *World) members() []metalog.Member {
	var all []metalog.Member
	for _, n := range w.nodes {
		all = append(all, n.disk.member)
	}
	return all
}

// claim is the oracle: it may name anybody, in a new term, one that somebody leads already, or an old one.
func (w *World) claim(n *node) {
	if n.core == nil {
		return
	}
	term := w.term
	switch y := w.rng.IntN(10); {
	case y < 6 || w.term == 0:
		w.term++
		term = w.term
	case y < 8:
	default:
		term = 1 + w.rng.Uint64N(w.term)
	}
	if own := n.core.Promised(); w.o.Core&(metalog.BugReuseEpoch|metalog.BugClaimByBootPromise) != 0 && own.Term > 0 && w.rng.IntN(2) == 0 {
		term = own.Term
	}
	w.elect(n, term)
}

func (w *World) elect(n *node, term uint64) {
	n.core.SetMembers(w.members())
	if w.o.Core&metalog.BugQuorumFromRaft != 0 {
		n.core.SetRaftVoters(metalog.VoterSet{Members: w.pending[w.rng.IntN(len(w.pending))]})
	}
	before := n.core.Role()
	n.core.Claim(term)
	switch {
	case before == metalog.RoleFollower && n.core.Role() != metalog.RoleFollower:
		w.Some.Elections++
		w.trace("node %d claims %d", n.id, term)
	case before == metalog.RoleFollower && term == n.core.Promised().Term:
		w.Some.DuplicateTermRefused++
	}
	w.after(n)
}

func (w *World) propose(n *node) {
	if n.core.Role() != metalog.RoleLeader {
		return
	}
	entries := make([]metalog.NewEntry, 1+w.rng.IntN(3))
	for i := range entries {
		w.values++
		entries[i] = metalog.NewEntry{Type: metalog.EntryNoop, Payload: binary.BigEndian.AppendUint64(nil, w.values)}
	}
	_, err := n.core.Propose(entries)
	if err == nil && w.rng.IntN(3) == 0 {
		_, _ = n.core.Propose(entries[:1]) // two proposals in one batch; the second may find the log full
	}
	w.after(n)
}

// changeVoters adds or removes one member: rather one whose disk is gone than any other.
func (w *World) changeVoters(n *node) {
	if n.core.Role() < metalog.RoleOpening {
		return
	}
	cur := n.core.VotersInForce().Members
	low := 1
	if w.weights[evRestore] > 0 {
		low = 2 // a single voter that is put back cannot be told by anybody
	}
	t := w.nodes[w.rng.IntN(len(w.nodes))].disk.member
	if i := slices.IndexFunc(cur, func(m metalog.Member) bool { return w.nodes[m.NodeID].disk.member != m }); i >= 0 && w.rng.IntN(2) == 0 {
		t = cur[i]
	}
	var next []metalog.Member
	switch i := slices.Index(cur, t); {
	case i >= 0 && len(cur) > low:
		next = slices.Delete(slices.Clone(cur), i, i+1)
	case i < 0 && len(cur) < 5:
		next = append(slices.Clone(cur), t)
	default:
		return
	}
	if w.o.Core&metalog.BugVotersByTwo != 0 {
		if m := w.nodes[w.rng.IntN(len(w.nodes))].disk.member; !slices.Contains(next, m) {
			next = append(next, m)
		}
	}
	n.core.SetMembers(w.members())
	if _, err := n.core.ChangeVoters(next); err == nil {
		w.Some.VotersChanged++
		w.pending = append(w.pending, next)
		w.trace("node %d: voters %v", n.id, next)
		if old := cur; len(next) > len(old) && w.nodes[t.NodeID].disk.member == t && t.NodeID < 6 && w.Some.Wipes > 0 {
			w.Some.Readded++
		}
		if w.o.Core&metalog.BugQuorumFromRaft != 0 {
			n.core.SetRaftVoters(metalog.VoterSet{Members: next})
		}
	}
	w.after(n)
}

// image writes an image of what is committed.
func (w *World) image(n *node) {
	d := n.disk
	if len(d.images) > 0 && d.images[0].Meta.At.End >= n.core.Commit() || n.core.Commit() == 0 {
		return
	}
	meta, ok := n.core.MetaAt()
	if !ok {
		return
	}
	d.images = append([]*metalog.ImageFile{{Meta: meta}}, d.images...)
	d.images = d.images[:min(len(d.images), 2)]
	n.core.ImageSaved(meta.At)
	w.after(n)
}

// recycle gives the oldest commits back, once an older image covers them and promise and fault mark stand in a newer commit.
func (w *World) recycle(n *node) {
	d := n.disk
	if n.carry > 0 || len(d.images) < 2 {
		return
	}
	keep := d.images[1].Meta.At.End
	to := d.first
	for to < d.synced-1 && !d.commits[to].damaged && !holdsFrom(&d.commits[to], keep) {
		to++
	}
	if to == d.first {
		return
	}
	n.carryTo = to
	if w.o.Disk&bugRecycleWithoutCarry != 0 {
		n.carry = n.batch
		w.carried(n, n.batch)
		return
	}
	n.core.Carry()
	w.after(n)
	n.carry = n.batch
}

func holdsFrom(c *commit, offset int64) bool {
	for i := range c.frames {
		if f := &c.frames[i]; f.Kind == metalog.FrameEntry && f.Entry.Offset >= offset {
			return true
		}
	}
	return false
}

// carried ends a recycling.
func (w *World) carried(n *node, batch int64) {
	if n.carry == 0 || batch < n.carry || !n.core.PromiseSafe() && w.o.Disk&bugRecycleWithoutCarry == 0 {
		return
	}
	d := n.disk
	start := int64(0)
	for i := d.first; i < n.carryTo; i++ {
		for j := range d.commits[i].frames {
			if f := &d.commits[i].frames[j]; f.Kind == metalog.FrameEntry {
				start = max(start, f.Entry.Offset+1)
			}
		}
	}
	start = min(start, d.images[len(d.images)-1].Meta.At.End) // the rest was of a log that an image replaced
	d.first, n.carry = n.carryTo, 0
	w.Some.Recycled++
	n.core.Recycled(start)
	if start > n.mirrorAt {
		n.mirror = append([]metalog.Entry(nil), n.mirror[min(start-n.mirrorAt, int64(len(n.mirror))):]...)
		n.mirrorAt = start
	}
}

// install sends an image to somebody who may not need it.
func (w *World) install(n *node) {
	if n.core.Role() < metalog.RoleOpening || len(n.disk.images) == 0 {
		return
	}
	to := w.nodes[w.rng.IntN(len(w.nodes))]
	if to != n {
		n.core.Install(to.disk.member, n.disk.images[w.rng.IntN(len(n.disk.images))])
		w.after(n)
	}
}

// io does what a node's files were asked for.
func (w *World) io(n *node) {
	switch {
	case n.storing != nil:
		n.disk.staged, n.storing = n.storing, nil
		n.core.ImageStored()
	case len(n.reads) > 0:
		r := n.reads[0]
		n.reads = n.reads[1:]
		w.Some.OldReads++
		n.core.EntriesRead(r, n.read(r))
	case len(n.images) > 0:
		r := n.images[0]
		n.images = n.images[1:]
		var file *metalog.ImageFile
		if len(n.disk.images) > 0 {
			file = n.disk.images[0]
		}
		n.core.ImageRead(r, file)
	default:
		return
	}
	w.after(n)
}

// read is the entries of a request: whole groups of committed entries.
func (n *node) read(r metalog.ReadRequest) []metalog.Entry {
	i, limit := r.Offset-n.mirrorAt, n.core.Commit()-n.mirrorAt
	if i < 0 || i >= limit {
		return nil
	}
	end, size := i, int64(0)
	for k := i; k < limit && (size < r.MaxBytes || end == i); k++ {
		size += int64(len(n.mirror[k].Payload)) + 44
		if !n.mirror[k].More {
			end = k + 1
		}
	}
	return slices.Clone(n.mirror[i:end])
}
