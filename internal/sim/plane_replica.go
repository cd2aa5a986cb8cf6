package sim

import (
	"errors"
	"slices"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/replica"
)

// preplica is a replica on a machine while its process runs: what replica.Replica does around the cores, without its goroutines.
type preplica struct {
	m       *machine
	p       int
	log     plog
	gen     int
	durable int64 // own durable end

	view      *replica.View
	leads     bool
	leading   *replica.LeaderCore
	following *replica.FollowerCore
	links     []*link
	shortOf   map[int32]int64 // by follower: what it had acked in this epoch, when it said that it has less
	waits     []*produce      // acks=all, in the order of their ends
}

func (r *preplica) linkTo(id int32) *link {
	for _, l := range r.links {
		if l.to == id {
			return l
		}
	}
	return nil
}

// op does one step of the log and puts it into the WAL.
func (w *plane) op(r *preplica, op walOp) {
	op.p = r.p
	switch op.kind {
	case opTruncate:
		w.checkTruncate(r, op.off)
		r.gen++
		r.durable = min(r.durable, op.off)
	case opReset:
		w.Some.Resets++
		w.checkReset(r, op.off)
		r.gen++
		r.durable = op.off
	}
	op.gen = r.gen
	r.log.apply(&op)
	r.m.wal.append(op)
	if op.kind == opAppend {
		w.checkAppend(r, op.rec)
	}
}

// synced tells a machine's replicas what has become durable.
func (w *plane) synced(m *machine, ops []walOp) {
	for i := range ops {
		op := &ops[i]
		r := m.replicas[op.p]
		if r == nil || op.gen != r.gen {
			continue
		}
		switch op.kind {
		case opAppend, opTruncate, opReset:
			end := op.off
			if op.kind == opAppend {
				end++
			}
			r.durable = max(r.durable, end)
		}
	}
	for _, r := range m.replicas {
		if r == nil || r.leading == nil || !r.leads {
			continue
		}
		end := r.durable
		if w.o.Replica&replica.BugAckBeforeSync != 0 {
			end = r.log.End()
		}
		r.leading.Durable(end)
		w.advance(r)
	}
}

// advance raises the high watermark as far as it may go and answers who waited for that.
func (w *plane) advance(r *preplica) {
	c := r.leading
	if c == nil || !r.leads || w.failure != "" {
		return
	}
	before := c.HighWatermark()
	moved := c.Advance()
	if c.HighWatermark() < before {
		w.fail("high watermark of partition %d goes back from %d to %d in epoch %d", r.p, before, c.HighWatermark(), c.Epoch())
	}
	if !moved {
		w.noteBlocked(r)
		return
	}
	hw := c.HighWatermark()
	w.checkAdvance(r, before, hw)
	r.log.hw = max(r.log.hw, hw)
	w.trace("node %d partition %d: high watermark %d", r.m.id, r.p, hw)
	for len(r.waits) > 0 && r.waits[0].end <= hw {
		w.acked(r, r.waits[0])
		r.waits = r.waits[1:]
	}
}

// update takes over the partition's state from a newer image, as replica.Replica.update does.
func (w *plane) update(r *preplica, v *replica.View, leads bool) {
	old := r.view
	newEpoch := old == nil || old.LeaderEpoch != v.LeaderEpoch || old.Leader != v.Leader
	if newEpoch || r.leads != leads {
		r.leads = false
		w.failWaits(r)
	}
	r.view = v
	switch {
	case !newEpoch && r.leading != nil && v.Leader == r.m.id:
		r.leading.Follow(v, w.now)
		w.connectAll(r)
		r.leads = leads
	case leads:
		w.begin(r)
	default:
		w.follow(r, newEpoch)
	}
	w.advance(r)
	if len(v.ISR) < v.MinISR {
		w.failWaits(r)
	}
}

// begin makes a machine lead in the view's epoch, from the log's end on.
func (w *plane) begin(r *preplica) {
	v := r.view
	if c := w.checks[r.p]; c.unclean > c.settled { // a crash of it in these milliseconds would lose more, of what an operator has given up
		w.synced(r.m, r.m.wal.sync())
		w.synced(r.m, r.m.wal.sync())
	}
	r.log.begin(v.LeaderEpoch)
	r.following = nil
	durable := r.durable
	if w.o.Replica&replica.BugAckBeforeSync != 0 {
		durable = r.log.End()
	}
	r.leading = replica.NewLeaderCore(r.m.id, v, &r.log, durable, r.log.hw, w.now, w.o.Replica)
	r.leads = true
	r.links, r.shortOf = nil, nil
	w.trace("node %d leads partition %d in epoch %d from %d, hw %d, isr %v elr %v", r.m.id, r.p, v.LeaderEpoch, r.log.End(), r.log.hw, v.ISR, v.ELR)
	w.connectAll(r)
	w.checkBegin(r)
}

// connectAll keeps one link for each follower of the view.
func (w *plane) connectAll(r *preplica) {
	old := r.links
	r.links = nil
	for i := range r.view.Members {
		id := r.view.Members[i].ID
		if id == r.m.id {
			continue
		}
		if j := slices.IndexFunc(old, func(l *link) bool { return l.to == id }); j >= 0 {
			r.links = append(r.links, old[j])
			continue
		}
		l := &link{to: id, sentHW: -1, sentStart: -1}
		r.links = append(r.links, l)
		if x := r.m.session[id]; x != nil {
			r.leading.Connected(id, x.brokerEpoch, x.window.Current(), w.now)
			l.probe, l.after = true, x.window.Current()
		}
	}
}

// follow makes a machine follow in the view's epoch, or in none.
func (w *plane) follow(r *preplica, newEpoch bool) {
	r.leading, r.links = nil, nil
	if r.following == nil {
		r.following = replica.NewFollowerCore(r.m.id, r.view, &r.log, w.o.Replica)
	} else {
		r.following.Follow(r.view)
	}
	if !newEpoch {
		return
	}
	if w.o.Replica&replica.BugTruncateToHW != 0 && r.log.hw < r.log.End() {
		w.op(r, walOp{kind: opTruncate, off: max(r.log.hw, r.log.start)})
	}
	w.announce(r, r.view)
}

// receive gives a part of a push to its replica. false: the process or the stream has ended.
func (w *plane) receive(x *stream, pt *part) (*replica.Refusal, bool) {
	r := x.to.replicas[pt.p]
	if r == nil || r.following == nil || !x.to.registered {
		return &replica.Refusal{NotReady: true}, true
	}
	p := &pt.push
	fits, ref, err := r.following.Check(p, r.log.hw)
	if err != nil {
		w.diverged(r, err)
		return nil, false
	}
	if !fits {
		return &ref, true
	}
	if p.Reset {
		w.trace("node %d partition %d begins anew at %d", r.m.id, r.p, p.Base)
		w.op(r, walOp{kind: opReset, off: p.Base})
	}
	refusal, ok := w.place(r, pt)
	if refusal != nil || !ok {
		return refusal, ok
	}
	w.trace("node %d takes %d of partition %d at %d, epoch %d; log end %d", r.m.id, len(pt.recs), r.p, p.Base, p.LeaderEpoch, r.log.End())
	if hw := r.following.Verify(p, p.Base+int64(len(pt.recs))); hw > r.log.hw {
		r.log.hw = hw
		w.checkFollowerMark(r)
	}
	if start := min(p.LogStart, r.log.hw, r.log.End()); start > r.log.start {
		w.op(r, walOp{kind: opStart, off: start})
	}
	return nil, true
}

// place puts the records of a part that fits into the log.
func (w *plane) place(r *preplica, pt *part) (*replica.Refusal, bool) {
	for i, rc := range pt.recs {
		base := pt.push.Base + int64(i)
		place, err := r.following.Place(base, rc.epoch, r.log.hw)
		if err != nil {
			w.diverged(r, err)
			return nil, false
		}
		switch place {
		case replica.PlaceSkip:
			w.checkSkip(r, base, rc)
			continue
		case replica.PlaceTruncate, replica.PlaceUnclean:
			w.Some.Truncated++
			w.trace("node %d partition %d is cut to %d, end %d, unclean %v", r.m.id, r.p, base, r.log.End(), place == replica.PlaceUnclean)
			if base < r.log.mat {
				if place == replica.PlaceTruncate {
					w.fail("node %d partition %d is cut to %d, materialised up to %d", r.m.id, r.p, base, r.log.mat)
					return nil, false
				}
				w.op(r, walOp{kind: opReset, off: r.log.start})
				ref := r.following.Ready()
				return &ref, true
			}
			w.op(r, walOp{kind: opTruncate, off: base})
		}
		w.op(r, walOp{kind: opAppend, off: base, rec: rc})
	}
	return nil, true
}

// diverged is a process that stops because its log contradicts its leader's.
func (w *plane) diverged(r *preplica, err error) {
	if !errors.Is(err, replica.ErrDiverged) {
		w.fail("node %d: %v", r.m.id, err)
		return
	}
	w.fail("node %d partition %d stops: %v", r.m.id, r.p, err)
}

// apply brings a machine's replicas in line with a version of the metadata.
func (w *plane) apply(m *machine, version int) {
	m.view = version
	im := w.history.images[version]
	br, before := im.Broker(m.id), m.registered
	m.registered = br != nil && br.Incarnation == m.inc
	if br != nil && w.o.Replica&replica.BugLeadsUnregistered != 0 {
		m.registered = true
	}
	w.trace("node %d sees version %d, registered %v", m.id, version, m.registered)
	for p := range m.replicas {
		v := w.history.view(version, p)
		if v == nil {
			continue
		}
		r := m.replicas[p]
		if r == nil {
			r = &preplica{m: m, p: p, log: m.wal.disk[p].clone()}
			r.durable = r.log.End()
			m.replicas[p] = r
		}
		w.update(r, v, m.registered && !m.isolated && v.Leader == m.id)
		if !before && m.registered && r.following != nil {
			w.announce(r, v) // before, it has refused what was pushed
		}
		if w.failure != "" {
			return
		}
	}
}

// reapply follows a change of what the machine may do, in the same image.
func (w *plane) reapply(m *machine) {
	if m.view >= 0 {
		w.apply(m, m.view)
	}
}

// leaderOf is the machine that leads a partition as it believes, in the highest epoch; nil for none.
func (w *plane) leaderOf(p int) *preplica {
	var best *preplica
	for _, m := range w.machines {
		if r := m.replicas[p]; m.up && r != nil && r.leads && (best == nil || r.view.LeaderEpoch > best.view.LeaderEpoch) {
			best = r
		}
	}
	return best
}

const noLeader = metadata.NoLeader
