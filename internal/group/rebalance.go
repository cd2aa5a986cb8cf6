package group

import (
	"time"
)

// rebalance begins a rebalance, or goes on with the one that runs.
func (m *machine) rebalance(g *group, why string) {
	if g.state == PreparingRebalance {
		m.progress(g)
		return
	}
	m.prepare(g, why)
}

// prepare begins a rebalance: from now on the members have to join again. A group that was empty waits a while for more members.
func (m *machine) prepare(g *group, why string) {
	if g.state == CompletingRebalance {
		m.failSync(g, ErrRebalanceInProgress)
	}
	m.timers.cancel(&g.syncTimer)
	m.log.Info("group rebalances", "group", g.id, "generation", g.generation, "members", len(g.members), "from", g.state.String(), "why", why)
	initial := g.state == Empty
	m.enter(g, PreparingRebalance)
	g.fromEmpty, g.newMember = initial, false
	if delay := m.cfg.InitialRebalanceDelay; initial && delay > 0 {
		m.delayJoin(g, delay, max(g.rebalanceTimeout()-delay, 0))
		return
	}
	if initial || g.allJoined() {
		m.complete(g)
		return
	}
	m.armJoin(g)
}

func (m *machine) enter(g *group, s State) { g.state, g.sinceMs = s, m.nowMs() }

// delayJoin waits for the first members of a group. If somebody joined meanwhile it waits again, until the rebalance timeout is used up.
func (m *machine) delayJoin(g *group, delay, remaining time.Duration) {
	g.joinTimer.fire = func() {
		if g.newMember && remaining > 0 {
			g.newMember = false
			m.delayJoin(g, min(m.cfg.InitialRebalanceDelay, remaining), max(remaining-delay, 0))
			return
		}
		m.complete(g)
	}
	m.arm(&g.joinTimer, delay)
}

func (m *machine) armJoin(g *group) {
	g.joinTimer.fire = func() { m.complete(g) }
	m.arm(&g.joinTimer, g.rebalanceTimeout())
}

// progress ends the joining when everybody is there, except in the initial delay.
func (m *machine) progress(g *group) {
	if g.state == PreparingRebalance && !g.fromEmpty && g.allJoined() {
		m.complete(g)
	}
}

// complete ends the joining: who has not joined is out (static members stay), and the next generation begins.
func (m *machine) complete(g *group) {
	m.timers.cancel(&g.joinTimer)
	for _, mem := range g.ordered() {
		if mem.join == nil && mem.instanceID == "" {
			m.log.Info("member did not rejoin", "group", g.id, "member", mem.id)
			m.expel(g, mem, ErrUnknownMember)
		}
	}
	if leader := g.members[g.leader]; leader != nil && leader.join == nil {
		joined := g.first(func(mem *member) bool { return mem.join != nil })
		if joined == nil { // only static members that are away: wait for one of them, or for their sessions to end
			m.armJoin(g)
			return
		}
		g.leader = joined.id
	}
	g.generation++
	clear(g.pendingSync)
	if len(g.members) == 0 {
		m.becomeEmpty(g)
		return
	}
	m.begin(g)
}

// begin answers the joins with the new generation; the leader's assignment comes next.
func (m *machine) begin(g *group) {
	g.protocol = g.choose()
	g.refreshSubscribed()
	m.enter(g, CompletingRebalance)
	m.log.Info("group generation begins", "group", g.id, "generation", g.generation, "members", len(g.members), "protocol", g.protocol,
		"leader", g.leader)
	for _, mem := range g.ordered() {
		mem.isNew = false
		g.pendingSync[mem.id] = struct{}{}
		m.touch(mem)
		g.answerJoin(mem, g.joined(mem), nil)
	}
	generation := g.generation
	g.syncTimer.fire = func() { m.syncExpired(g, generation) }
	m.arm(&g.syncTimer, g.rebalanceTimeout())
}

// becomeEmpty stores that nobody is left, so that the generation counts on and the retention of the offsets begins.
func (m *machine) becomeEmpty(g *group) {
	g.protocol, g.leader = "", ""
	g.refreshSubscribed()
	m.enter(g, Empty)
	m.log.Info("group is empty", "group", g.id, "generation", g.generation)
	if err := m.store(g, encodeGroup(g, nil), nil); err != nil {
		// The log still has the last generation: after a reload its members' sessions end, and the group is empty again.
		m.log.Warn("cannot store empty group", "group", g.id, "err", err)
	}
}

// syncExpired removes members that joined the generation but did not ask for their assignment.
func (m *machine) syncExpired(g *group, generation int32) {
	if g.generation != generation || len(g.pendingSync) == 0 || (g.state != CompletingRebalance && g.state != Stable) {
		return
	}
	for id := range g.pendingSync {
		if mem := g.members[id]; mem != nil {
			m.log.Info("member did not sync", "group", g.id, "member", id)
			m.expel(g, mem, ErrUnknownMember)
		}
	}
	clear(g.pendingSync)
	m.prepare(g, "members did not sync in time")
}

// failSync answers all that wait for an assignment with an error, and forgets assignments.
func (m *machine) failSync(g *group, err error) {
	for _, mem := range g.ordered() {
		mem.assignment = nil
		m.recost(mem)
		if mem.sync != nil {
			m.touch(mem)
			g.answerSync(mem, SyncResult{}, err)
		}
	}
}

// touch begins the member's session anew.
func (m *machine) touch(mem *member) { m.arm(&mem.session, mem.sessionTimeout) }

// watch makes the end of the member's session its removal.
func (m *machine) watch(g *group, mem *member) {
	mem.session.fire = func() { m.sessionExpired(g, mem) }
}

func (m *machine) sessionExpired(g *group, mem *member) {
	if !mem.isNew && (mem.join != nil || mem.sync != nil) {
		return // it cannot send heartbeats while it waits for us; its session begins anew with the answer
	}
	if late := m.now.Sub(mem.session.due); late > pauseGrace {
		m.arm(&mem.session, min(late, mem.sessionTimeout))
		return
	}
	m.log.Info("member's session ended", "group", g.id, "member", mem.id, "timeoutMs", mem.sessionTimeout.Milliseconds())
	m.expel(g, mem, ErrUnknownMember)
	m.rebalance(g, "session of "+mem.id+" ended")
}

// expel removes a member; what it waits for is answered with err.
func (m *machine) expel(g *group, mem *member, err error) {
	m.timers.cancel(&mem.session)
	g.answerJoin(mem, JoinResult{}, err)
	g.answerSync(mem, SyncResult{}, err)
	g.take(mem)
	m.usage.bytes.Add(-mem.cost)
	mem.cost = 0
}

// dropPending takes back a member id that was given out.
func (m *machine) dropPending(g *group, id string) {
	if t := g.pending[id]; t != nil {
		m.timers.cancel(t)
		delete(g.pending, id)
		m.usage.bytes.Add(-pendingCost(id))
	}
}

func pendingCost(id string) int64 { return int64(len(id)) + 200 }
