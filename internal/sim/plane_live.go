package sim

import (
	"fmt"
	"slices"
)

// liveness is the end of a run: no more faults. Every partition of which somebody eligible is left must get a leader, a new record must be
// acknowledged, and all replicas must become equal.
func (w *plane) liveness() {
	for i := range w.cut {
		clear(w.cut[i])
	}
	if w.full != nil && !w.full.settle() {
		w.Some.Excused++
		return
	}
	for _, m := range w.machines {
		if h := w.history.head(); h >= 0 && m.up && w.history.images[h].Broker(m.id) != nil && w.history.images[h].Broker(m.id).Stopping {
			w.stopMachine(m) // what resigns ends
		}
	}
	last := make([]*produce, w.parts)
	for round := range 400 {
		w.step++
		w.now += 700
		w.round()
		if w.failure != "" || w.excused {
			return
		}
		if round < 20 {
			continue
		}
		done := true
		for p := range w.parts {
			if l := w.leaderOf(p); last[p] != nil && !last[p].done && (l == nil || !slices.Contains(l.waits, last[p])) {
				last[p] = nil // too few were in sync for a while
			}
			if last[p] == nil {
				last[p] = w.lastProduce(p)
			}
			done = done && w.equal(p, last[p])
		}
		if done {
			w.Some.Lively++
			return
		}
	}
	if !w.electable() {
		w.Some.Excused++
		return
	}
	w.fail("no progress: %s", w.describe())
}

// lastProduce writes the record that has to be acknowledged.
func (w *plane) lastProduce(p int) *produce {
	r := w.leaderOf(p)
	if r == nil || len(r.view.ISR) < r.view.MinISR {
		return nil
	}
	w.vals++
	pr := &produce{p: p, val: w.vals, epoch: r.view.LeaderEpoch}
	w.op(r, walOp{kind: opAppend, off: r.log.End(), rec: rec{pr.epoch, pr.val}})
	pr.end = r.log.End()
	r.waits = append(r.waits, pr)
	return pr
}

// equal reports whether the last record is acknowledged and all replicas are the same.
func (w *plane) equal(p int, last *produce) bool {
	if last == nil || !last.done {
		return false
	}
	l := w.leaderOf(p)
	if l == nil || len(l.view.ISR) != len(w.machines) {
		return false
	}
	for _, m := range w.machines {
		r := m.replicas[p]
		if r == nil || r.log.End() != l.log.End() || r.log.hw != l.log.End() || r.log.start < l.log.start {
			return false
		}
		for i := r.log.start; i < r.log.End(); i++ { // a deletion that only a former leader's followers know of may begin it later
			if mustAt(&r.log, i) != mustAt(&l.log, i) {
				w.fail("replicas of partition %d differ at offset %d: %v on node %d, %v on the leader", p, i, mustAt(&r.log, i), m.id, mustAt(&l.log, i))
				return false
			}
		}
	}
	return true
}

// round does everything that is due, in order.
func (w *plane) round() {
	if w.full != nil {
		w.full.round()
	}
	at := w.pickController()
	for _, m := range w.machines {
		w.startMachine(m)
		if !m.up {
			continue
		}
		if m.isolated {
			m.isolated = false
			w.reapply(m)
		}
		if at >= 0 {
			if !m.registered {
				if m.wiped {
					w.fence(m, at) // its old process has ended
				}
				w.register(m, at)
			}
			w.serve(m, at)
			w.createTopic(at)
		}
		if k := w.known(m); m.view < k {
			w.apply(m, k)
		}
		for _, o := range w.machines {
			w.dial(m, o)
		}
	}
	w.roundStreams()
	for _, m := range w.machines {
		for _, r := range m.replicas {
			if r != nil && r.leads && w.failure == "" {
				w.tick(r)
			}
		}
	}
	for n := len(w.calls); n > 0 && w.failure == ""; n-- {
		w.deliverCall(0, false)
	}
	w.sweep()
}

func (w *plane) roundStreams() {
	for _, m := range w.machines {
		w.synced(m, m.wal.sync())
		w.synced(m, m.wal.sync())
	}
	for _, x := range w.open {
		for range w.parts {
			w.build(x, 1000)
		}
		w.write(x)
		if x.sending && x.receiving {
			x.down = append(x.down, &pushFrame{ping: true})
		}
		for len(x.down) > 0 && w.failure == "" {
			w.take(x)
		}
		w.answer(x)
		for len(x.up) > 0 && w.failure == "" {
			w.hear(x)
		}
		if w.failure != "" {
			return
		}
	}
}

// electable reports whether every partition has somebody who may lead, and everybody is there.
func (w *plane) electable() bool {
	for p := range w.parts {
		_, s := w.history.partition(w.history.head(), p)
		if s == nil || len(s.ISR)+len(s.ELR) == 0 {
			return false
		}
	}
	for _, m := range w.machines {
		if !m.up || w.full != nil && !w.full.votes(m.id) {
			return false
		}
	}
	return true
}

func (w *plane) describe() string {
	s := ""
	for p := range w.parts {
		if _, x := w.history.partition(w.history.head(), p); x != nil {
			s += fmt.Sprintf(" partition %d: leader %d epoch %d isr %v elr %v;", p, x.Leader, x.LeaderEpoch, x.ISR, x.ELR)
		}
		for _, m := range w.machines {
			if r := m.replicas[p]; r != nil {
				s += fmt.Sprintf(" %d: %d to %d hw %d leads %v registered %v;", m.id, r.log.start, r.log.End(), r.log.hw, r.leads, m.registered)
			}
		}
	}
	return s
}
