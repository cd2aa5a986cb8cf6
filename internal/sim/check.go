package sim

import (
	"slices"

	"github.com/chronik-io/chronik/internal/metalog"
)

// checker remembers what no node may know: everything that ever happened.
type checker struct {
	committed []committedEntry
	entries   map[entryKey]metalog.Hash
	starts    map[uint64]metalog.Hash // EpochStart entries by epoch
	voters    []metalog.Member        // committed last
}

type committedEntry struct {
	hash metalog.Hash
	term uint64 // of the ballot that committed it first
	more bool
}

type entryKey struct {
	epoch  uint64
	offset int64
}

func (c *checker) init() {
	c.entries, c.starts = make(map[entryKey]metalog.Hash), make(map[uint64]metalog.Hash)
}

// checkEntry looks at an entry that a node has put into its log.
func (w *World) checkEntry(n *node, e *metalog.Entry, own bool) {
	k := entryKey{e.Epoch, e.Offset}
	if h, ok := w.check.entries[k]; !ok {
		w.check.entries[k] = e.Hash
	} else if h != e.Hash {
		w.fail("I3: node %d has another entry of epoch %d at offset %d", n.id, e.Epoch, e.Offset)
	}
	w.checkChain(n, e)
	if own && e.Type == metalog.EntryVoters {
		for i := max(n.core.Commit()-n.mirrorAt, 0); i < e.Offset-n.mirrorAt; i++ {
			if n.mirror[i].Type == metalog.EntryVoters {
				w.fail("I10: node %d changes the voters at offset %d while the change at %d is not committed", n.id, e.Offset, n.mirrorAt+i)
				return
			}
		}
	}
	if e.Type != metalog.EntryEpochStart {
		return
	}
	if h, ok := w.check.starts[e.Epoch]; ok && h != e.Hash {
		w.fail("I2: two ballots write in epoch %d; the second is on node %d", e.Epoch, n.id)
	}
	w.check.starts[e.Epoch] = e.Hash
	if own && e.Epoch == n.core.Promised().Term {
		w.checkOpen(n, e)
	}
}

// checkChain holds that an entry follows the one before it in the node's log.
func (w *World) checkChain(n *node, e *metalog.Entry) {
	i := e.Offset - n.mirrorAt - 1
	if i == -1 {
		return // the first entry, or the first after an image
	}
	if i < 0 || i >= int64(len(n.mirror)) {
		w.fail("I4: node %d puts offset %d behind a log that ends at %d", n.id, e.Offset, n.mirrorAt+int64(len(n.mirror)))
		return
	}
	if last := &n.mirror[i]; last.Hash != e.PrevHash || last.Epoch > e.Epoch {
		w.fail("I4: node %d puts an entry of epoch %d at offset %d behind one of epoch %d that it does not follow", n.id, e.Epoch, e.Offset, last.Epoch)
	}
}

// checkOpen holds that a log in which an epoch begins has everything that lower ballots have committed.
func (w *World) checkOpen(n *node, e *metalog.Entry) {
	w.Some.Opened++
	if n.core.VotersInForce().Offset >= int64(len(w.check.committed)) {
		w.Some.VotersSurvived++
	}
	end := int64(len(w.check.committed))
	for end > 0 && w.check.committed[end-1].term >= e.Epoch {
		end--
	}
	if e.Offset < end {
		w.fail("I5: node %d opens epoch %d at offset %d, but lower ones have committed up to %d", n.id, e.Epoch, e.Offset, end)
		return
	}
	if i := end - 1 - n.mirrorAt; end > 0 && i >= 0 && i < int64(len(n.mirror)) && n.mirror[i].Hash != w.check.committed[end-1].hash {
		w.fail("I5: node %d opens epoch %d with another entry at offset %d, which is committed", n.id, e.Epoch, end-1)
	}
}

// checkCommit looks at what a node has newly committed: it applies it.
func (w *World) checkCommit(n *node) {
	to := n.core.Commit()
	if to < n.committed {
		w.fail("I6: the commit of node %d falls from %d to %d", n.id, n.committed, to)
	}
	if start := n.core.EpochStartOffset(); to > n.committed && n.core.Role() >= metalog.RoleOpening && to <= start {
		w.fail("I7: node %d leads and commits up to %d, before its epoch's start at %d", n.id, to, start)
	}
	n.committed = to
	for ; n.applied < to && w.failure == ""; n.applied++ {
		i := n.applied - n.mirrorAt
		if i < 0 || i >= int64(len(n.mirror)) {
			w.fail("I12: node %d commits offset %d, which is not in its log", n.id, n.applied)
			return
		}
		e := &n.mirror[i]
		if n.applied < int64(len(w.check.committed)) {
			if w.check.committed[n.applied].hash != e.Hash {
				w.fail("node %d commits %d of epoch %d, where another entry was committed before", n.id, n.applied, e.Epoch)
			}
			continue
		}
		w.check.committed = append(w.check.committed, committedEntry{e.Hash, n.core.Promised().Term, e.More})
		w.Some.Commits++
		if w.onCommit != nil {
			w.onCommit(e)
		}
		w.checkVoters(n, e)
		if n.core.Role() >= metalog.RoleOpening {
			w.checkMajority(n, e)
		}
	}
	if to > 0 && to <= int64(len(w.check.committed)) && w.check.committed[to-1].more && w.failure == "" {
		w.fail("node %d commits up to %d: half a proposal", n.id, to)
	}
	if to > n.core.Durable() {
		w.fail("I6: node %d commits up to %d, durable is %d", n.id, to, n.core.Durable())
	}
}

// checkVoters holds that successive sets of voters differ by one member.
func (w *World) checkVoters(n *node, e *metalog.Entry) {
	if e.Type != metalog.EntryVoters {
		return
	}
	v, err := metalog.DecodeVoters(e)
	if err != nil {
		w.fail("node %d: %v", n.id, err)
		return
	}
	differ := 0
	for _, m := range v.Members {
		if !slices.Contains(w.check.voters, m) {
			differ++
		}
	}
	for _, m := range w.check.voters {
		if !v.Has(m) {
			differ++
		}
	}
	if differ > 1 {
		w.fail("I10: %d members differ between the voters at offset %d and those before", differ, e.Offset)
	}
	w.check.voters = v.Members
}

// checkMajority holds that an entry is on the disks of a majority of the voters that its controller uses. Disks of nodes that are down
// are not looked at.
func (w *World) checkMajority(n *node, e *metalog.Entry) {
	voters := n.core.VotersInForce()
	missing := 0
	for _, m := range voters.Members {
		v := w.nodes[m.NodeID]
		if v.disk.member != m || v.core == nil || v.restored {
			continue // gone or down: not known
		}
		if i := e.Offset - v.mirrorAt; i < 0 {
			continue // in an image
		} else if i >= int64(len(v.mirror)) || v.mirror[i].Hash != e.Hash || v.core.Durable() <= e.Offset {
			if !v.core.Faulty() && v.core.Promised().Term <= n.core.Promised().Term {
				missing++
			}
		}
	}
	if missing > len(voters.Members)-voters.Majority() {
		w.fail("I8: offset %d is committed, and missing on %d of %d voters", e.Offset, missing, len(voters.Members))
	}
}

// checkImage looks at an image that took the place of a log.
func (w *World) checkImage(n *node, at metalog.Position) {
	if at.End > int64(len(w.check.committed)) || w.check.committed[at.End-1].hash != at.Hash {
		w.fail("I9: node %d installs an image at %d that is not of this log", n.id, at.End)
	}
}

// checkStart looks at what a node says after a start: never less than it has said before.
func (w *World) checkStart(n *node, r metalog.Recovered) {
	if r.Promised.Term < n.said.Term {
		w.fail("I1: node %d starts with promise %v, after it has said %v", n.id, r.Promised, n.said)
	}
	if r.Commit > int64(len(w.check.committed)) {
		w.fail("I6: node %d starts with commit %d; %d are committed", n.id, r.Commit, len(w.check.committed))
	}
}

// refuse takes note of a node that does not start: it must have a reason.
func (w *World) refuse(n *node, err error) {
	damaged := 0
	for i := n.disk.first; i < len(n.disk.commits); i++ {
		if n.disk.commits[i].damaged {
			damaged++
		}
	}
	if damaged < 2 {
		w.fail("node %d does not start, with %d commits damaged: %v", n.id, damaged, err)
		return
	}
	n.refused = true
	w.Some.PromiseLost++
	w.trace("node %d does not start: %v", n.id, err)
}
