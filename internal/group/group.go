package group

import (
	"cmp"
	"slices"
	"time"
)

// reply is where an answer goes, at most once. A nil reply swallows it.
type reply[T any] struct{ fn func(T, error) }

func (r *reply[T]) answer(v T, err error) {
	if r == nil || r.fn == nil {
		return
	}
	fn := r.fn
	r.fn = nil
	fn(v, err)
}

// member is one member of a group.
type member struct {
	id         string
	instanceID string // empty: dynamic
	order      int64  // of joining, ascending
	client     Client
	protocols  []Protocol
	assignment []byte
	isNew      bool // its first join is not answered yet, so it cannot send heartbeats

	sessionTimeout, rebalanceTimeout time.Duration

	join    *reply[JoinResult] // not nil: its JoinGroup waits
	sync    *reply[SyncResult] // not nil: its SyncGroup waits
	session timer
	cost    int64 // bytes(), as it was counted
}

// metadata is what the member sent for a protocol; nil if it does not support it.
func (m *member) metadata(protocol string) []byte {
	for i := range m.protocols {
		if m.protocols[i].Name == protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

// sameProtocols tells whether a rejoin changes nothing.
func (m *member) sameProtocols(protocols []Protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && string(a.Metadata) == string(b.Metadata)
	})
}

// bytes is what the member costs in memory, roughly.
func (m *member) bytes() int64 {
	n := memberOverhead + len(m.id) + len(m.instanceID) + len(m.client.ID) + len(m.client.Host) + len(m.assignment)
	for i := range m.protocols {
		n += len(m.protocols[i].Name) + len(m.protocols[i].Metadata)
	}
	return int64(n)
}

const memberOverhead = 512

// group is one classic group. It is changed only by its machine.
type group struct {
	id           string
	state        State
	sinceMs      int64 // wall clock of the last change of state
	fromEmpty    bool  // in PreparingRebalance: it was Empty before, and the initial delay runs
	newMember    bool  // in the initial delay: somebody joined since it was last extended
	generation   int32
	protocolType string // empty: a simple group, it only stores offsets
	protocol     string // chosen for the generation
	leader       string

	members     map[string]*member
	static      map[string]string   // instance id -> member id
	pending     map[string]*timer   // ids given out by ErrMemberIDRequired
	pendingSync map[string]struct{} // members of the generation that have not sent SyncGroup
	joining     int                 // members whose JoinGroup waits
	supported   map[string]int      // protocol -> members that support it
	nextOrder   int64

	subscribed      map[string]struct{} // topics, for protocol type consumer
	subscribedKnown bool

	offsets map[string]map[int32]offset // topic -> partition
	stored  []byte                      // the group's metadata record as it was last appended; nil: none

	joinTimer, syncTimer timer
	lastWrite            int64 // the machine's number of the last append for this group
}

const consumerProtocol = "consumer"

func newGroup(id string, nowMs int64) *group {
	return &group{id: id, state: Empty, sinceMs: nowMs, members: map[string]*member{}, static: map[string]string{},
		pending: map[string]*timer{}, pendingSync: map[string]struct{}{}, supported: map[string]int{}, offsets: map[string]map[int32]offset{},
		subscribed: map[string]struct{}{}, subscribedKnown: true}
}

// ordered gives the members in the order they joined.
func (g *group) ordered() []*member {
	all := make([]*member, 0, len(g.members))
	for _, m := range g.members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *member) int { return cmp.Compare(a.order, b.order) })
	return all
}

// add puts a member into the group.
func (g *group) add(m *member, protocolType string) {
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.nextOrder++
	m.order = g.nextOrder
	g.members[m.id] = m
	g.count(m.protocols, 1)
	if m.instanceID != "" {
		g.static[m.instanceID] = m.id
	}
	if m.join != nil {
		g.joining++
	}
}

// take removes a member; if it led, the one that joined first leads.
func (g *group) take(m *member) {
	delete(g.members, m.id)
	delete(g.pendingSync, m.id)
	g.count(m.protocols, -1)
	if m.instanceID != "" && g.static[m.instanceID] == m.id {
		delete(g.static, m.instanceID)
	}
	if m.join != nil {
		g.joining--
	}
	if g.leader == m.id {
		g.leader = ""
		if first := g.first(func(*member) bool { return true }); first != nil {
			g.leader = first.id
		}
	}
}

func (g *group) count(protocols []Protocol, by int) {
	for i := range protocols {
		name := protocols[i].Name
		if g.supported[name] += by; g.supported[name] <= 0 {
			delete(g.supported, name)
		}
	}
}

// first finds the member that joined first among those that ok accepts.
func (g *group) first(ok func(*member) bool) *member {
	var first *member
	for _, m := range g.members {
		if ok(m) && (first == nil || m.order < first.order) {
			first = m
		}
	}
	return first
}

// setJoin makes the member's JoinGroup wait (r) or not wait (nil).
func (g *group) setJoin(m *member, r *reply[JoinResult]) {
	switch {
	case m.join == nil && r != nil:
		g.joining++
	case m.join != nil && r == nil:
		g.joining--
	}
	m.join = r
}

// answerJoin ends a member's wait in JoinGroup.
func (g *group) answerJoin(m *member, res JoinResult, err error) {
	if r := m.join; r != nil {
		g.setJoin(m, nil)
		r.answer(res, err)
	}
}

// answerSync ends a member's wait in SyncGroup.
func (g *group) answerSync(m *member, res SyncResult, err error) {
	if r := m.sync; r != nil {
		m.sync = nil
		r.answer(res, err)
	}
}

// accepts tells whether a member with these protocols can be part of the group.
func (g *group) accepts(protocolType string, protocols []Protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	return g.protocolType == protocolType && slices.ContainsFunc(protocols, func(p Protocol) bool {
		return g.supported[p.Name] == len(g.members)
	})
}

// choose votes for the next generation's protocol: each member for the first of its list that all support. The leader's order decides
// between equals.
func (g *group) choose() string {
	votes := map[string]int{}
	for _, m := range g.members {
		for i := range m.protocols {
			if g.supported[m.protocols[i].Name] == len(g.members) {
				votes[m.protocols[i].Name]++
				break
			}
		}
	}
	best, most := "", 0
	for _, p := range g.members[g.leader].protocols {
		if votes[p.Name] > most {
			best, most = p.Name, votes[p.Name]
		}
	}
	return best
}

func (g *group) allJoined() bool { return g.joining == len(g.members) && len(g.pending) == 0 }

// rebalanceTimeout is the longest of the members'.
func (g *group) rebalanceTimeout() (longest time.Duration) {
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// check tells whether the group has such a member, and for a static one that nobody has taken its place.
func (g *group) check(memberID, instanceID string) error {
	if instanceID != "" {
		switch holder, ok := g.static[instanceID]; {
		case !ok:
			return ErrUnknownMember
		case holder != memberID:
			return ErrFencedInstance
		}
	}
	if g.members[memberID] == nil {
		return ErrUnknownMember
	}
	return nil
}

// refreshSubscribed computes the topics that the members of a consumer group are subscribed to.
func (g *group) refreshSubscribed() {
	g.subscribed, g.subscribedKnown = map[string]struct{}{}, false
	if g.protocolType != consumerProtocol {
		return
	}
	for _, m := range g.members {
		if !subscribedTopics(m.metadata(g.protocol), g.subscribed) {
			clear(g.subscribed)
			return
		}
	}
	g.subscribedKnown = true
}

// subscribes tells whether a member reads the topic. A consumer group with subscriptions that cannot be read counts as reading all.
func (g *group) subscribes(topic string) bool {
	if g.subscribedKnown {
		_, ok := g.subscribed[topic]
		return ok
	}
	return g.protocolType == consumerProtocol
}

// roster is what the leader gets to see.
func (g *group) roster() []JoinMember {
	list := make([]JoinMember, 0, len(g.members))
	for _, m := range g.ordered() {
		list = append(list, JoinMember{MemberID: m.id, InstanceID: m.instanceID, Metadata: m.metadata(g.protocol)})
	}
	return list
}

// joined is the answer to a member of the current generation.
func (g *group) joined(m *member) JoinResult {
	res := JoinResult{MemberID: m.id, Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol, LeaderID: g.leader}
	if g.leader == m.id {
		res.Members = g.roster()
	}
	return res
}

func (g *group) synced(m *member) SyncResult {
	return SyncResult{ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// unused tells whether nothing is lost by forgetting the group.
func (g *group) unused() bool {
	return g.state == Empty && len(g.members) == 0 && len(g.pending) == 0 && len(g.offsets) == 0 && g.stored == nil
}
