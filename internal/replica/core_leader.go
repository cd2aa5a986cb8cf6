package replica

import "slices"

// LeaderCore decides for the leader of one partition, in one leader epoch: how far the log is committed, from where each follower is
// pushed to, and who ought to be in the ISR. It is pure: no clock, no I/O, no goroutine; whoever calls it holds the replica's lock.
type LeaderCore struct {
	self      int32
	view      *View
	log       Lineage
	start     int64 // log end when the epoch began
	hw        int64
	durable   int64 // own durable end
	followers []followerState
	pending   *Proposal
	// resign: the own log is damaged, somebody else is to lead; unfit: nothing can be served from it. resignRefused is the view in which
	// nobody else could.
	resign, unfit bool
	resignRefused *View
	// needStart is the log start that a client may have been told of: no follower without it joins the ISR. -1: none.
	needStart int64
	bugs      Bugs
}

// followerState is what a leader knows of one follower.
type followerState struct {
	id int32
	// brokerEpoch is the incarnation that match is of.
	brokerEpoch int64
	// match is the durable end that the follower has acked in this leader epoch; -1: not known.
	match int64
	// acked is the largest match in this leader epoch, of any incarnation: less is a loss (R8).
	acked int64
	// next is the offset to push from; -1: nothing is pushed before the follower says that it is ready.
	next int64
	// guess: next is not what the follower has said, so a reset there might destroy what it has.
	guess bool
	// reset: the follower's log has nothing that fits; it begins anew at next.
	reset bool
	// resume is the frame that was being built when the last refusal came in: refusals of earlier ones do not count any more.
	resume uint64
	// connected: there is a stream to the incarnation.
	connected bool
	lost      bool // it has less than it had acked
	// faulty: its log is damaged and it takes nothing; repair: it has asked to begin anew.
	faulty, repair bool
	// logStart is the log start that it has on its disk; -1: not known.
	logStart int64
	// caughtUpMs is when it last had all that the log had; heardMs when there was last a sign of life.
	caughtUpMs int64
	heardMs    int64
	// markEnd was the log's end at markMs: when match reaches it, the follower was caught up then.
	markEnd, markMs int64
}

// NewLeaderCore begins to lead in the view's epoch. hw is the high watermark known so far, durable the own durable end.
func NewLeaderCore(self int32, v *View, log Lineage, durable, hw, nowMs int64, bugs Bugs) *LeaderCore {
	c := &LeaderCore{self: self, log: log, start: log.End(), hw: hw, durable: durable, needStart: -1, bugs: bugs}
	c.Follow(v, nowMs)
	return c
}

// Follow takes over a newer view of the same leader epoch.
func (c *LeaderCore) Follow(v *View, nowMs int64) {
	c.view = v
	if c.pending != nil && v.PartitionEpoch > c.pending.PartitionEpoch {
		c.pending = nil
	}
	if c.followersAre(v) {
		return
	}
	old := c.followers
	c.followers = make([]followerState, 0, len(v.Members))
	for i := range v.Members {
		id := v.Members[i].ID
		if id == c.self {
			continue
		}
		f := followerState{id: id, match: -1, next: -1, logStart: -1, caughtUpMs: nowMs, heardMs: nowMs}
		if at := slices.IndexFunc(old, func(f followerState) bool { return f.id == id }); at >= 0 {
			f = old[at]
		}
		c.followers = append(c.followers, f)
	}
}

// followersAre reports whether the followers are those of the view.
func (c *LeaderCore) followersAre(v *View) bool {
	n := 0
	for i := range v.Members {
		if v.Members[i].ID == c.self {
			continue
		}
		if n >= len(c.followers) || c.followers[n].id != v.Members[i].ID {
			return false
		}
		n++
	}
	return n == len(c.followers)
}

func (c *LeaderCore) follower(id int32) *followerState {
	for i := range c.followers {
		if c.followers[i].id == id {
			return &c.followers[i]
		}
	}
	return nil
}

// Epoch is the leader epoch.
func (c *LeaderCore) Epoch() int32 { return c.view.LeaderEpoch }

// EpochStart is where the log ended when the epoch began.
func (c *LeaderCore) EpochStart() int64 { return c.start }

// HighWatermark is the end of what is committed.
func (c *LeaderCore) HighWatermark() int64 { return c.hw }

// Durable tells the own durable end.
func (c *LeaderCore) Durable(end int64) { c.durable = max(c.durable, end) }

// Connected tells that there is a stream to an incarnation of a follower, on which frame current was begun last. Pushing begins where the
// follower is known to be, or at the epoch's start: it refuses what does not fit. Nothing of this leader epoch is in frames up to current,
// so refusals of those are not its business.
func (c *LeaderCore) Connected(id int32, brokerEpoch int64, current uint64, nowMs int64) {
	f := c.follower(id)
	if f == nil {
		return
	}
	if f.brokerEpoch != brokerEpoch && c.bugs&BugAckAnyIncarnation == 0 {
		f.match, f.logStart = -1, -1
	}
	f.faulty, f.repair = false, false // it says so again
	f.brokerEpoch, f.connected, f.resume, f.heardMs = brokerEpoch, true, current+1, nowMs
	f.next, f.guess, f.reset = max(c.start, f.acked), true, false
}

// Ended tells that the stream to a follower is gone.
func (c *LeaderCore) Ended(id int32) {
	if f := c.follower(id); f != nil {
		f.connected, f.next, f.reset = false, -1, false
	}
}

// Next is where the follower is to be pushed from; false if it is not to be pushed to. reset asks it to begin anew there.
func (c *LeaderCore) Next(id int32) (from int64, reset, ok bool) {
	f := c.follower(id)
	if f == nil || !f.connected || f.next < 0 {
		return 0, false, false
	}
	if start := c.log.Start(); f.next < start {
		f.next, f.reset = start, !f.guess
	}
	return f.next, f.reset, true
}

// Sent tells that the log up to end was pushed.
func (c *LeaderCore) Sent(id int32, end int64) {
	if f := c.follower(id); f != nil && f.next >= 0 {
		f.next, f.reset = end, false
	}
}

// AllAcked reports whether a follower has acked all that was pushed to it.
func (c *LeaderCore) AllAcked(id int32) bool {
	f := c.follower(id)
	return f != nil && f.next >= 0 && f.match == f.next
}

// PrevEpoch is the epoch of the record before offset, which a push names; -1 if the follower need not check.
func (c *LeaderCore) PrevEpoch(offset int64) int32 { return epochBefore(c.log, offset) }

// Ack takes in that an incarnation of a follower has the log up to end on its disk, as it was pushed in the given leader epoch.
func (c *LeaderCore) Ack(id int32, brokerEpoch int64, leaderEpoch int32, end, nowMs int64) {
	f := c.follower(id)
	if f == nil || leaderEpoch != c.view.LeaderEpoch && c.bugs&BugAckAnyEpoch == 0 {
		return
	}
	if f.brokerEpoch != brokerEpoch && c.bugs&BugAckAnyIncarnation == 0 {
		return
	}
	f.heardMs = nowMs
	if f.faulty {
		return
	}
	f.guess = false
	if end > f.match {
		f.match = end
	}
	if f.match >= f.acked {
		f.acked, f.lost = f.match, false
	}
	c.noteCaughtUp(f, nowMs)
}

// noteCaughtUp takes note of when the follower last had all that the log had. Under load it never has it now.
func (c *LeaderCore) noteCaughtUp(f *followerState, nowMs int64) {
	end := c.log.End()
	switch {
	case f.match >= end:
		f.caughtUpMs = nowMs
	case f.match >= f.markEnd:
		f.caughtUpMs = max(f.caughtUpMs, f.markMs)
	default:
		return
	}
	f.markEnd, f.markMs = end, nowMs
}

// Refusal is a follower's answer to a push that does not fit.
type Refusal struct {
	// NotReady: the follower's metadata does not show this leader and epoch yet, or any more; it says Ready when it does.
	NotReady bool
	// Faulty: the follower's log is damaged. It takes nothing before it may begin anew, which is when it no longer counts; Ready says so again.
	Faulty bool
	// LastEpoch and End are the last epoch and the end of that part of the follower's log which may be the leader's too; End is -1 if no part
	// can be.
	LastEpoch int32
	End       int64
	// LogEnd is the end of the follower's whole log.
	LogEnd int64
}

// Refused takes in a refusal of frame seq by an incarnation of a follower; current is the frame begun last. Refusals of frames from before
// the last refusal was known do not count again.
func (c *LeaderCore) Refused(id int32, brokerEpoch int64, seq uint64, r Refusal, current uint64, nowMs int64) {
	f := c.follower(id)
	if f == nil || f.brokerEpoch != brokerEpoch || !f.connected {
		return
	}
	f.heardMs = nowMs
	if seq < f.resume {
		return
	}
	f.resume = current
	f.match = -1
	if r.Faulty {
		f.fault(false)
		return
	}
	if r.NotReady {
		f.next = -1
		return
	}
	c.place(f, r)
}

// Ready takes in that a follower's metadata now shows this leader and epoch, and where its log ends.
func (c *LeaderCore) Ready(id int32, brokerEpoch int64, leaderEpoch int32, r Refusal, current uint64, nowMs int64) {
	f := c.follower(id)
	if f == nil || f.brokerEpoch != brokerEpoch || !f.connected || leaderEpoch != c.view.LeaderEpoch {
		return
	}
	f.heardMs = nowMs
	if r.Faulty {
		f.resume = current
		f.fault(true)
		return
	}
	f.faulty = false
	c.noteLost(f, r)
	if f.next < 0 {
		f.resume = current
		c.place(f, r)
	}
}

// noteLost takes note of a follower that has less than it had acked (R8).
func (c *LeaderCore) noteLost(f *followerState, r Refusal) {
	if r.LogEnd < f.acked && c.bugs&BugLostStaysInSync == 0 {
		f.lost = true
	}
}

// place finds where to push from, given what a follower has.
func (c *LeaderCore) place(f *followerState, r Refusal) {
	c.noteLost(f, r)
	next := min(r.End, c.log.End())
	if _, end := c.log.EpochEnd(r.LastEpoch); end >= 0 {
		next = min(next, end)
	}
	f.next, f.guess, f.reset = next, false, false
	if start := c.log.Start(); next < start {
		f.next, f.reset = start, true
	}
}

// Advance raises the high watermark as far as the rules allow and reports whether it moved: the smallest durable end over the committed
// ISR and the additions that are proposed, while as many are in sync as the topic asks for (R4).
func (c *LeaderCore) Advance() bool {
	v := c.view
	if len(v.ISR) < v.MinISR && c.bugs&BugHWUnderMinISR == 0 {
		return false
	}
	isr, hw := v.ISR, c.durable
	if c.pending != nil && c.bugs&BugShrinkAssumed != 0 && len(c.pending.ISR) < len(isr) {
		isr = c.pending.ISR
	}
	for _, id := range isr {
		if id != c.self {
			hw = min(hw, c.counted(id))
		}
	}
	if c.pending != nil && c.bugs&BugExpandNotCounted == 0 {
		for _, id := range c.pending.added {
			hw = min(hw, c.counted(id))
		}
	}
	if hw <= c.hw {
		return false
	}
	c.hw = hw
	return true
}

// counted is the durable end of a follower that counts: that of the incarnation which is registered. -1 when there is none.
func (c *LeaderCore) counted(id int32) int64 {
	f, m := c.follower(id), c.view.member(id)
	if f == nil || m == nil || f.brokerEpoch != m.BrokerEpoch && c.bugs&BugAckAnyIncarnation == 0 {
		return -1
	}
	return f.match
}
