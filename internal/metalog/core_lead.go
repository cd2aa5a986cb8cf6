package metalog

import "slices"

// lead is what a node knows that wants to lead or leads. It belongs to one ballot.
type lead struct {
	ballot   Ballot
	phase    Role
	selfNeed int64 // own promise and log are durable with this batch
	replies  []reply
	source   reply // whose log is adopted
	lastTick int64 // of progress
	start    int64 // offset of the EpochStart
	progress []progress
	bytes    int64 // appended and not committed

	contested bool // a member has promised another ballot of this term
}

type reply struct {
	member   Member
	report   *Report
	promised Ballot // BugPickByPromise only
}

// progress is what a leader knows of a member.
type progress struct {
	member   Member
	voter    bool
	faulty   bool
	match    int64
	next     int64
	inflight int64 // bytes sent and not acknowledged
	commit   int64 // sent last
	nonce    uint64
	reading  bool
	probing  bool // nothing was heard for a while: only empty Appends until something is
	sentTick int64
	ackTick  int64
	acks     int64

	caughtUp     int64 // the leader's end that was reached last
	caughtUpTick int64
}

// Claim tells the core that this process may try to lead in a term. It obeys the rule that binds any receiver: never a term at or below
// an own promise.
func (c *Core) Claim(term uint64) {
	if c.halted != nil || c.fault >= 0 && !c.bug(BugFaultyClaims) {
		return
	}
	b := Ballot{Term: term, Member: c.cfg.Self, Nonce: c.cfg.Nonce}
	switch {
	case c.bug(BugReuseEpoch):
		if b.Term < c.promised.Term || b.Term == c.promised.Term && b != c.promised {
			return
		}
	case c.bug(BugClaimByBootPromise):
		if b.Term <= c.bootFloor || b.Term < c.promised.Term {
			return
		}
	case c.bug(BugPromiseByTermOnly):
		if b.Term < c.promised.Term {
			return
		}
	case b.Term <= c.promised.Term:
		return
	}
	if c.lead != nil && c.lead.ballot == b {
		return
	}
	prior := c.promised
	c.promise(b)
	c.lead = &lead{ballot: b, lastTick: c.ticks}
	if c.bug(BugPickByPromise) {
		c.lead.source.promised = prior
	}
	c.fence()
}

// fence asks everybody for a promise, and for a report of the log.
func (c *Core) fence() {
	l := c.lead
	l.phase, l.replies, l.selfNeed, l.lastTick = RoleFencing, nil, c.need(), c.ticks
	c.out.Changed = true
	for _, m := range c.others() {
		c.hold(c.message(MsgFence, m))
	}
	c.leadPersisted()
}

// others are all members known: those that were named and all that vote according to the log.
func (c *Core) others() []Member {
	var all []Member
	add := func(m Member) {
		if m != c.cfg.Self && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	for _, v := range c.voters {
		for _, m := range v.Members {
			add(m)
		}
	}
	for _, m := range c.members {
		add(m)
	}
	return all
}

// SetMembers names the members that are to have the log, besides the voters in it.
func (c *Core) SetMembers(members []Member) {
	c.members = slices.Clone(members)
	if c.lead != nil && c.lead.phase >= RoleOpening {
		c.updateProgress()
	}
}

// SetRaftVoters is for BugQuorumFromRaft.
func (c *Core) SetRaftVoters(v VoterSet) { c.raft = v }

// leadPersisted goes on with what waited for the own disk.
func (c *Core) leadPersisted() {
	l := c.lead
	if l == nil || c.halted != nil || c.done < l.selfNeed || !c.PromiseSafe() {
		return
	}
	switch l.phase {
	case RoleFencing:
		if !slices.ContainsFunc(l.replies, func(r reply) bool { return r.member == c.cfg.Self }) {
			l.replies = append(l.replies, reply{c.cfg.Self, c.report(), l.source.promised})
		}
		c.adopt()
	case RoleAdopting:
		if c.log.end() == l.source.report.Last.End && c.durableEnd == c.log.end() {
			c.open()
		}
	case RoleOpening, RoleLeader:
		c.leadCommit()
	}
}

func (c *Core) onPromise(m *Message) {
	l := c.lead
	if l == nil || l.ballot != m.Ballot && !c.bug(BugOldAnswers) || m.Report == nil {
		return
	}
	if l.phase >= RoleOpening {
		if p := c.progressOf(m.From); p != nil {
			p.nonce = m.FromNonce
		}
		return
	}
	if l.phase != RoleFencing {
		return
	}
	r := reply{m.From, m.Report, m.Promised}
	if i := slices.IndexFunc(l.replies, func(x reply) bool { return x.member == m.From }); i >= 0 && !c.bug(BugCountTwice) {
		l.replies[i] = r
	} else {
		l.replies = append(l.replies, r)
	}
	c.leadPersisted()
}

// onRefuse gives up a ballot that another member has promised past.
func (c *Core) onRefuse(m *Message) {
	l := c.lead
	switch {
	case l == nil || l.ballot != m.Ballot:
	case m.Promised.Term > l.ballot.Term:
		c.lead = nil
		c.out.Changed = true
	case m.Promised.Term == l.ballot.Term && m.Promised != l.ballot:
		l.contested = true
	}
}

// Contested reports whether a member has promised another ballot of the term in which this node leads: Raft has named two leaders. The
// member follows again in the next term, so one should be begun.
func (c *Core) Contested() bool { return c.lead != nil && c.lead.contested }

// better orders reports: the epoch of the last entry, then the length. Neither length alone nor the promise says anything.
func (c *Core) better(a, b reply) bool {
	switch {
	case c.bug(BugPickLongest):
		return a.report.Last.End > b.report.Last.End
	case c.bug(BugPickByPromise):
		if a.promised.Term != b.promised.Term {
			return a.promised.Term > b.promised.Term
		}
		return a.report.Last.End > b.report.Last.End
	}
	if a.report.Last.Epoch != b.report.Last.Epoch {
		return a.report.Last.Epoch > b.report.Last.Epoch
	}
	return a.report.Last.End > b.report.Last.End
}

// adopt picks the best log among the replies, if a majority of the voters named in that log has replied.
func (c *Core) adopt() {
	l := c.lead
	best := -1
	for i, r := range l.replies {
		if r.report.Fault != nil && !c.bug(BugCountFaulty) {
			continue
		}
		if best < 0 || c.better(r, l.replies[best]) {
			best = i
		}
	}
	if best < 0 {
		return
	}
	src := l.replies[best]
	voters := src.report.Voters
	if c.bug(BugQuorumFromRaft) {
		voters = c.votersInForce()
	}
	count := 0
	for _, r := range l.replies {
		if (c.votes(voters, r.member) || c.bug(BugCountNonvoter)) && (r.report.Fault == nil || c.bug(BugCountFaulty)) {
			count++
		}
	}
	if count < voters.Majority() && !c.bug(BugNoFenceQuorum) {
		return
	}
	l.source, l.phase, l.lastTick = src, RoleAdopting, c.ticks
	c.out.Changed = true
	own := c.log.last()
	if own.End == src.report.Last.End && own.Epoch == src.report.Last.Epoch {
		if own.Hash != src.report.Last.Hash {
			c.halt("I3: %v has another entry of epoch %d at offset %d", src.member, own.Epoch, own.End-1)
			return
		}
		c.open()
		return
	}
	fork := lineageFork(c.lineage, own.End, src.report.Lineage, src.report.Last.End)
	if fork < c.commit {
		c.halt("I5: the best log, of %v, differs from offset %d on, below the commit", src.member, fork)
		return
	}
	c.truncate(fork)
	if c.halted == nil {
		c.fetchMore()
	}
}

func (c *Core) votes(v VoterSet, m Member) bool {
	if c.bug(BugWipedSameID) {
		return slices.ContainsFunc(v.Members, func(x Member) bool { return x.NodeID == m.NodeID })
	}
	return v.Has(m)
}

// fetchMore asks for the rest of the log that is adopted, or opens when all of it is durable.
func (c *Core) fetchMore() {
	l := c.lead
	if c.log.end() >= l.source.report.Last.End {
		if c.log.last() != l.source.report.Last {
			c.halt("I3: the log adopted from %v does not end as it was reported", l.source.member)
			return
		}
		l.selfNeed = c.need()
		c.leadPersisted()
		return
	}
	m := c.message(MsgFetch, l.source.member)
	m.Offset, m.MaxBytes = c.log.end(), int32(min(c.cfg.MaxAppendBytes, 1<<30))
	c.send(m)
}

func (c *Core) onFetched(m *Message) {
	l := c.lead
	if l == nil || l.ballot != m.Ballot || l.phase != RoleAdopting || m.From != l.source.member {
		return
	}
	if m.Image != nil {
		l.lastTick = c.ticks
		c.considerImage(&storingImage{ballot: m.Ballot, from: m.From, file: m.Image, adopt: true})
		return
	}
	if m.Prev.End != c.log.end() || len(m.Entries) == 0 || !chained(m.Prev, m.Entries, l.ballot.Term) {
		return // repeated, or damaged on the way
	}
	if m.Prev != c.log.last() {
		c.halt("I3: %v has another entry %d than this log, though the epochs agree", m.From, m.Prev.End-1)
		return
	}
	for i := range m.Entries {
		c.appendEntry(m.Entries[i])
		if c.halted != nil {
			return
		}
	}
	l.lastTick = c.ticks
	c.fetchMore()
}

// open begins the epoch. Nothing is served before its first entry is committed.
func (c *Core) open() {
	l := c.lead
	c.verified = c.log.end()
	l.phase, l.start = RoleOpening, c.log.end()
	c.leader = c.cfg.Self
	c.out.Changed = true
	c.extend([]NewEntry{{EntryEpochStart, appendBallot(nil, l.ballot)}})
	if c.halted != nil {
		return
	}
	c.updateProgress()
	for i := range l.progress {
		p := &l.progress[i]
		for _, r := range l.replies {
			if r.member == p.member {
				p.next = max(lineageFork(c.lineage, l.start, r.report.Lineage, r.report.Last.End), r.report.Commit)
			}
		}
		c.replicate(p)
	}
	c.leadPersisted()
}

// extend appends new entries of the own epoch as one group.
func (c *Core) extend(entries []NewEntry) {
	for i, n := range entries {
		last := c.log.last()
		e := Entry{Type: n.Type, Epoch: c.lead.ballot.Term, Offset: last.End, PrevHash: last.Hash, More: i+1 < len(entries), Payload: n.Payload}
		e.Hash = EntryHash(&e)
		c.lead.bytes += e.encodedSize()
		c.appendEntry(e)
		if c.halted != nil {
			return
		}
	}
	c.verified = c.log.end()
	c.lead.selfNeed = c.need()
}

// Propose appends entries as one group and returns the offset of the first. The error is ErrNotController or ErrBusy, and then nothing
// was appended.
func (c *Core) Propose(entries []NewEntry) (first int64, err error) {
	l := c.lead
	switch {
	case c.halted != nil:
		return 0, c.halted
	case l == nil || l.phase != RoleLeader:
		return 0, ErrNotController
	case l.bytes > c.cfg.MaxUncommittedBytes:
		return 0, ErrBusy
	}
	first = c.log.end()
	c.extend(entries)
	return first, c.halted
}

// Replicate sends what was appended. It is called once after a batch of proposals.
func (c *Core) Replicate() {
	if l := c.lead; l != nil && l.phase >= RoleOpening {
		for i := range l.progress {
			c.replicate(&l.progress[i])
		}
		c.leadPersisted()
	}
}

// Role is what this node does in the promised ballot.
func (c *Core) Role() Role {
	if c.lead == nil {
		return RoleFollower
	}
	return c.lead.phase
}

// Full reports whether a leader has so much uncommitted that proposals must wait.
func (c *Core) Full() bool { return c.lead != nil && c.lead.bytes > c.cfg.MaxUncommittedBytes }

// Founding reports whether the log has no Voters entry yet, so that a leader may append the founders as the first.
func (c *Core) Founding() bool { return len(c.voters) == 1 && c.voters[0].Offset < 0 }

// CheckVoters says whether the leader may replace the voters by these now.
func (c *Core) CheckVoters(members []Member) error {
	l := c.lead
	if l == nil || l.phase < RoleOpening || l.phase != RoleLeader && !c.bug(BugChangeBeforeStart) {
		return ErrNotController
	}
	cur := c.voters[len(c.voters)-1]
	if cur.Offset >= c.commit && !c.bug(BugTwoPending) {
		return ErrBusy
	}
	added, removed := 0, 0
	for i, m := range members {
		if slices.Contains(members[:i], m) || slices.ContainsFunc(members[:i], func(x Member) bool { return x.NodeID == m.NodeID }) {
			return ErrVotersChange
		}
		if !cur.Has(m) {
			added++
		}
	}
	for _, m := range cur.Members {
		if !slices.Contains(members, m) {
			removed++
			if m == c.cfg.Self {
				return ErrVotersChange
			}
		}
	}
	if len(members) == 0 || added+removed > 1 && !c.bug(BugVotersByTwo) {
		return ErrVotersChange
	}
	return nil
}

// ChangeVoters appends a set of voters, in force at once, and returns its offset.
func (c *Core) ChangeVoters(members []Member) (offset int64, err error) {
	if c.halted != nil {
		return 0, c.halted
	}
	if err := c.CheckVoters(members); err != nil {
		return 0, err
	}
	offset = c.log.end()
	c.extend([]NewEntry{{EntryVoters, votersPayload(members)}})
	if c.halted == nil {
		c.updateProgress()
	}
	return offset, c.halted
}
