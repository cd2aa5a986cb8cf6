package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
)

// This file is what a replica does about damage of its own log (R16). A follower leaves the ISR and begins anew once it no longer counts; a
// leader resigns if another member of the ISR can lead, and repairs as a follower. Damaged data is never served, and nothing is cut at it.

const (
	// maxReports bounds the reports and repairs that wait; what finds no place is told again.
	maxReports = 64
	// reportBytes is how much is read again to see whether damage persists: all that the read which came upon it may have taken.
	reportBytes = partition.MaxReadBytes
	// rereadAfter is the time between two reads of what seems damaged.
	rereadAfter = 20 * time.Millisecond
	// verifyStep is how much of a log is read at a time before a follower may give up its own.
	verifyStep = 8 << 20
	// soundFor is how long a log that was read as a whole is not read again for another follower.
	soundFor = time.Minute
	// faultEvery is how often logs are looked at for damage that their maintenance has found.
	faultEvery = time.Second
)

// report is damage that was seen at an offset, or (repair) a follower that waits to begin anew.
type report struct {
	r      *Replica
	at     int64
	repair bool
	node   int32
}

// ReportCorrupt tells that one read of the log (partition.Log.Read), from offset at on, failed with err. If that is damage and another read
// finds it too, the replica is given up for repair; errors of another kind are ignored. It does not wait.
func (r *Replica) ReportCorrupt(at int64, err error) {
	if !errors.Is(err, partition.ErrCorrupt) || r.log == nil || r.corruptAt.Load() != 0 || !r.reported.CompareAndSwap(false, true) {
		return
	}
	select {
	case r.set.reports <- report{r: r, at: at}:
	default:
		r.reported.Store(false)
	}
}

// Damaged is what is wrong with the log; nil if nothing is known to be.
func (r *Replica) Damaged() error {
	if r.log == nil {
		return ErrOffline
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.corrupt
}

// Damage is a replica that cannot be read as a whole, and why.
type Damage struct {
	Replica *Replica
	Err     error
}

// Damaged are the replicas whose log is damaged, or could not be opened, as far as that is known; at most as many as limit says.
func (s *Set) Damaged(limit int) []Damage {
	var some []*Replica
	s.mu.RLock()
	for _, t := range s.topics {
		for _, r := range t.partitions {
			if r != nil && len(some) < limit && (r.log == nil || r.corruptAt.Load() != 0) {
				some = append(some, r)
			}
		}
	}
	s.mu.RUnlock()
	var all []Damage
	for _, r := range some { // not under the lock of the table, which comes after that of a replica
		if err := r.Damaged(); err != nil {
			all = append(all, Damage{r, err})
		}
	}
	return all
}

// reread looks again at what was reported.
func (r *Replica) reread(at int64) {
	defer r.reported.Store(false)
	time.Sleep(rereadAfter)
	generation := r.renewals.Load()
	to := r.log.End() // a follower is pushed more than what is below the high watermark
	if at = max(at, r.log.Start()); at >= to {
		return
	}
	if _, _, _, err := r.log.ChecksumSome(0, at, to, reportBytes); errors.Is(err, partition.ErrCorrupt) {
		r.damaged(err, generation)
	}
}

// damaged takes note of damage that was found in the log when it had begun anew so many times.
func (r *Replica) damaged(err error, generation int64) {
	r.mu.Lock()
	if r.corrupt != nil || r.dropped || r.renewals.Load() != generation {
		r.mu.Unlock()
		return
	}
	r.corrupt = err
	r.corruptAt.Store(1)
	role, then := "none", "nothing is served of it"
	if r.following != nil {
		role, then = "follower", "it leaves the ISR, and begins anew from its leader"
		r.following.Faulty()
	}
	if r.leading != nil {
		role = "leader"
		then = "another replica that is in sync is to lead, and this one to begin anew from it"
		if len(r.leading.view.ISR) < 2 {
			then = "no other replica is in sync, so reads of what is damaged are refused and the rest is served; see docs/operations.md, Damage"
		}
		r.leading.Resign(false)
	}
	r.mu.Unlock()
	r.set.stats.damaged.Add(1)
	r.set.log.Error("partition data is damaged here: "+then, "partition", r.id.String(), "topic", r.topic, "role", role, "err", err)
	if role == "follower" {
		r.set.voidAll(r.id)
		r.set.announce(r)
	}
	r.set.kickISR()
}

// renewed takes note that the log has begun anew. mu is held.
func (r *Replica) renewed(p *Push) {
	r.renewals.Add(1)
	if r.corrupt == nil {
		return
	}
	r.set.log.Warn("damaged partition begins anew from its leader", "partition", r.id.String(), "topic", r.topic, "leader", p.Leader, "epoch", p.LeaderEpoch,
		"from", p.Base)
	r.corrupt = nil
	r.corruptAt.Store(0)
	r.set.stats.repaired.Add(1)
}

// noteFault looks for damage that the log itself knows of.
func (r *Replica) noteFault() {
	if r.log == nil || r.corruptAt.Load() != 0 {
		return
	}
	generation := r.renewals.Load()
	if err := r.log.Fault(); err != nil {
		r.damaged(err, generation)
	}
}

// wantRepairs has the followers that wait to begin anew looked after, unless this log cannot give them all. mu is held.
func (r *Replica) wantRepairs() {
	if r.corrupt != nil {
		return
	}
	for _, node := range r.leading.Repairs() {
		l := linkTo(r.links.Load(), node)
		if l == nil || !l.repairing.CompareAndSwap(false, true) {
			continue
		}
		select {
		case r.set.reports <- report{r: r, repair: true, node: node}:
		default:
			l.repairing.Store(false)
		}
	}
}

// repair has a follower begin anew, after the own log was read from its start to the high watermark: the follower gives up what it has, so
// all of it must be here.
func (r *Replica) repair(ctx context.Context, node int32) {
	l := linkTo(r.links.Load(), node)
	if l == nil {
		return
	}
	defer l.repairing.Store(false)
	if err := r.verify(ctx); err != nil {
		r.set.log.Warn("a damaged follower cannot begin anew: this log cannot be read as a whole", "partition", r.id.String(), "topic", r.topic, "node", node, "err", err)
		return
	}
	r.mu.Lock()
	s := l.lane.Load()
	s.mu.Lock()
	ok := r.leading != nil && r.leads.Load() && s.session != nil && r.leading.Repair(node, s.session.window.Current())
	s.mu.Unlock()
	r.mu.Unlock()
	if ok {
		r.set.log.Info("a damaged follower begins anew", "partition", r.id.String(), "topic", r.topic, "node", node, "from", r.log.Start())
		l.mark()
	}
}

// verify reads the log from its start to the high watermark.
func (r *Replica) verify(ctx context.Context) error {
	if r.soundAt.After(time.Now().Add(-soundFor)) {
		return nil
	}
	to := r.log.HighWatermark()
	for at := r.log.Start(); at < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, _, next, err := r.log.ChecksumSome(0, at, to, verifyStep)
		switch {
		case errors.Is(err, partition.ErrOutOfRange) && r.log.Start() > at: // deleted meanwhile
			next = r.log.Start()
		case err != nil:
			r.ReportCorrupt(next, err)
			return fmt.Errorf("verify %s from %d: %w", r.id, at, err)
		}
		at = next
	}
	r.soundAt = time.Now()
	return nil
}

// runRepairs looks again at what was reported as damaged and has damaged followers begin anew, one at a time.
func (s *Set) runRepairs(ctx context.Context) {
	t := time.NewTicker(faultEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-s.reports:
			if x.repair {
				x.r.repair(ctx, x.node)
			} else {
				x.r.reread(x.at)
			}
		case <-t.C:
			for _, r := range s.All() {
				r.noteFault()
			}
		}
	}
}

// Stats counts what this node has found and done about damage.
type Stats struct {
	Damaged  int64 // replicas found damaged since the start
	Repaired int64 // of these, those that have begun anew
	Compared int64 // ranges whose checksum was compared with a follower's
	Differ   int64 // ranges that are not the same on two replicas
}

// Stats are the counts since the start.
func (s *Set) Stats() Stats {
	return Stats{Damaged: s.stats.damaged.Load(), Repaired: s.stats.repaired.Load(), Compared: s.stats.compared.Load(), Differ: s.stats.differ.Load()}
}
