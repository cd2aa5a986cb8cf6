package sim

import (
	"slices"

	"github.com/chronik-io/chronik/internal/replica"
)

// pchecker remembers of one partition what no node may know.
type pchecker struct {
	committed []commitRec // by offset: what was ever below a high watermark
	records   map[epochStart]uint64
	acked     map[int32]ackedEnd // by node: what a leader was told last
	begun     map[int32]int32    // leader epoch to the node that led in it
	unclean   int32              // epoch of the last unclean election that the metadata has
	settled   int32              // epoch of the last one whose leader has begun
	deleted   int64              // the log start that any leader ever had
	values    map[uint64]int64   // committed values and their offsets
	tainted   map[int32]uint64   // nodes whose disk lost what it had said was durable, with the nonce then; until they leave ISR and ELR
}

type commitRec struct {
	rec
	by int32 // the leader epoch in which it was committed first
}

// ackedEnd is what a node has acked in a leader epoch, in which life.
type ackedEnd struct {
	epoch int32
	nonce uint64
	end   int64
	ever  int64 // in any life
}

func newPchecker() *pchecker {
	return &pchecker{records: map[epochStart]uint64{}, acked: map[int32]ackedEnd{}, begun: map[int32]int32{}, values: map[uint64]int64{}, tainted: map[int32]uint64{}}
}

func (c *pchecker) isTainted(id int32) bool {
	_, ok := c.tainted[id]
	return ok
}

// checkAppend holds that an epoch has one record at an offset, wherever it is.
func (w *plane) checkAppend(r *preplica, rc rec) {
	c := w.checks[r.p]
	k := epochStart{rc.epoch, r.log.End() - 1}
	if v, ok := c.records[k]; !ok {
		c.records[k] = rc.val
	} else if v != rc.val {
		w.fail("R10: node %d has value %d of epoch %d at offset %d of partition %d, another node has %d", r.m.id, rc.val, k.epoch, k.start, r.p, v)
	}
}

// checkSkip holds that a record which is taken for the leader's is the leader's.
func (w *plane) checkSkip(r *preplica, offset int64, rc rec) {
	if have, ok := r.log.at(offset); ok && have != rc {
		w.fail("R10: node %d keeps %v at offset %d of partition %d for the leader's %v", r.m.id, have, offset, r.p, rc)
	}
}

// checkBegin holds that a new leader has every record that was committed in lower epochs, and that an epoch has one leader.
func (w *plane) checkBegin(r *preplica) {
	c, epoch := w.checks[r.p], r.view.LeaderEpoch
	w.Some.Led++
	if by, ok := c.begun[epoch]; ok && by != r.m.id {
		w.fail("nodes %d and %d lead partition %d in epoch %d", by, r.m.id, r.p, epoch)
		return
	}
	c.begun[epoch] = r.m.id
	if c.unclean > c.settled && epoch >= c.unclean {
		c.settled = c.unclean
		w.cutCommitted(c, r)
	}
	if epoch < c.unclean {
		return
	}
	for i := int64(len(c.committed)); c.unclean > 0 && i < r.log.hw; i++ { // committed after the command by the former leader, or before another one
		rc, _ := r.log.at(i)
		c.committed = append(c.committed, commitRec{rc, rc.epoch})
		c.values[rc.val] = i
	}
	for i := max(c.deleted, 0); i < int64(len(c.committed)); i++ {
		if c.committed[i].by >= epoch {
			break
		}
		if rc, ok := r.log.at(i); !ok || rc != c.committed[i].rec {
			w.fail("node %d leads partition %d in epoch %d without the acked record %v at offset %d; its log is %d to %d", r.m.id, r.p, epoch,
				c.committed[i].rec, i, r.log.start, r.log.End())
			return
		}
	}
}

// cutCommitted takes what an unclean election has given up out of what was committed.
func (w *plane) cutCommitted(c *pchecker, r *preplica) {
	c.deleted = r.log.start
	for i := range c.committed {
		if rc, ok := r.log.at(int64(i)); int64(i) >= c.deleted && (!ok || rc != c.committed[i].rec) {
			for _, lost := range c.committed[i:] {
				delete(c.values, lost.val)
			}
			c.committed = c.committed[:i]
			w.Some.LostUnclean++
			return
		}
	}
}

// checkAdvance holds what a rising high watermark means: these records are acknowledged.
func (w *plane) checkAdvance(r *preplica, from, to int64) {
	c, epoch := w.checks[r.p], r.view.LeaderEpoch
	if epoch < c.unclean {
		return // given up by an operator's command
	}
	for i := max(from, r.log.start); i < to; i++ {
		rc, ok := r.log.at(i)
		if !ok {
			w.fail("node %d partition %d: high watermark %d, the log ends at %d", r.m.id, r.p, to, r.log.End())
			return
		}
		switch n := int64(len(c.committed)); {
		case i < n && c.committed[i].rec != rc:
			w.fail("acked record %v at offset %d of partition %d is rewritten to %v by node %d in epoch %d", c.committed[i].rec, i, r.p, rc, r.m.id, epoch)
			return
		case i == n:
			if at, ok := c.values[rc.val]; ok && !w.deletes {
				w.fail("R12: value %d of partition %d stands at %d and at %d", rc.val, r.p, at, i)
				return
			}
			c.committed = append(c.committed, commitRec{rc, epoch})
			c.values[rc.val] = i
			w.Some.Committed++
		case i > n:
			w.fail("node %d partition %d commits %d; only %d are known", r.m.id, r.p, i, n)
			return
		}
	}
	w.checkInSync(r, from, to)
}

// checkInSync holds that everything below the high watermark is on the disk of every member of the ISR, as the leader has it and as the
// metadata has it.
func (w *plane) checkInSync(r *preplica, from, to int64) {
	members := r.view.ISR
	_, now := w.history.partition(w.history.head(), r.p)
	if now.LeaderEpoch == r.view.LeaderEpoch {
		for _, id := range now.ISR {
			if !slices.Contains(members, id) {
				members = append(slices.Clone(members), id)
			}
		}
	}
	for _, id := range members {
		m := w.machines[id]
		if m.wiped || w.checks[r.p].isTainted(id) || m.replaced && !now.InISR(id) {
			continue
		}
		d := &m.wal.disk[r.p]
		for i := max(from, d.start); i < to; i++ {
			if rc, ok := d.at(i); i >= w.checks[r.p].deleted && (!ok || rc != mustAt(&r.log, i)) {
				if now.LeaderEpoch > r.view.LeaderEpoch && d.start <= i {
					continue // it has moved on: who was elected is looked at when it begins
				}
				w.fail("R4: high watermark %d of partition %d at node %d in epoch %d, and offset %d is not on the disk of node %d, which is in the ISR", to, r.p,
					r.m.id, r.view.LeaderEpoch, i, id)
				return
			}
		}
	}
}

func mustAt(l *plog, i int64) rec {
	rc, _ := l.at(i)
	return rc
}

// checkFollowerMark holds that a follower takes nothing for committed that is not.
func (w *plane) checkFollowerMark(r *preplica) {
	c := w.checks[r.p]
	if r.view.LeaderEpoch < c.unclean {
		return
	}
	n := int64(len(c.committed))
	if r.log.hw > n {
		w.fail("node %d follows partition %d with high watermark %d; %d are committed", r.m.id, r.p, r.log.hw, n)
		return
	}
	if i := r.log.hw - 1; i >= r.log.start && i >= c.deleted && mustAt(&r.log, i) != c.committed[i].rec {
		w.fail("node %d follows partition %d with high watermark %d, and has %v below it for %v", r.m.id, r.p, r.log.hw, mustAt(&r.log, i), c.committed[i].rec)
	}
}

// checkAck holds that what a leader counts is on the follower's disk, as long as the follower knows of no later epoch.
func (w *plane) checkAck(r *preplica, x *stream, epoch int32, end int64) {
	c := w.checks[r.p]
	m := x.to
	if epoch == r.leading.Epoch() && r.shortOf[m.id] <= end {
		delete(r.shortOf, m.id) // it has got it again
	}
	if epoch != r.leading.Epoch() || m.wiped || c.isTainted(m.id) || m.replaced && m.nonce != x.toNonce {
		return
	}
	before := c.acked[m.id]
	next := ackedEnd{epoch: epoch, nonce: x.toNonce, end: end, ever: end}
	if before.epoch == epoch {
		next.ever = max(end, before.ever)
		if before.nonce == x.toNonce {
			next.end = max(end, before.end)
		}
	}
	c.acked[m.id] = next
	f := m.replicas[r.p]
	if m.up && m.nonce == x.toNonce && f != nil && f.view.LeaderEpoch != epoch {
		return
	}
	d := &m.wal.disk[r.p]
	if i := end - 1; i >= d.start && i >= r.log.start {
		if rc, ok := d.at(i); !ok || rc != mustAt(&r.log, i) {
			if _, p := w.history.partition(w.history.head(), r.p); p.LeaderEpoch != epoch {
				return // it may have lived on in a later epoch and be down
			}
			w.fail("R3: node %d has acked partition %d up to %d in epoch %d to node %d, and has not %v on its disk but %v", m.id, r.p, end, epoch, r.m.id,
				mustAt(&r.log, i), rc)
		}
	}
}

// checkTruncate holds that a follower cuts nothing that it has acked in the epoch, nor what is materialised.
func (w *plane) checkTruncate(r *preplica, to int64) {
	a := w.checks[r.p].acked[r.m.id]
	if r.following != nil && a.epoch == r.view.LeaderEpoch && a.nonce == r.m.nonce && to < a.end {
		w.fail("R10: node %d cuts partition %d to %d in epoch %d, in which it has acked %d", r.m.id, r.p, to, a.epoch, a.end)
	}
	if to < r.log.mat {
		w.fail("node %d cuts partition %d to %d, materialised up to %d", r.m.id, r.p, to, r.log.mat)
	}
}

// checkReset holds that a follower gives nothing up that it has acked in the epoch, except what the leader has deleted.
func (w *plane) checkReset(r *preplica, to int64) {
	a := w.checks[r.p].acked[r.m.id]
	if r.following != nil && a.epoch == r.view.LeaderEpoch && a.nonce == r.m.nonce && to < a.end && r.log.start < a.end {
		w.fail("R10: node %d begins partition %d anew at %d in epoch %d, in which it has acked %d", r.m.id, r.p, to, a.epoch, a.end)
	}
}

// told takes note that a leader has heard where a follower's log ends.
func (w *plane) told(r *preplica, x *stream, ref *replica.Refusal) {
	a := w.checks[r.p].acked[x.to.id]
	if !ref.NotReady && a.epoch == r.leading.Epoch() && ref.LogEnd < a.ever {
		if r.shortOf == nil {
			r.shortOf = map[int32]int64{}
		}
		r.shortOf[x.to.id] = a.ever
	}
}

// checkLoss holds R8: a follower that lacks what it had acked leaves the ISR before anything else.
func (w *plane) checkLoss(r *preplica, hadPending bool, p *replica.Proposal) {
	for _, l := range r.links {
		end, short := r.shortOf[l.to]
		if !short {
			continue
		}
		if f := w.machines[l.to].replicas[r.p]; f == nil || f.log.End() >= end || !slices.Contains(r.view.ISR, l.to) || hadPending {
			continue
		}
		w.Some.LossSeen++
		if p == nil || slices.Contains(p.ISR, l.to) {
			w.fail("R8: node %d lacks what it had acked of partition %d up to %d, and its leader %d leaves it in the ISR", l.to, r.p, end, r.m.id)
			return
		}
	}
}

// noteBlocked counts high watermarks that wait for somebody who is only proposed.
func (w *plane) noteBlocked(r *preplica) {
	if r.leading.Pending() && r.durable > r.leading.HighWatermark() {
		w.Some.HWBlocked++
	}
}
