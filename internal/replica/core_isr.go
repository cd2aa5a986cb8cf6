package replica

// Timing of the ISR. Shrinking is always safe, so it is quick.
const (
	// silentMs is how long a follower without a stream, or without an answer on it, stays in the ISR.
	silentMs = 1500
	// lagMs is how long a follower that answers may lack records that the leader has.
	lagMs = 5000
)

// Proposal is a change of the ISR on its way to the controller. It is sent again, verbatim, until the metadata shows a newer partition
// epoch or it is definitely refused (R6).
type Proposal struct {
	LeaderEpoch    int32
	PartitionEpoch int32
	ISR            []int32
	// BrokerEpochs are the incarnations that were measured, in the order of ISR.
	BrokerEpochs []int64
	// Lost are members of the ISR or ELR that leave both: they have not all that was acknowledged.
	Lost []int32
	// Resign: the leader leaves the ISR, and one of its other members is to lead.
	Resign bool

	added []int32 // beyond the committed ISR: they count for the high watermark until the outcome is known
}

// Propose returns the change of the ISR that is wanted now, which is the pending one if there is one; nil for none.
func (c *LeaderCore) Propose(nowMs int64) *Proposal {
	if c.pending != nil {
		if c.bugs&BugRetryRefreshes != 0 {
			c.pending.BrokerEpochs = c.measured(c.pending.ISR, true)
		}
		return c.pending
	}
	if c.pending = c.resignation(); c.pending != nil || c.unfit {
		return c.pending
	}
	if !c.changes(nowMs) {
		return nil
	}
	v := c.view
	isr := make([]int32, 0, len(v.Members))
	var added, lost []int32
	for _, id := range v.ISR {
		if id == c.self || !c.lagging(id, nowMs) {
			isr = append(isr, id)
		}
	}
	for i := range c.followers {
		f := &c.followers[i]
		if !v.inISR(f.id) && c.caughtUp(f) {
			isr = append(isr, f.id)
			added = append(added, f.id)
		}
		if f.lost && v.counts(f.id) {
			lost = append(lost, f.id)
		}
	}
	c.pending = &Proposal{LeaderEpoch: v.LeaderEpoch, PartitionEpoch: v.PartitionEpoch, ISR: isr, Lost: lost, added: added}
	c.pending.BrokerEpochs = c.measured(isr, false)
	return c.pending
}

// changes reports whether somebody is to leave the ISR or ELR, or to join the ISR.
func (c *LeaderCore) changes(nowMs int64) bool {
	for _, id := range c.view.ISR {
		if id != c.self && c.lagging(id, nowMs) {
			return true
		}
	}
	for i := range c.followers {
		if f := &c.followers[i]; !c.view.inISR(f.id) && c.caughtUp(f) || f.lost && c.view.counts(f.id) {
			return true
		}
	}
	return false
}

// Pending reports whether a proposal is under way.
func (c *LeaderCore) Pending() bool { return c.pending != nil }

// measured are the incarnations that were measured; those of the view where nothing was.
func (c *LeaderCore) measured(isr []int32, refresh bool) []int64 {
	epochs := make([]int64, len(isr))
	for i, id := range isr {
		if m := c.view.member(id); m != nil {
			epochs[i] = m.BrokerEpoch
		}
		if f := c.follower(id); f != nil && f.match >= 0 && !refresh && !c.view.inISR(id) {
			epochs[i] = f.brokerEpoch
		}
	}
	return epochs
}

// lagging reports whether a member is to leave the ISR.
func (c *LeaderCore) lagging(id int32, nowMs int64) bool {
	f := c.follower(id)
	switch {
	case f == nil:
		return true
	case f.lost:
		return true
	case nowMs-f.heardMs > silentMs:
		return true
	}
	return nowMs-f.caughtUpMs > lagMs && f.match < c.log.End()
}

// Wanted reports whether a follower may join the ISR.
func (c *LeaderCore) Wanted(id int32) bool {
	f := c.follower(id)
	return f != nil && c.caughtUp(f)
}

// caughtUp reports whether a follower may join the ISR: it has all that is committed, and all that the log had when the epoch began.
func (c *LeaderCore) caughtUp(f *followerState) bool {
	m := c.view.member(f.id)
	if m == nil || m.Away || f.lost || !f.connected || f.brokerEpoch != m.BrokerEpoch && c.bugs&BugAckAnyIncarnation == 0 {
		return false
	}
	return f.logStart >= c.needStart && f.match >= c.hw && (f.match >= c.start || c.bugs&BugExpandBelowStart != 0)
}

// Rejected tells that the controller has definitely refused the proposal: no copy of it was, or will be, accepted. A refusal because the
// partition epoch is stale is none: an earlier copy may be what made it stale.
func (c *LeaderCore) Rejected(p *Proposal) {
	if c.pending == p {
		c.pending = nil
		if p.Resign {
			c.resignRefused = c.view
		}
	}
}

// Heard tells that there was a sign of life on the stream to a follower.
func (c *LeaderCore) Heard(id int32, heardMs, nowMs int64) {
	if f := c.follower(id); f != nil && f.connected {
		f.heardMs = max(f.heardMs, heardMs)
		c.noteCaughtUp(f, nowMs)
	}
}

// Forgive moves on by gapMs the times since which followers are silent or lag: the leader itself was not running.
func (c *LeaderCore) Forgive(gapMs, nowMs int64) {
	for i := range c.followers {
		f := &c.followers[i]
		f.heardMs, f.caughtUpMs, f.markMs = min(f.heardMs+gapMs, nowMs), min(f.caughtUpMs+gapMs, nowMs), min(f.markMs+gapMs, nowMs)
	}
}
