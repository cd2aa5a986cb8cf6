package group

import (
	"slices"
	"strings"
)

// join handles JoinGroup. The facade has checked sizes and the session timeout.
func (m *machine) join(r *JoinRequest, rep *reply[JoinResult]) {
	refuse := func(err error) { rep.answer(JoinResult{MemberID: r.MemberID}, err) }
	g := m.groups[r.Group]
	if g == nil {
		switch {
		case r.MemberID != "":
			refuse(ErrUnknownMember)
			return
		case r.ProtocolType == "" || len(r.Protocols) == 0:
			refuse(ErrInconsistentProtocol)
			return
		case m.full():
			refuse(ErrStateFull)
			return
		}
		g = m.open(strings.Clone(r.Group))
	}
	defer m.forgetUnused(g)
	switch {
	case !m.admits(g, r.MemberID):
		if mem := g.members[r.MemberID]; mem != nil {
			m.expel(g, mem, ErrGroupFull)
			m.progress(g)
		}
		m.dropPending(g, r.MemberID)
		rep.answer(JoinResult{}, ErrGroupFull)
	case !g.accepts(r.ProtocolType, r.Protocols):
		refuse(ErrInconsistentProtocol)
	case r.MemberID == "":
		m.joinNew(g, r, rep)
	case g.pending[r.MemberID] != nil:
		if r.InstanceID != "" { // ids are given out to dynamic members only
			refuse(ErrInvalidRequest)
			return
		}
		m.addMember(g, r, r.MemberID, rep)
	default:
		if err := g.check(r.MemberID, r.InstanceID); err != nil {
			refuse(err)
			return
		}
		m.rejoin(g, g.members[r.MemberID], r, rep)
	}
}

// admits holds group.max.size: members that are in stay, unless the bound has shrunk and others rejoined first.
func (m *machine) admits(g *group, memberID string) bool {
	mem := g.members[memberID]
	switch g.state {
	case PreparingRebalance:
		return (mem != nil && mem.join != nil) || g.joining < m.cfg.MaxGroupSize
	case CompletingRebalance, Stable:
		return mem != nil || len(g.members) < m.cfg.MaxGroupSize
	default:
		return true
	}
}

// joinNew handles a member that has no id yet.
func (m *machine) joinNew(g *group, r *JoinRequest, rep *reply[JoinResult]) {
	if r.InstanceID != "" {
		id := r.InstanceID + "-" + m.newID()
		if holder := g.static[r.InstanceID]; holder != "" {
			m.replace(g, g.members[holder], id, r, rep)
			return
		}
		m.addMember(g, r, id, rep)
		return
	}
	id := r.Client.ID + "-" + m.newID()
	if !r.RequireKnownMember {
		m.addMember(g, r, id, rep)
		return
	}
	if len(g.pending) >= m.cfg.MaxPending || m.full() {
		rep.answer(JoinResult{}, ErrGroupFull)
		return
	}
	t := &timer{}
	t.fire = func() {
		m.dropPending(g, id)
		m.progress(g)
		m.forgetUnused(g)
	}
	g.pending[id] = t
	m.usage.bytes.Add(pendingCost(id))
	m.arm(t, r.SessionTimeout)
	rep.answer(JoinResult{MemberID: id}, ErrMemberIDRequired)
}

// addMember makes the caller a member that waits for the next generation.
func (m *machine) addMember(g *group, r *JoinRequest, id string, rep *reply[JoinResult]) {
	if m.full() {
		rep.answer(JoinResult{MemberID: r.MemberID}, ErrStateFull)
		return
	}
	m.dropPending(g, id)
	mem := &member{id: strings.Clone(id), instanceID: strings.Clone(r.InstanceID), isNew: true, join: rep}
	m.update(mem, r)
	if g.state == PreparingRebalance && g.fromEmpty {
		g.newMember = true
	}
	g.add(mem, strings.Clone(r.ProtocolType))
	m.watch(g, mem)
	m.recost(mem)
	// Its session counts from the answer. Until then it cannot send heartbeats, and its connection may be gone.
	m.arm(&mem.session, m.cfg.NewMemberTimeout)
	m.rebalance(g, "member "+mem.id+" joins")
}

// update takes over what a join says about its member.
func (m *machine) update(mem *member, r *JoinRequest) {
	mem.client = Client{ID: strings.Clone(r.Client.ID), Host: strings.Clone(r.Client.Host)}
	mem.sessionTimeout, mem.rebalanceTimeout = r.SessionTimeout, r.RebalanceTimeout
	mem.protocols = make([]Protocol, len(r.Protocols))
	for i, p := range r.Protocols {
		mem.protocols[i] = Protocol{Name: strings.Clone(p.Name), Metadata: slices.Clone(p.Metadata)}
	}
}

// rejoin handles a join of a member of the group.
func (m *machine) rejoin(g *group, mem *member, r *JoinRequest, rep *reply[JoinResult]) {
	same := mem.sameProtocols(r.Protocols)
	switch {
	case g.state == PreparingRebalance:
	case g.state == CompletingRebalance && same: // it did not get the answer to its first join
		rep.answer(g.joined(mem), nil)
		return
	case g.state == Stable && same && g.leader != mem.id: // nothing changed; a leader that joins wants a new assignment
		rep.answer(g.joined(mem), nil)
		return
	case g.state == Empty:
		rep.answer(JoinResult{MemberID: r.MemberID}, ErrUnknownMember)
		return
	}
	m.change(g, mem, r, rep)
	m.rebalance(g, "member "+mem.id+" rejoins in state "+g.state.String())
}

// change gives a member new metadata and lets its join wait. A join of it that waited already came over a connection that is given up.
func (m *machine) change(g *group, mem *member, r *JoinRequest, rep *reply[JoinResult]) {
	g.answerJoin(mem, JoinResult{MemberID: mem.id}, ErrRebalanceInProgress)
	g.count(mem.protocols, -1)
	m.update(mem, r)
	g.count(mem.protocols, 1)
	m.recost(mem)
	g.setJoin(mem, rep)
}

// replace handles a static member that comes back without its id: it takes over the old one's place under a new id.
func (m *machine) replace(g *group, old *member, id string, r *JoinRequest, rep *reply[JoinResult]) {
	formerLeader := g.leader
	mem := m.takeOver(g, old, id)
	m.change(g, mem, r, rep)
	m.touch(mem)
	switch g.state {
	case Stable:
		if g.choose() != g.protocol {
			m.prepare(g, "static member "+mem.instanceID+" changed the protocol")
			return
		}
		m.storeReplaced(g, mem, formerLeader, r.CanSkipAssignment)
	case CompletingRebalance: // the leader may have been told the old id: its assignment would not fit
		m.prepare(g, "static member "+mem.instanceID+" came back under another id")
	default:
		m.progress(g)
	}
}

// takeOver puts a new member in the place of a static one; whoever still waits under the old id is fenced.
func (m *machine) takeOver(g *group, old *member, id string) *member {
	g.answerJoin(old, JoinResult{MemberID: old.id}, ErrFencedInstance)
	g.answerSync(old, SyncResult{}, ErrFencedInstance)
	m.timers.cancel(&old.session)
	m.usage.bytes.Add(-old.cost)
	mem := &member{id: id, instanceID: old.instanceID, order: old.order, protocols: old.protocols, assignment: old.assignment}
	delete(g.members, old.id)
	g.members[id], g.static[mem.instanceID] = mem, id
	if _, ok := g.pendingSync[old.id]; ok {
		delete(g.pendingSync, old.id)
		g.pendingSync[id] = struct{}{}
	}
	if g.leader == old.id {
		g.leader = id
	}
	m.watch(g, mem)
	return mem
}

// storeReplaced answers a static member that came back to a stable group with the generation it left, once its new id is stored.
func (m *machine) storeReplaced(g *group, mem *member, formerLeader string, canSkip bool) {
	rep := mem.join
	g.setJoin(mem, nil)
	assignments := map[string][]byte{}
	for _, each := range g.members {
		assignments[each.id] = each.assignment
	}
	g.refreshSubscribed()
	generation := g.generation
	err := m.store(g, encodeGroup(g, assignments), func(err error) {
		if err != nil {
			rep.answer(JoinResult{}, unavailable(err))
			return
		}
		if g.generation != generation || g.members[mem.id] != mem {
			rep.answer(JoinResult{}, ErrUnknownMember) // replaced or removed meanwhile; it joins again
			return
		}
		res := g.joined(mem)
		if canSkip {
			res.SkipAssignment = g.leader == mem.id
		} else { // an old client would assign if it found itself leader
			res.LeaderID, res.Members = formerLeader, nil
		}
		m.touch(mem)
		rep.answer(res, nil)
	})
	if err != nil {
		m.log.Warn("cannot store static member", "group", g.id, "instance", mem.instanceID, "err", err)
		rep.answer(JoinResult{}, unavailable(err))
	}
}

// abandon ends the wait of a join whose connection is gone. If the client never learned its member id it can never come back as that
// member, so the others need not wait for it.
func (m *machine) abandon(group string, rep *reply[JoinResult], idKnown bool) {
	rep.fn = nil
	g := m.groups[group]
	if g == nil || idKnown {
		return
	}
	if mem := g.first(func(mem *member) bool { return mem.join == rep }); mem != nil {
		m.log.Info("member is gone before it joined", "group", g.id, "member", mem.id)
		m.expel(g, mem, ErrUnknownMember)
		m.progress(g)
	}
}
