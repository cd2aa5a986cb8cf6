package replica

import "slices"

// This file is what the cores do about damaged logs (R16), and about the log start (R14).

// fault takes note that a follower's log is damaged: it has to leave the ISR, and nothing is pushed to it. repair tells that it asks to
// begin anew.
func (f *followerState) fault(repair bool) {
	f.match, f.next, f.logStart = -1, -1, -1
	f.reset, f.lost, f.faulty, f.repair = false, true, true, repair
}

// Repairs lists the followers that wait to begin anew and may: none of them counts for what was acknowledged.
func (c *LeaderCore) Repairs() []int32 {
	var ids []int32
	for i := range c.followers {
		if f := &c.followers[i]; f.faulty && f.repair && f.connected && !c.view.counts(f.id) {
			ids = append(ids, f.id)
		}
	}
	return ids
}

// Repair has a follower begin anew at the log start; current is the frame begun last on its stream. The caller has read the own log from
// there to the high watermark: what the follower gives up is here.
func (c *LeaderCore) Repair(id int32, current uint64) bool {
	if !slices.Contains(c.Repairs(), id) {
		return false
	}
	f := c.follower(id)
	f.faulty, f.repair, f.guess = false, false, false
	f.resume, f.next, f.reset = current, c.log.Start(), true
	return true
}

// Resign tells that the own log is damaged: if another member of the ISR can, it is to lead. unfit tells that nothing at all can be served.
func (c *LeaderCore) Resign(unfit bool) { c.resign, c.unfit = true, c.unfit || unfit }

// Unfit reports whether this leader can do nothing but resign.
func (c *LeaderCore) Unfit() bool { return c.unfit }

// resignation is the proposal that somebody else leads; nil if that is not wanted or nobody can.
func (c *LeaderCore) resignation() *Proposal {
	v := c.view
	if !c.resign || c.resignRefused == v {
		return nil
	}
	p := &Proposal{LeaderEpoch: v.LeaderEpoch, PartitionEpoch: v.PartitionEpoch, Resign: true}
	live := false
	for _, id := range v.ISR {
		f := c.follower(id)
		switch {
		case f == nil: // this one
			continue
		case f.lost:
			p.Lost = append(p.Lost, id)
			continue
		}
		p.ISR = append(p.ISR, id)
		m := v.member(id)
		live = live || m != nil && !m.Away
	}
	if !live {
		return nil
	}
	p.BrokerEpochs = c.measured(p.ISR, false)
	return p
}

// RequireStart tells that a client may have been told of log start n: who leads next must have it.
func (c *LeaderCore) RequireStart(n int64) { c.needStart = max(c.needStart, n) }

// AckStart takes in that an incarnation of a follower has log start n on its disk, and reports whether that is news.
func (c *LeaderCore) AckStart(id int32, brokerEpoch, n int64) bool {
	f := c.follower(id)
	if f == nil || f.brokerEpoch != brokerEpoch || n <= f.logStart || f.faulty {
		return false
	}
	f.logStart = n
	return true
}

// StartAdopted reports whether everybody who may be elected has log start n: all of the ISR and who may be in it soon. While fewer are in
// sync than the topic asks for, others may be elected.
func (c *LeaderCore) StartAdopted(n int64) bool {
	if len(c.view.ISR) < c.view.MinISR {
		return false
	}
	has := func(id int32) bool {
		f := c.follower(id)
		return id == c.self || f != nil && f.logStart >= n
	}
	for _, id := range c.view.ISR {
		if !has(id) {
			return false
		}
	}
	return c.pending == nil || !slices.ContainsFunc(c.pending.added, func(id int32) bool { return !has(id) })
}

// Faulty tells that the own log is damaged: nothing more is taken until the leader has it begin anew.
func (f *FollowerCore) Faulty() { f.faulty, f.verified = true, -1 }

// Renewed tells that the own log has begun anew.
func (f *FollowerCore) Renewed() { f.faulty, f.verified = false, -1 }

// IsFaulty reports whether the own log is damaged.
func (f *FollowerCore) IsFaulty() bool { return f.faulty }
