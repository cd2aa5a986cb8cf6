package group

import (
	"slices"
	"strings"
)

// sync handles SyncGroup: followers wait, the leader's brings the assignments.
func (m *machine) sync(r *SyncRequest, rep *reply[SyncResult]) {
	refuse := func(err error) { rep.answer(SyncResult{}, err) }
	g := m.groups[r.Group]
	if g == nil {
		refuse(ErrUnknownMember)
		return
	}
	if err := g.check(r.MemberID, r.InstanceID); err != nil {
		refuse(err)
		return
	}
	switch {
	case g.generation != r.Generation:
		refuse(ErrIllegalGeneration)
		return
	case r.ProtocolType != nil && *r.ProtocolType != g.protocolType, r.Protocol != nil && *r.Protocol != g.protocol:
		refuse(ErrInconsistentProtocol)
		return
	}
	mem := g.members[r.MemberID]
	switch g.state {
	case PreparingRebalance:
		refuse(ErrRebalanceInProgress)
	case CompletingRebalance:
		g.answerSync(mem, SyncResult{}, ErrRebalanceInProgress) // one that waited on a connection that is given up
		mem.sync = rep
		m.noteSync(g, mem)
		if g.leader == mem.id {
			m.assign(g, r.Assignments)
		}
	case Stable:
		m.noteSync(g, mem)
		m.touch(mem)
		rep.answer(g.synced(mem), nil)
	default:
		refuse(ErrUnknownMember)
	}
}

// noteSync notes that the member asked for its assignment.
func (m *machine) noteSync(g *group, mem *member) {
	delete(g.pendingSync, mem.id)
	if len(g.pendingSync) == 0 {
		m.timers.cancel(&g.syncTimer)
	}
}

// assign stores what the leader decided, and gives it to the members when it is durable. Members that the leader left out get nothing.
func (m *machine) assign(g *group, list []Assignment) {
	assignments := make(map[string][]byte, len(list))
	for _, a := range list {
		if g.members[a.MemberID] != nil {
			assignments[strings.Clone(a.MemberID)] = slices.Clone(a.Data)
		}
	}
	generation := g.generation
	err := m.store(g, encodeGroup(g, assignments), func(err error) {
		// Meanwhile somebody may have joined or left, and another rebalance begun. After an error the whole machine goes.
		if err != nil || g.state != CompletingRebalance || g.generation != generation {
			return
		}
		m.enter(g, Stable)
		m.log.Info("group is stable", "group", g.id, "generation", g.generation, "members", len(g.members))
		for _, mem := range g.ordered() {
			mem.assignment = assignments[mem.id]
			m.recost(mem)
			if mem.sync != nil {
				m.touch(mem)
				g.answerSync(mem, g.synced(mem), nil)
			}
		}
	})
	if err != nil {
		m.log.Warn("cannot store assignment", "group", g.id, "generation", g.generation, "err", err)
		m.failSync(g, unavailable(err))
		m.prepare(g, "assignment could not be stored")
	}
}

// heartbeat handles Heartbeat.
func (m *machine) heartbeat(r *HeartbeatRequest) error {
	g := m.groups[r.Group]
	if g == nil {
		return ErrUnknownMember
	}
	if err := g.check(r.MemberID, r.InstanceID); err != nil {
		return err
	}
	if g.generation != r.Generation {
		return ErrIllegalGeneration
	}
	m.touch(g.members[r.MemberID])
	if g.state == PreparingRebalance {
		return ErrRebalanceInProgress
	}
	return nil
}

// leave handles LeaveGroup. It is answered when what it changed is stored.
func (m *machine) leave(group string, members []LeaveMember, rep *reply[[]error]) {
	g := m.groups[group]
	if g == nil {
		rep.answer(nil, ErrUnknownMember)
		return
	}
	results, left := make([]error, len(members)), false
	for i, l := range members {
		results[i] = m.leaveOne(g, l)
		left = left || results[i] == nil
	}
	if left {
		switch g.state {
		case Stable, CompletingRebalance:
			m.prepare(g, "members left")
		case PreparingRebalance:
			m.progress(g)
		}
	}
	m.afterWrite(g.lastWrite, func(err error) {
		if err != nil {
			rep.answer(nil, unavailable(err))
			return
		}
		rep.answer(results, nil)
	})
	m.forgetUnused(g)
}

func (m *machine) leaveOne(g *group, l LeaveMember) error {
	id := l.MemberID
	switch {
	case id == "": // an administrator names static members by instance
		if id = g.static[l.InstanceID]; l.InstanceID == "" || id == "" {
			return ErrUnknownMember
		}
	case g.pending[id] != nil:
		m.dropPending(g, id)
		m.log.Info("pending member left", "group", g.id, "member", id)
		return nil
	default:
		if err := g.check(id, l.InstanceID); err != nil {
			return err
		}
	}
	m.log.Info("member left", "group", g.id, "member", id, "reason", l.Reason)
	m.expel(g, g.members[id], ErrUnknownMember)
	return nil
}
