package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/chronik-io/chronik/internal/metalog"
)

// liveness is the end of a run: no more faults. If a majority of the voters is there and has lost nothing, a new entry must be
// committed, and all members must get it.
func (w *World) liveness() {
	for i := range w.cut {
		clear(w.cut[i])
	}
	for _, n := range w.nodes {
		w.start(n)
	}
	target, candidate, waited := int64(-1), 0, 100
	for round := 0; round < 600 && w.failure == ""; round++ {
		w.step++
		w.settle()
		w.findBanned()
		leader := w.leader()
		switch {
		case w.failure != "":
			return
		case leader == nil:
			if waited++; waited > 30 {
				w.electNext(&candidate)
				waited = 0
			}
		case leader.core.Contested() && (target < 0 || !w.converged(target)):
			// A member has promised another ballot of the same term; only a new term gets it back.
			w.electNext(&candidate)
			target = -1
		case target < 0:
			leader.core.SetMembers(w.members())
			first, err := leader.core.Propose([]metalog.NewEntry{{Type: metalog.EntryNoop, Payload: binary.BigEndian.AppendUint64(nil, 0)}})
			if err == nil {
				target = first + 1
			}
			w.after(leader)
		case w.converged(target):
			w.Some.Lively++
			return
		}
	}
	if w.failure != "" {
		return
	}
	if !w.majority() {
		w.Some.Excused++
		return
	}
	w.fail("I14: no progress: %s", w.describe())
}

// present reports whether a node takes part in the end of the run.
func present(n *node) bool { return n.core != nil && !n.restored && !n.banned }

// findBanned takes note of members that others do not hear any more: restored ones, and those that lost the record of a start to damage.
func (w *World) findBanned() {
	for _, n := range w.nodes {
		for _, o := range w.nodes {
			if o.core != nil && o.core.Banned(n.disk.member) && !n.banned {
				n.banned = true
				if !n.restored {
					w.Some.BannedByDamage++
				}
			}
		}
	}
}

// settle delivers what is under way, in order, and does all writes and reads.
func (w *World) settle() {
	net := w.net
	w.net = nil
	for _, m := range net {
		if present(w.nodes[m.From.NodeID]) && present(w.nodes[m.To.NodeID]) {
			w.deliver(m)
		}
		if w.failure != "" {
			return
		}
	}
	for _, n := range w.nodes {
		if !present(n) {
			continue
		}
		for n.disk.synced < len(n.disk.commits) && w.failure == "" {
			w.sync(n)
		}
		for (n.storing != nil || len(n.reads)+len(n.images) > 0) && w.failure == "" {
			w.io(n)
		}
		n.core.Tick()
		w.after(n)
	}
}

func (w *World) leader() *node {
	var best *node
	for _, n := range w.nodes {
		if present(n) && n.core.Role() == metalog.RoleLeader && n.core.Promised().Term >= w.highest() {
			best = n
		}
	}
	return best
}

func (w *World) highest() uint64 {
	t := uint64(0)
	for _, n := range w.nodes {
		if present(n) {
			t = max(t, n.core.Promised().Term)
		}
	}
	return t
}

func (w *World) electNext(candidate *int) {
	for range w.nodes {
		n := w.nodes[*candidate%len(w.nodes)]
		*candidate++
		if present(n) && !n.core.Faulty() {
			w.term = max(w.term, w.highest()) + 1
			w.elect(n, w.term)
			return
		}
	}
}

// converged reports whether all members have committed up to the target.
func (w *World) converged(target int64) bool {
	for _, n := range w.nodes {
		if present(n) && (n.core.Commit() < target || n.core.Faulty()) {
			return false
		}
	}
	return true
}

// majority reports whether the voters of the best log that nothing is missing from are there, by more than half.
func (w *World) majority() bool {
	var best *node
	for _, n := range w.nodes {
		if !present(n) || n.core.Faulty() {
			continue
		}
		if best == nil || n.lastEpoch() > best.lastEpoch() || n.lastEpoch() == best.lastEpoch() && n.core.End() > best.core.End() {
			best = n
		}
	}
	if best == nil {
		return false
	}
	v := best.core.VotersInForce()
	there := 0
	for _, m := range v.Members {
		if n := w.nodes[m.NodeID]; n.disk.member == m && present(n) && !n.core.Faulty() {
			there++
		}
	}
	return there >= v.Majority()
}

func (n *node) lastEpoch() uint64 { return n.core.LastEpoch() }

func (w *World) describe() string {
	s := ""
	for _, n := range w.nodes {
		if n.core == nil {
			s += fmt.Sprintf(" %d: down", n.id)
			continue
		}
		s += fmt.Sprintf(" %d: %s promised %v commit %d end %d faulty %v;", n.id, n.core.Role(), n.core.Promised(), n.core.Commit(), n.core.End(), n.core.Faulty())
	}
	return s
}
