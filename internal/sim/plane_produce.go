package sim

import "github.com/chronik-io/chronik/internal/controller"

// produce is a record that a client wants written with acks=all. The client is idempotent: it tries the same record again.
type produce struct {
	p     int
	val   uint64
	end   int64 // offset after it, in the leader's log
	epoch int32
	tries int
	done  bool
}

// maxRecords bounds the records of a partition.
const maxRecords = 150

// produce appends a record at a leader, or one that failed before.
func (w *plane) produce(r *preplica, again bool) {
	if !r.leads || len(r.log.recs) > maxRecords {
		return
	}
	var pr *produce
	if again {
		for i, f := range w.failed {
			if f.p == r.p {
				pr = f
				w.failed[i] = w.failed[len(w.failed)-1]
				w.failed = w.failed[:len(w.failed)-1]
				w.Some.Retried++
				break
			}
		}
	}
	if pr == nil {
		w.vals++
		pr = &produce{p: r.p, val: w.vals}
	}
	pr.tries++
	if len(r.view.ISR) < r.view.MinISR {
		w.Some.NotEnough++
		if w.rng.IntN(4) > 0 { // acks=1 does not ask
			w.giveBack(pr)
			return
		}
		pr.done = true // nobody waits for it
	}
	pr.epoch = r.view.LeaderEpoch
	if at := r.log.find(pr.val); at >= 0 && pr.tries > 1 {
		w.Some.Duplicates++
		pr.end = at + 1
		if w.o.Bugs&bugDuplicateAcked != 0 {
			w.acked(r, pr)
			return
		}
	} else {
		w.op(r, walOp{kind: opAppend, off: r.log.End(), rec: rec{pr.epoch, pr.val}})
		pr.end = r.log.End()
		w.trace("node %d appends %d of partition %d at %d in epoch %d", r.m.id, pr.val, r.p, pr.end-1, pr.epoch)
	}
	switch {
	case pr.done:
	case r.leading.HighWatermark() >= pr.end:
		w.acked(r, pr)
	default:
		at := len(r.waits)
		for at > 0 && r.waits[at-1].end > pr.end {
			at--
		}
		r.waits = append(r.waits, nil)
		copy(r.waits[at+1:], r.waits[at:])
		r.waits[at] = pr
	}
}

// giveBack lets a client try again later, some of the time.
func (w *plane) giveBack(pr *produce) {
	if !pr.done && w.rng.IntN(2) == 0 && len(w.failed) < 20 && w.weights[pvStartMoves] == 0 {
		w.failed = append(w.failed, pr)
	}
}

// failWaits fails what waits for the high watermark: whether it will be committed is open.
func (w *plane) failWaits(r *preplica) {
	for _, pr := range r.waits {
		w.Some.NotEnoughAfter++
		w.giveBack(pr)
	}
	r.waits = nil
}

// acked answers a client: its record must be committed, and where it was said to be.
func (w *plane) acked(r *preplica, pr *produce) {
	w.Some.Acked++
	pr.done = true
	c := w.checks[r.p]
	if r.view.LeaderEpoch < c.unclean {
		return
	}
	i := pr.end - 1
	if i >= int64(len(c.committed)) || c.committed[i].val != pr.val {
		w.fail("R5: value %d of partition %d is acknowledged at offset %d, where it is not committed", pr.val, r.p, i)
	}
}

// commandUnclean is an operator who gives up what an unclean election loses.
func (w *plane) commandUnclean(c *controller.Controller) func() {
	if w.electUnclean(c) {
		w.trace("unclean election")
	}
	return nil
}
