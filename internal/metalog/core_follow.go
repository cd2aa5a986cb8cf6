package metalog

import "slices"

// Receive takes one message.
func (c *Core) Receive(m *Message) {
	if c.halted != nil || !c.addressed(m) || !c.hears(m) {
		return
	}
	switch m.Type {
	case MsgFence:
		c.onFence(m)
	case MsgAppend:
		c.onAppend(m)
	case MsgInstall:
		c.onInstall(m)
	case MsgFetch:
		c.onFetch(m)
	case MsgPromise:
		c.onPromise(m)
	case MsgRefuse:
		c.onRefuse(m)
	case MsgAck:
		c.onAck(m)
	case MsgNack:
		c.onNack(m)
	case MsgFetched:
		c.onFetched(m)
	}
}

// addressed reports whether the message is for this member: a wiped node is another one.
func (c *Core) addressed(m *Message) bool {
	if c.bug(BugWipedSameID) {
		return m.To.NodeID == c.cfg.Self.NodeID && m.From.NodeID != c.cfg.Self.NodeID
	}
	return m.To == c.cfg.Self && m.From != c.cfg.Self
}

// hears refuses members whose boot counter went back, as that of a machine restored from a backup does: what such a disk had promised
// and acknowledged since is gone.
func (c *Core) hears(m *Message) bool {
	seen := PeerBoot{m.From, m.FromBoot, m.FromNonce}
	for i := range c.peers {
		p := &c.peers[i]
		if p.Member != m.From {
			continue
		}
		if m.FromBoot < p.Boot || m.FromBoot == p.Boot && m.FromNonce != p.Nonce {
			return c.bug(BugBootGoesBack)
		}
		if m.FromBoot > p.Boot {
			*p = seen
			c.emit(Frame{Kind: FramePeer, Peer: seen})
		}
		return true
	}
	if len(c.peers) >= maxPeers {
		return false
	}
	c.peers = append(c.peers, seen)
	c.emit(Frame{Kind: FramePeer, Peer: seen})
	return true
}

// Handshake is a connection from a process of another member that is alive now, with the processes that its disk has seen. If the one
// that was heard last is not among them, the disk was put back to an older state: what it had promised and acknowledged since is gone,
// and no process on it is ever heard again. (Boot counters alone would not do: enough restarts and they are above those forgotten.)
//
// The process counts as heard from now on: of a follower nobody but the leader gets messages, but each member may have to judge it.
func (c *Core) Handshake(boots []PeerBoot) bool {
	if c.bug(BugBootGoesBack) || c.halted != nil || len(boots) == 0 {
		return true
	}
	p := boots[len(boots)-1]
	for i := range c.peers {
		q := &c.peers[i]
		if q.Member != p.Member {
			continue
		}
		if slices.Contains(boots, *q) || q.Boot < boots[0].Boot {
			if p.Boot > q.Boot {
				*q = p
				c.emit(Frame{Kind: FramePeer, Peer: p})
			}
			return true
		}
		if q.Boot != bannedBoot {
			*q = PeerBoot{p.Member, bannedBoot, 0}
			c.emit(Frame{Kind: FramePeer, Peer: *q})
		}
		return false
	}
	if len(c.peers) < maxPeers {
		c.peers = append(c.peers, p)
		c.emit(Frame{Kind: FramePeer, Peer: p})
	}
	return true
}

// maxBoots bounds the own processes that are remembered.
const maxBoots = 32

// bannedBoot is above every boot.
const bannedBoot = 1<<64 - 1

// maxPeers bounds the members that are remembered, those long gone included.
const maxPeers = 1024

func (c *Core) refuse(m *Message) {
	r := c.message(MsgRefuse, m.From)
	r.Ballot, r.Promised = m.Ballot, c.promised
	c.send(r)
}

// onFence promises. The reply leaves when the promise, and with it all that it reports, is durable.
func (c *Core) onFence(m *Message) {
	if !c.accepts(m.Ballot) {
		c.refuse(m)
		return
	}
	prior := c.promised
	c.promise(m.Ballot)
	if c.halted != nil || c.lead != nil {
		return
	}
	r := c.message(MsgPromise, m.From)
	r.Report = c.report()
	if c.bug(BugPickByPromise) {
		r.Promised = prior
	}
	if c.bug(BugLateAck) {
		r.Report.Last, _ = c.log.at(max(c.durableEnd, c.log.base.End))
		c.send(r)
		return
	}
	c.hold(r)
}

func (c *Core) report() *Report {
	r := &Report{Last: c.log.last(), Start: c.start, Commit: c.commit, Lineage: c.lineage, Voters: c.votersInForce()}
	if c.fault >= 0 {
		r.Fault = &Fault{From: c.fault}
	}
	return r
}

// follow accepts a ballot that asks for more than a promise: whoever sends it leads it.
func (c *Core) follow(m *Message) bool {
	if !c.accepts(m.Ballot) {
		c.refuse(m)
		return false
	}
	if c.lead != nil && c.lead.ballot == m.Ballot {
		return false // only this process may send under this ballot
	}
	c.promise(m.Ballot)
	if c.leader != m.Ballot.Member {
		c.leader = m.Ballot.Member
		c.out.Changed = true
	}
	return c.halted == nil
}

// onAppend is the follower's side of replication.
func (c *Core) onAppend(m *Message) {
	if !c.follow(m) {
		return
	}
	if !chained(m.Prev, m.Entries, m.Ballot.Term) && !c.bug(BugSkipChainCheck|BugNoPrevCheck) {
		return // damaged on the way; the leader repeats
	}
	own, known := c.log.at(m.Prev.End)
	switch {
	case c.bug(BugNoPrevCheck) && known:
	case !known:
		c.nack(m)
		return
	case own != m.Prev:
		if m.Prev.End <= c.commit {
			c.halt("I3: %v has another entry at %d, which is committed here", m.From, m.Prev.End-1)
			return
		}
		c.nack(m)
		return
	}
	if c.bug(BugTruncateAlways) {
		c.truncate(m.Prev.End)
	}
	c.takeEntries(m.Entries)
	if c.halted != nil {
		return
	}
	end := m.Prev.End + int64(len(m.Entries))
	c.verified = max(c.verified, end)
	c.leaderCommit = max(c.leaderCommit, m.Commit)
	if c.fault >= 0 && (m.ToNonce == c.cfg.Nonce || c.bug(BugClearWithoutNonce)) && c.faultUntil < 0 {
		c.faultUntil = m.LeaderEnd
	}
	a := c.message(MsgAck, m.From)
	a.End, a.Faulty = c.verified, c.fault >= 0
	c.hold(a)
	c.clearFault()
	c.followCommit()
}

// takeEntries skips entries that are here already and truncates only where one differs.
func (c *Core) takeEntries(entries []Entry) {
	for i := range entries {
		e := &entries[i]
		if e.Offset < c.log.end() {
			own := c.log.get(e.Offset)
			if own.Hash == e.Hash || c.bug(BugNoPrevCheck) && own.Epoch == e.Epoch {
				continue
			}
			if own.Epoch == e.Epoch && !c.bug(^Bugs(0)) {
				c.halt("I3: two entries of epoch %d at offset %d", e.Epoch, e.Offset)
				return
			}
			c.truncate(e.Offset)
		}
		if c.halted != nil {
			return
		}
		c.appendEntry(*e)
	}
}

// chained verifies entries that came over the wire: hashes, order, groups, no epoch above the ballot's.
func chained(prev Position, entries []Entry, term uint64) bool {
	for i := range entries {
		e := &entries[i]
		if e.Offset != prev.End || e.PrevHash != prev.Hash || e.Epoch < prev.Epoch || e.Epoch > term || !e.Type.valid() {
			return false
		}
		prev = Position{End: e.Offset + 1, Epoch: e.Epoch, Hash: e.Hash}
	}
	return len(entries) == 0 || !entries[len(entries)-1].More
}

// nack tells the leader from where to go on: the commit, up to which both logs are surely equal.
func (c *Core) nack(m *Message) {
	if c.bug(BugCommitUnverified) && m.Commit > c.commit {
		c.setCommit(min(m.Commit, c.log.end()))
	}
	n := c.message(MsgNack, m.From)
	n.End, n.Commit, n.Faulty = c.log.end(), max(c.commit, c.log.base.End), c.fault >= 0
	c.send(n)
}

// followCommit commits what the leader has committed, as far as it is verified in this ballot and durable here.
func (c *Core) followCommit() {
	if c.lead != nil || c.halted != nil {
		return
	}
	to := min(c.leaderCommit, c.verified, c.durableEnd)
	if c.bug(BugCommitNotDurable) {
		to = min(c.leaderCommit, c.verified)
	}
	if c.bug(BugCommitUnverified) {
		to = min(c.leaderCommit, c.log.end())
	}
	c.setCommit(to)
}

// clearFault ends a fault once the log, verified in this ballot and durable, reaches the leader's end as it was when the leader knew
// that this process had lost something: whatever was counted of the process before lies below that.
func (c *Core) clearFault() {
	if c.fault < 0 || c.halted != nil {
		return
	}
	until := c.faultUntil
	if c.bug(BugFaultUntilUnknown) && c.verified > c.fault {
		until = c.fault
	}
	if until < 0 || min(c.verified, c.durableEnd) < until && !c.bug(BugClearFaultBeforeSync) || c.clearing() {
		return
	}
	c.emit(Frame{Kind: FrameClear})
}

func (c *Core) clearing() bool {
	for i := range c.out.Frames {
		if c.out.Frames[i].Kind == FrameClear {
			return true
		}
	}
	return slices.ContainsFunc(c.pending, func(p pendingBatch) bool { return p.clear })
}

// onFetch gives a leader that is adopting this log the entries it asks for. Its ballot was promised, so nothing is appended meanwhile.
func (c *Core) onFetch(m *Message) {
	if m.Ballot != c.promised || c.lead != nil {
		c.refuse(m)
		return
	}
	switch {
	case m.Offset < c.start:
		c.out.Images = append(c.out.Images, ImageRequest{To: m.From, For: MsgFetched, Ballot: m.Ballot})
	case m.Offset < c.log.base.End:
		c.out.Reads = append(c.out.Reads, ReadRequest{To: m.From, For: MsgFetched, Ballot: m.Ballot, Offset: m.Offset, MaxBytes: c.cfg.MaxAppendBytes})
	case m.Offset < c.log.end():
		r := c.message(MsgFetched, m.From)
		r.Prev, _ = c.log.at(m.Offset)
		r.Entries = c.log.slice(m.Offset, c.log.end(), c.cfg.MaxAppendBytes)
		c.hold(r)
	}
}

// onInstall takes an image in place of a log that is too short or differs.
func (c *Core) onInstall(m *Message) {
	if m.Image == nil || !c.bug(BugInstallNoBallot) && !c.follow(m) {
		return
	}
	c.considerImage(&storingImage{ballot: m.Ballot, from: m.From, file: m.Image})
}

func (c *Core) considerImage(s *storingImage) {
	at := s.file.Meta.At
	own, known := c.log.at(at.End)
	switch {
	case at.End <= c.commit && !c.bug(BugInstallBelowCommit):
		if !s.adopt {
			c.nack(&Message{From: s.from})
		}
	case known && own == at && !c.bug(BugInstallNoRetain):
		c.verified = max(c.verified, at.End)
		c.leaderCommit = max(c.leaderCommit, at.End)
		if !s.adopt {
			a := c.message(MsgAck, s.from)
			a.End, a.Faulty = at.End, c.fault >= 0
			c.hold(a)
		}
		c.followCommit()
	case c.storing == nil && c.swapped == nil:
		c.storing = s
		c.out.Store = s.file
	}
}

// ImageStored says that the image of the last Store is durable as a file. The ballot is looked at once more: the swap obeys it too.
func (c *Core) ImageStored() {
	s := c.storing
	c.storing = nil
	if c.halted != nil || s == nil {
		return
	}
	if s.ballot != c.promised && !c.bug(BugInstallNoRecheck|BugInstallNoBallot) {
		return
	}
	if s.adopt != (c.lead != nil) && !c.bug(BugInstallNoRecheck|BugInstallNoBallot) || c.lead != nil && c.lead.phase != RoleAdopting {
		return
	}
	at := s.file.Meta.At
	own, known := c.log.at(at.End)
	if at.End <= c.commit && !c.bug(BugInstallBelowCommit) || known && own == at && !c.bug(BugInstallNoRetain|BugInstallNoRecheck) {
		c.considerImage(s)
		return
	}
	c.swap(s.file.Meta)
	if s.adopt {
		if c.lead != nil {
			c.fetchMore()
		}
		return
	}
	a := c.message(MsgAck, s.from)
	a.Ballot, a.End, a.Faulty = s.ballot, at.End, c.fault >= 0
	c.hold(a)
}

// swap replaces the log by an image. Promise and fault mark are written again, before the Reset after which the old log is not looked
// at any more.
func (c *Core) swap(meta ImageMeta) {
	if !c.bug(BugInstallLosesPromise) {
		c.emit(Frame{Kind: FramePromise, Ballot: c.promised})
		c.copyDue = !c.bug(BugOnePromiseCopy)
	}
	if c.bug(BugInstallClearsFault) {
		c.fault = -1
	}
	if c.fault >= 0 {
		c.emit(Frame{Kind: FrameFault, Offset: min(c.fault, meta.At.End)})
	}
	for _, p := range c.peers {
		c.emit(Frame{Kind: FramePeer, Peer: p})
	}
	for _, p := range c.boots {
		c.emit(Frame{Kind: FrameBoot, Peer: p})
	}
	c.emit(Frame{Kind: FrameReset, At: meta.At})
	c.log = tail{base: meta.At}
	c.lineage, c.voters = meta.Lineage[:len(meta.Lineage):len(meta.Lineage)], []VoterSet{meta.Voters}
	c.start, c.image = meta.At.End, meta.At
	c.durableEnd = min(c.durableEnd, c.commit)
	for i := range c.pending {
		c.pending[i].end = min(c.pending[i].end, c.commit)
	}
	c.verified = meta.At.End
	c.leaderCommit = max(c.leaderCommit, meta.At.End)
	c.swapped = &meta
	if c.bug(BugInstallNotAtomic) {
		c.durableEnd = meta.At.End
		c.followCommit()
	}
}
