package metalog

import "slices"

func (c *Core) progressOf(m Member) *progress {
	for i := range c.lead.progress {
		if c.lead.progress[i].member == m {
			return &c.lead.progress[i]
		}
	}
	return nil
}

// updateProgress brings the list of followers in line with the members and voters.
func (c *Core) updateProgress() {
	l := c.lead
	all := c.others()
	l.progress = slices.DeleteFunc(l.progress, func(p progress) bool { return !slices.Contains(all, p.member) })
	voters := c.votersInForce()
	for _, m := range all {
		p := c.progressOf(m)
		if p == nil {
			l.progress = append(l.progress, progress{member: m, next: c.log.end(), sentTick: c.ticks, ackTick: c.ticks})
			p = &l.progress[len(l.progress)-1]
			for _, b := range c.peers {
				if b.Member == m {
					p.nonce = b.Nonce
				}
			}
		}
		p.voter = voters.Has(m)
	}
}

// replicate sends a member what it lacks, as far as the window allows, and a new commit at once.
func (c *Core) replicate(p *progress) {
	if p.probing {
		return
	}
	for p.next < c.log.end() && p.inflight < c.cfg.WindowBytes && !p.reading {
		switch {
		case p.next < c.start:
			p.reading = true
			c.out.Images = append(c.out.Images, ImageRequest{To: p.member, For: MsgInstall, Ballot: c.promised})
		case p.next < c.log.base.End:
			p.reading = true
			c.out.Reads = append(c.out.Reads, ReadRequest{To: p.member, For: MsgAppend, Ballot: c.promised, Offset: p.next, MaxBytes: c.cfg.MaxAppendBytes})
		default:
			prev, _ := c.log.at(p.next)
			c.sendAppend(p, prev, c.log.slice(p.next, c.log.end(), c.cfg.MaxAppendBytes))
		}
	}
	if p.commit < c.commit && p.match > p.commit && !p.reading {
		c.sendEmpty(p)
	}
}

func (c *Core) sendEmpty(p *progress) {
	if prev, known := c.log.at(min(p.next, c.log.end())); known {
		c.sendAppend(p, prev, nil)
	}
}

func (c *Core) sendAppend(p *progress, prev Position, entries []Entry) {
	if c.bug(BugSplitGroup) && len(entries) > 1 {
		entries = entries[:1+(len(entries)-1)/2]
	}
	m := c.message(MsgAppend, p.member)
	m.Prev, m.Entries, m.Commit, m.LeaderEnd, m.ToNonce = prev, entries, c.commit, c.log.end(), p.nonce
	for i := range entries {
		p.inflight += entries[i].encodedSize()
	}
	p.next = prev.End + int64(len(entries))
	p.commit, p.sentTick = c.commit, c.ticks
	c.send(m)
}

// EntriesRead answers a ReadRequest; no entries mean that they cannot be read any more.
func (c *Core) EntriesRead(r ReadRequest, entries []Entry) {
	if c.halted != nil || r.Ballot != c.promised {
		return
	}
	prev := Position{End: r.Offset, Epoch: epochBefore(c.lineage, r.Offset)}
	if len(entries) > 0 {
		prev.Hash = entries[0].PrevHash
	}
	if r.For == MsgFetched {
		if c.lead == nil && len(entries) > 0 {
			m := c.message(MsgFetched, r.To)
			m.Prev, m.Entries = prev, entries
			c.hold(m)
		}
		return
	}
	if c.lead == nil || c.lead.phase < RoleOpening {
		return
	}
	p := c.progressOf(r.To)
	if p == nil || !p.reading {
		return
	}
	p.reading = false
	if p.next == r.Offset && len(entries) > 0 {
		c.sendAppend(p, prev, entries)
		c.replicate(p)
	}
}

// ImageRead answers an ImageRequest; nil means that there is none that can be read.
func (c *Core) ImageRead(r ImageRequest, file *ImageFile) {
	if c.halted != nil || r.Ballot != c.promised {
		return
	}
	if r.For == MsgFetched {
		if c.lead == nil && file != nil {
			m := c.message(MsgFetched, r.To)
			m.Image = file
			c.hold(m)
		}
		return
	}
	if c.lead == nil || c.lead.phase < RoleOpening {
		return
	}
	p := c.progressOf(r.To)
	if p == nil || !p.reading {
		return
	}
	p.reading = false
	if file != nil {
		c.install(p, file)
	}
}

// Install sends a member an image although it may not need one; the simulator does.
func (c *Core) Install(to Member, file *ImageFile) {
	if l := c.lead; l != nil && l.phase >= RoleOpening && c.halted == nil {
		if p := c.progressOf(to); p != nil {
			c.install(p, file)
		}
	}
}

func (c *Core) install(p *progress, file *ImageFile) {
	m := c.message(MsgInstall, p.member)
	m.Image = file
	p.inflight += int64(len(file.Data))
	p.next = max(p.next, file.Meta.At.End)
	p.sentTick = c.ticks
	c.send(m)
}

func (c *Core) onAck(m *Message) {
	p := c.heard(m)
	if p == nil || m.End > c.log.end() {
		return
	}
	p.inflight = 0
	p.next = max(p.next, m.End)
	if p.faulty = m.Faulty; !m.Faulty || c.bug(BugCountFaulty) {
		p.match = max(p.match, m.End)
	}
	if p.acks++; p.match >= c.log.end() {
		p.caughtUp, p.caughtUpTick = p.match, c.ticks
	}
	c.leadCommit()
	if c.lead != nil {
		c.replicate(p)
	}
}

// onNack goes back to the follower's commit, up to which the logs are surely equal.
func (c *Core) onNack(m *Message) {
	p := c.heard(m)
	if p == nil {
		return
	}
	p.faulty = m.Faulty
	if m.Commit > c.log.end() {
		c.halt("I5: %v has committed up to %d, above this log's end", m.From, m.Commit)
		return
	}
	p.next, p.inflight, p.reading = max(m.Commit, 0), 0, false
	c.replicate(p)
}

// heard is the progress of the sender of a reply to this leader.
func (c *Core) heard(m *Message) *progress {
	l := c.lead
	if l == nil || l.ballot != m.Ballot && !c.bug(BugOldAnswers) || l.phase < RoleOpening {
		return nil
	}
	p := c.progressOf(m.From)
	if p == nil && c.bug(BugWipedSameID) {
		for i := range l.progress {
			if l.progress[i].member.NodeID == m.From.NodeID {
				p = &l.progress[i]
			}
		}
	}
	if p == nil {
		return nil
	}
	p.nonce, p.ackTick, p.probing = m.FromNonce, c.ticks, false
	return p
}

// leadCommit commits what is durable on a majority of the voters in force and here, once that reaches this epoch's first entry.
func (c *Core) leadCommit() {
	l := c.lead
	if l == nil || c.halted != nil || l.phase < RoleOpening {
		return
	}
	to := min(c.quorumEnd(), c.log.end())
	if !c.bug(BugLeaderCountsUnsynced) {
		to = min(to, c.durableEnd)
	}
	if to <= c.commit || to <= l.start && !c.bug(BugCommitOldEpoch) {
		return
	}
	before := c.commit
	for o := before; o < to; o++ {
		if o >= c.log.base.End {
			l.bytes -= c.log.get(o).encodedSize()
		}
	}
	l.bytes = max(l.bytes, 0)
	c.setCommit(to)
	if l.phase == RoleOpening && c.commit > l.start {
		l.phase = RoleLeader
		c.out.Changed = true
	}
	for i := range l.progress {
		c.replicate(&l.progress[i])
	}
}

// quorumEnd is the largest end that a majority of the voters in force has on its disks.
func (c *Core) quorumEnd() int64 {
	var scratch [8]int64
	voters := c.votersInForce()
	ends := scratch[:0]
	for _, v := range voters.Members {
		end := int64(0)
		if v == c.cfg.Self {
			end = c.durableEnd
			if c.bug(BugLeaderCountsUnsynced) {
				end = c.log.end()
			}
		} else if p := c.progressOf(v); p != nil {
			end = p.match
		}
		ends = append(ends, end)
	}
	if c.bug(BugCountNonvoter) {
		for i := range c.lead.progress {
			if p := &c.lead.progress[i]; !voters.Has(p.member) {
				ends = append(ends, p.match)
			}
		}
	}
	slices.Sort(ends)
	return ends[len(ends)-voters.Majority()]
}

// Tick is the passing of time, in units of the owner. It repeats what was not answered.
func (c *Core) Tick() {
	if c.halted != nil {
		return
	}
	c.ticks++
	l := c.lead
	if l == nil {
		return
	}
	switch {
	case l.phase == RoleFencing:
		for _, m := range c.others() {
			if !slices.ContainsFunc(l.replies, func(r reply) bool { return r.member == m }) && c.PromiseSafe() && c.ticks%c.cfg.ResendTicks == 0 {
				c.send(c.message(MsgFence, m))
			}
		}
	case l.phase == RoleAdopting && c.ticks-l.lastTick >= c.cfg.GiveUpTicks && c.storing == nil:
		c.fence()
	case l.phase == RoleAdopting && (c.ticks-l.lastTick)%c.cfg.ResendTicks == 0 && c.log.end() < l.source.report.Last.End:
		c.fetchMore()
	case l.phase >= RoleOpening:
		for i := range l.progress {
			c.repeat(&l.progress[i])
		}
	}
}

// repeat asks a member that has not answered for a while where it stands, and everybody else now and then.
func (c *Core) repeat(p *progress) {
	if c.ticks-p.sentTick < c.cfg.ResendTicks {
		return
	}
	if p.ackTick < p.sentTick {
		p.probing, p.inflight, p.reading = true, 0, false
		p.next = max(p.match, c.log.base.End)
	}
	c.replicate(p)
	if c.ticks > p.sentTick && !p.reading {
		c.sendEmpty(p)
		p.sentTick = c.ticks
	}
}
