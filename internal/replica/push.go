package replica

import (
	"errors"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/recordbatch"
)

// This file is the leader's side of a replica: what goes to followers, and what comes back from them.

// begin makes this node lead in the view's epoch, from the log's end on.
func (r *Replica) begin(v *View) error {
	err := r.log.SetLeaderEpoch(v.LeaderEpoch)
	unfit := errors.Is(err, partition.ErrCorrupt)
	if err != nil && !unfit {
		return err
	}
	r.log.SetRetention(!unfit)
	now := r.set.nowMs()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.following != nil {
		r.following = nil
		r.set.voidAll(r.id)
	}
	r.disconnectAll() // links of an earlier epoch, if no other view came in between: this one begins with none
	r.leading = NewLeaderCore(r.set.o.NodeID, v, r.log, r.log.DurableEnd(), r.log.HighWatermark(), now, 0)
	r.ticks.Store(true)
	r.leading.RequireStart(r.log.Start())
	if unfit || r.corrupt != nil {
		r.leading.Resign(unfit)
	}
	if unfit {
		return nil
	}
	r.uncommitted.Store(r.log.HighWatermark() < r.leading.EpochStart())
	r.leads.Store(true)
	r.connectAll(v, now)
	return nil
}

// connectAll keeps one link for each follower of the view. mu is held.
func (r *Replica) connectAll(v *View, nowMs int64) {
	old := r.links.Load()
	links := make([]*link, 0, len(v.Members))
	for i := range v.Members {
		id := v.Members[i].ID
		if id == r.set.o.NodeID || r.leading == nil {
			continue
		}
		if l := linkTo(old, id); l != nil {
			links = append(links, l)
			continue
		}
		if s := r.set.sender(id, peer.ClassLive); s != nil {
			l := &link{r: r, node: id, sentHW: -1, sentStart: -1, carried: -1}
			s.attach(l, nowMs)
			links = append(links, l)
		}
	}
	if old != nil {
		for _, l := range *old {
			if linkTo(&links, l.node) != l {
				l.lane.Load().detach(r)
			}
		}
	}
	r.links.Store(&links)
}

func linkTo(links *[]*link, node int32) *link {
	if links == nil {
		return nil
	}
	for _, l := range *links {
		if l.node == node {
			return l
		}
	}
	return nil
}

// disconnectAll gives up all links: this node leads no more. mu is held.
func (r *Replica) disconnectAll() {
	if old := r.links.Swap(nil); old != nil {
		for _, l := range *old {
			l.lane.Load().detach(r)
		}
	}
}

// markLinks has the followers pushed to: there are new records.
func (r *Replica) markLinks() {
	if links := r.links.Load(); links != nil {
		for _, l := range *links {
			l.mark()
		}
	}
}

// connect begins to push to a follower on a new stream.
func (r *Replica) connect(l *link, s *sender, x *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leading == nil || l.lane.Load() != s {
		return
	}
	s.mu.Lock()
	current := x.window.Current()
	s.mu.Unlock()
	r.leading.Connected(l.node, x.brokerEpoch, current, r.set.nowMs())
	l.probe = true
}

func (r *Replica) disconnect(l *link, s *sender) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leading != nil && l.lane.Load() == s {
		r.leading.Ended(l.node)
	}
}

const (
	// behindBytes is how much a follower out of the ISR lacks to be pushed to over the catch-up stream, nearBytes how little to go back to
	// the live one.
	behindBytes = 4 << 20
	nearBytes   = 1 << 20
)

// chooseLane moves a follower that lacks much to the catch-up stream, and one that has nearly all back to the live stream: when everything
// sent on the one is acked, so that nothing of the other can overtake it. mu is held.
func (r *Replica) chooseLane(l *link) (moved bool) {
	lane := l.lane.Load()
	from, _, ok := r.leading.Next(l.node)
	if !ok {
		return false
	}
	to := lane.class
	switch lacks := r.log.SizeUpTo(from, r.log.End(), behindBytes); {
	case lane.class == peer.ClassLive && lacks >= behindBytes && !r.view.inISR(l.node):
		to = peer.ClassCatchUp
	case lane.class == peer.ClassCatchUp && lacks <= nearBytes && r.leading.AllAcked(l.node):
		to = peer.ClassLive
	}
	if to == lane.class {
		return false
	}
	next := r.set.sender(l.node, to)
	lane.detach(r)
	next.attach(l, r.set.nowMs())
	return true
}

// appendPush appends the part that a follower is to get to a frame, if there is anything for it. more asks for another turn.
func (r *Replica) appendPush(frame []byte, l *link, s *sender, x *session) (out []byte, more bool) {
	r.mu.Lock()
	if l.lane.Load() != s || linkTo(r.links.Load(), l.node) != l || r.leading != nil && !r.view.inISR(l.node) && r.chooseLane(l) {
		r.mu.Unlock()
		return frame, false // the other stream has it, or another leader epoch
	}
	c, p, ok := r.nextPush(l)
	r.mu.Unlock()
	if !ok {
		return frame, false
	}
	at := len(frame)
	frame = append(frame, make([]byte, pushHead)...)
	out, next, prevEpoch, err := r.log.ReadForPush(frame, p.Base, turnBytes)
	switch {
	case errors.Is(err, partition.ErrOutOfRange): // the log start has moved
		return frame[:at], true
	case err != nil:
		if r.corruptAt.Load() == 0 {
			r.set.log.Error("follower cannot be pushed to", "partition", r.id.String(), "node", l.node, "err", err)
		}
		r.ReportCorrupt(p.Base, err)
		return frame[:at], false
	}
	p.PrevEpoch = prevEpoch
	from := p.Base
	if h, err := recordbatch.ParseHeader(out[at+pushHead:]); err == nil && h.BaseOffset < from { // the log begins inside a batch
		p.Base, p.PrevEpoch = h.BaseOffset, c.PrevEpoch(h.BaseOffset)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, reset, ok := r.nextOf(c, l); !ok || now != from || reset != p.Reset || l.lane.Load() != s {
		return out[:at], true // an answer came in between
	}
	c.Sent(l.node, next)
	l.probe, l.sentHW, l.sentStart = false, p.HighWatermark, p.LogStart
	l.carries(x, s.sent(x, r, p.LeaderEpoch, next), min(p.LogStart, next))
	putPushHead(out[at:], r.id, &p, len(out)-at-pushHead)
	return out, next < r.log.End()
}

// nextPush says what to push next. mu is held.
func (r *Replica) nextPush(l *link) (c *LeaderCore, p Push, ok bool) {
	c = r.leading
	from, reset, ok := r.nextOf(c, l)
	if !ok {
		return nil, p, false
	}
	p = Push{LeaderEpoch: c.Epoch(), Base: from, HighWatermark: c.HighWatermark(), LogStart: r.log.Start(), Reset: reset}
	if from >= r.log.End() && !l.probe && !reset && p.HighWatermark <= l.sentHW && p.LogStart <= l.sentStart {
		return nil, p, false
	}
	return c, p, true
}

// nextOf is where the follower is to be pushed from, if this node leads as c does. mu is held.
func (r *Replica) nextOf(c *LeaderCore, l *link) (from int64, reset, ok bool) {
	if c == nil || r.leading != c || !r.leads.Load() {
		return 0, false, false
	}
	return c.Next(l.node)
}

// followerAcked takes in that a follower has everything up to end on its disk, with frame upTo of its stream and all before.
func (r *Replica) followerAcked(node int32, x *session, upTo uint64, epoch int32, end, nowMs int64) {
	r.mu.Lock()
	c := r.leading
	if c == nil {
		r.mu.Unlock()
		return
	}
	c.Ack(node, x.brokerEpoch, epoch, end, nowMs)
	all := r.advanceLocked()
	if l := linkTo(r.links.Load(), node); l != nil {
		if start := l.startsAcked(x, upTo); c.AckStart(node, x.brokerEpoch, start) {
			r.wakeLocked()
		}
		if l.lane.Load().class == peer.ClassCatchUp {
			r.chooseLane(l)
		}
	}
	if !c.Pending() && !r.view.inISR(node) && c.Wanted(node) {
		r.set.kickISR()
	}
	r.mu.Unlock()
	finishIn(all, nil, true)
}

// answered lets fn take in a follower's refusal or readiness, with the lock of the replica held; current is the frame begun last. The lock of
// the sender is not held, because fn looks into the log, which may wait for the WAL: other partitions go on being pushed.
func (r *Replica) answered(s *sender, x *session, fn func(c *LeaderCore, current uint64)) {
	r.mu.Lock()
	c := r.leading
	l := linkTo(r.links.Load(), s.node)
	if c == nil || l == nil || l.lane.Load() != s {
		r.mu.Unlock()
		return
	}
	s.mu.Lock()
	here, current := s.session == x, x.window.Current()
	s.mu.Unlock()
	if here {
		fn(c, current)
	}
	l.forgetStarts()
	l.probe = true
	r.wantRepairs()
	r.mu.Unlock()
	l.mark()
}

// advanceLocked raises the high watermark as far as it may go and takes the waiters that it passes. mu is held.
func (r *Replica) advanceLocked() *Waiter {
	c := r.leading
	if c == nil || !r.leads.Load() || !c.Advance() {
		return nil
	}
	hw := c.HighWatermark()
	r.log.SetHighWatermark(hw)
	if r.uncommitted.Load() && hw >= c.EpochStart() {
		r.uncommitted.Store(false)
	}
	if links := r.links.Load(); links != nil {
		for _, l := range *links {
			l.markHW()
		}
	}
	r.wakeSoon()
	return r.all.takeUpTo(hw)
}

// wakeSoon wakes the fetches that watch, together with those of the other partitions that move. mu is held.
func (r *Replica) wakeSoon() {
	for n := r.watches; n != nil; n = n.next {
		r.set.wakes.add(n.w)
	}
}

// tick looks after the ISR, and returns the change that is wanted.
func (r *Replica) tick(nowMs, gapMs int64) *Proposal {
	if !r.ticks.Load() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.leading
	if c == nil || !r.leads.Load() && !c.Unfit() {
		return nil
	}
	r.wantRepairs()
	if gapMs > 0 {
		c.Forgive(gapMs, nowMs)
	}
	if links := r.links.Load(); links != nil {
		for _, l := range *links {
			c.Heard(l.node, l.lane.Load().heardMs.Load(), nowMs)
		}
	}
	return c.Propose(nowMs)
}

// refusedISR takes in that a proposal was definitely refused. Whom it would have added does not hold the high watermark back any more.
func (r *Replica) refusedISR(p *Proposal) {
	r.mu.Lock()
	if r.leading != nil {
		r.leading.Rejected(p)
	}
	all := r.advanceLocked()
	r.mu.Unlock()
	finish(all, nil)
}

var _ Lineage = (*partition.Log)(nil)

// leaderOf is the broker that a view names, or metadata.NoLeader.
func leaderOf(v *View) int32 {
	if v == nil {
		return metadata.NoLeader
	}
	return v.Leader
}
