package group

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// simClient is a member that behaves as real ones do, until it disappears.
type simClient struct {
	name     string
	instance string // static
	old      bool   // JoinGroup before version 4
	id       string
	gen      int32
	synced   bool
	join     *got[JoinResult]
	sync     *got[SyncResult]
}

// sim is a random run: clients of two groups, time, reloads, crashes that lose what is not durable; and what must hold.
type sim struct {
	*rig
	rng      *rand.Rand
	clients  map[string][]*simClient // by group
	next     int64                   // commits carry ascending offsets
	acked    map[string]int64        // last offset that was acked, by group
	commits  map[string][]*got[[]error]
	offsets  map[*got[[]error]]int64
	leaders  map[string]string // "group/generation/epoch" -> leader
	maxGen   map[string]int32  // since the last reload
	loads    int
	durableN int // records of the log that are durable
	stats    map[string]int
}

func seeds(t *testing.T) uint64 {
	if s := os.Getenv("CHRONIK_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 300
}

func TestRandom(t *testing.T) {
	total := map[string]int{}
	for seed := range seeds(t) {
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			for what, n := range simulate(t, seed) {
				total[what] += n
			}
		})
		if !ok {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, what := range []string{"stable", "commit acked", "crash lost records", "session ended", "leader replaced", "static came back", "fenced",
		"generation", "compacted"} {
		if total[what] == 0 {
			t.Errorf("never happened: %s", what)
		}
	}
}

func simulate(t *testing.T, seed uint64) map[string]int {
	rng := rand.New(rand.NewPCG(seed, 1))
	cfg := Config{}
	if rng.IntN(2) == 0 {
		cfg.InitialRebalanceDelay = 3 * time.Second
	}
	s := &sim{rig: newRig(t, cfg), rng: rng, clients: map[string][]*simClient{}, acked: map[string]int64{}, commits: map[string][]*got[[]error]{},
		offsets: map[*got[[]error]]int64{}, leaders: map[string]string{}, maxGen: map[string]int32{}, stats: map[string]int{}}
	s.hold = true
	for range 400 {
		s.step()
		s.check()
	}
	s.finish()
	return s.stats
}

func (s *sim) group() string { return []string{"g", "h"}[s.rng.IntN(2)] }

func (s *sim) step() {
	g := s.group()
	all := s.clients[g]
	var c *simClient
	if len(all) > 0 {
		c = all[s.rng.IntN(len(all))]
	}
	switch n := s.rng.IntN(100); {
	case n < 8 && len(all) < 5:
		c = &simClient{name: fmt.Sprint(s.rng.IntN(1000)), old: s.rng.IntN(3) == 0}
		if s.rng.IntN(3) == 0 {
			c.instance = fmt.Sprint("i", s.rng.IntN(3))
		}
		s.clients[g] = append(all, c)
	case n < 55 && c != nil:
		s.act(g, c)
	case n < 60 && c != nil: // disappears without a word
		s.remove(g, c)
	case n < 63 && c != nil && c.instance == "" && c.id != "" && c.join == nil && c.sync == nil:
		s.leave(g, LeaveMember{MemberID: c.id})
		s.remove(g, c)
	case n < 68:
		s.send(g, "", -1)
	case n < 85:
		s.pass(time.Duration(s.rng.IntN(4000)) * time.Millisecond)
	case n < 98:
		for range s.rng.IntN(4) {
			if len(s.inflight) > 0 {
				s.advance()
			}
		}
	case n < 99:
		s.crash()
	default:
		s.compact()
	}
}

// advance makes one append durable. The rig has no record of which records it was, so all before the next are counted by batch.
func (s *sim) advance() {
	s.durable(nil)
	s.durableN = s.batchEnds[0]
	s.batchEnds = s.batchEnds[1:]
}

// act does a client's next step.
func (s *sim) act(g string, c *simClient) {
	switch {
	case c.join != nil:
		if !c.join.done {
			return
		}
		s.joined(g, c)
	case c.sync != nil:
		if !c.sync.done {
			return
		}
		res := c.sync
		c.sync = nil
		if s.rejoin(c, res.err) {
			return
		}
		if want := fmt.Sprint(c.id, "/", c.gen); string(res.v.Assignment) != want {
			s.t.Fatalf("assignment %q, want %q", res.v.Assignment, want)
		}
		c.synced = true
		s.stats["stable"]++
	case c.synced && s.rng.IntN(2) == 0:
		s.send(g, c.id, c.gen)
	case c.synced:
		if err := s.m.heartbeat(&HeartbeatRequest{Group: g, MemberID: c.id, InstanceID: c.instance, Generation: c.gen}); err != nil {
			s.rejoin(c, err)
			c.synced = false
		}
	default:
		j := aJoin(g, c.id)
		j.RequireKnownMember = !c.old && c.instance == ""
		j.InstanceID = c.instance
		if c.instance != "" && c.id == "" {
			s.stats["static came back"]++
		}
		c.join = s.join(j)
	}
}

func (s *sim) joined(g string, c *simClient) {
	res := c.join
	c.join = nil
	if errors.Is(res.err, ErrMemberIDRequired) {
		c.id = res.v.MemberID
		return
	}
	if s.rejoin(c, res.err) {
		return
	}
	c.id, c.gen = res.v.MemberID, res.v.Generation
	s.stats["generation"]++
	key := fmt.Sprint(g, "/", c.gen, "/", s.loads)
	if c.instance == "" { // a static leader that comes back changes the leader's id within the generation
		if was, ok := s.leaders[key]; ok && was != res.v.LeaderID && len(res.v.Members) > 0 {
			s.stats["leader replaced"]++
		}
	}
	if len(res.v.Members) > 0 && res.v.LeaderID != c.id {
		s.t.Fatalf("%s is told the members, but %s leads", c.id, res.v.LeaderID)
	}
	s.leaders[key] = res.v.LeaderID
	var list []Assignment
	if len(res.v.Members) > 0 && !res.v.SkipAssignment {
		for _, m := range res.v.Members {
			list = append(list, Assignment{m.MemberID, []byte(fmt.Sprint(m.MemberID, "/", c.gen))})
		}
	}
	if res.v.SkipAssignment || c.instance != "" {
		c.synced = res.v.SkipAssignment // it may hold the assignment of its former id: do not look at it
		if c.synced {
			return
		}
	}
	c.sync = collect(s.rig, func(rep *reply[SyncResult]) {
		s.m.sync(&SyncRequest{Group: g, MemberID: c.id, InstanceID: c.instance, Generation: c.gen, Assignments: list}, rep)
	})
	if c.instance != "" {
		c.sync = nil
		c.synced = true
	}
}

// rejoin tells whether the error means to join again, and forgets what the client knew.
func (s *sim) rejoin(c *simClient, err error) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, ErrUnknownMember):
		c.id = ""
		s.stats["session ended"]++
	case errors.Is(err, ErrFencedInstance):
		c.id = ""
		s.stats["fenced"]++
	case errors.Is(err, ErrRebalanceInProgress), errors.Is(err, ErrIllegalGeneration), errors.Is(err, ErrNotCoordinator):
	default:
		s.t.Fatalf("error %v", err)
	}
	c.synced = false
	return true
}

func (s *sim) remove(g string, c *simClient) {
	list := s.clients[g]
	for i := range list {
		if list[i] == c {
			s.clients[g] = append(list[:i:i], list[i+1:]...)
			return
		}
	}
}

func (s *sim) send(g, member string, generation int32) {
	s.next++
	got := s.commit(g, member, generation, "t", 0, s.next)
	s.commits[g] = append(s.commits[g], got)
	s.offsets[got] = s.next
}

// check holds what must be true after every step.
func (s *sim) check() {
	for g, list := range s.commits {
		rest := list[:0]
		for _, c := range list {
			switch {
			case !c.done:
				rest = append(rest, c)
			case c.err == nil:
				s.acked[g] = max(s.acked[g], s.offsets[c])
				s.stats["commit acked"]++
			}
		}
		s.commits[g] = rest
	}
	if n := s.m.usage.groups.Load(); int(n) != len(s.m.groups) {
		s.t.Fatalf("%d groups counted, %d there", n, len(s.m.groups))
	}
	for id, g := range s.m.groups {
		if g.generation < s.maxGen[id] {
			s.t.Fatalf("generation of %s went from %d to %d", id, s.maxGen[id], g.generation)
		}
		s.maxGen[id] = g.generation
		s.checkGroup(g)
		if o, ok := g.offsets["t"][0]; s.acked[id] > 0 && (!ok || o.offset < s.acked[id]) {
			s.t.Fatalf("offset of %s is %d (%v), %d was acked", id, o.offset, ok, s.acked[id])
		}
	}
	for id, acked := range s.acked {
		if s.m.groups[id] == nil && acked > 0 {
			s.t.Fatalf("group %s is gone, offset %d was acked", id, acked)
		}
	}
}

func (s *sim) checkGroup(g *group) {
	joining, supported := 0, map[string]int{}
	for id, mem := range g.members {
		if mem.join != nil {
			joining++
		}
		for _, p := range mem.protocols {
			supported[p.Name]++
		}
		if !mem.session.armed() && mem.join == nil && mem.sync == nil {
			s.t.Fatalf("member %s of %s in %v is stuck: no session, no wait", id, g.id, g.state)
		}
		if mem.instanceID != "" && g.static[mem.instanceID] != id {
			s.t.Fatalf("instance %s is %s, not %s", mem.instanceID, g.static[mem.instanceID], id)
		}
	}
	switch {
	case joining != g.joining:
		s.t.Fatalf("%d wait to join, %d counted", joining, g.joining)
	case len(supported) != len(g.supported):
		s.t.Fatalf("protocols %v, counted %v", supported, g.supported)
	case (len(g.members) == 0) != (g.leader == "") || (g.leader != "" && g.members[g.leader] == nil):
		s.t.Fatalf("leader %q of %d members", g.leader, len(g.members))
	case g.state == Empty && len(g.members) > 0, (g.state == Stable || g.state == CompletingRebalance) && len(g.members) == 0:
		s.t.Fatalf("state %v with %d members", g.state, len(g.members))
	case g.state == PreparingRebalance && !g.joinTimer.armed():
		s.t.Fatalf("group %s waits for joins without end", g.id)
	case g.state != PreparingRebalance && joining > 0:
		s.t.Fatalf("joins wait in state %v", g.state)
	case g.state == CompletingRebalance && len(g.pendingSync) > 0 && !g.syncTimer.armed():
		s.t.Fatalf("group %s waits for syncs without end", g.id)
	}
}

// crash loses what is not durable, and reloads.
func (s *sim) crash() {
	if s.durableN < len(s.log) {
		s.stats["crash lost records"]++
	}
	inflight := s.inflight
	s.inflight, s.batchEnds = nil, nil
	s.log = s.log[:s.durableN]
	s.reload()
	for _, done := range inflight {
		done(errors.New("the process died")) // to the machine that is gone
	}
	s.loads++
	clear(s.maxGen)
}

// compact rewrites the live state at the tail and drops what was before, as the cleaner does.
func (s *sim) compact() {
	from := len(s.log)
	var ids []string
	for id := range s.m.groups {
		ids = append(ids, id)
	}
	for len(ids) > 0 {
		var err error
		if ids, err = s.m.rewriteSome(ids, func(error) {}); err != nil {
			s.t.Fatal(err)
		}
	}
	for len(s.inflight) > 0 {
		s.advance()
	}
	s.log = s.log[from:]
	s.durableN -= from
	s.stats["compacted"]++
}

// finish lets everybody disappear: all that wait are answered, and the groups become empty.
func (s *sim) finish() {
	for len(s.inflight) > 0 {
		s.advance()
	}
	s.hold = false
	s.pass(20 * time.Minute)
	s.check()
	for g, list := range s.clients {
		for _, c := range list {
			if (c.join != nil && !c.join.done) || (c.sync != nil && !c.sync.done) {
				s.t.Fatalf("client of %s is never answered", g)
			}
		}
	}
	for id, g := range s.m.groups {
		if g.state != Empty || len(g.pending) > 0 {
			s.t.Fatalf("group %s is %v with %d pending", id, g.state, len(g.pending))
		}
	}
	if n := len(s.m.timers.queue); n > 0 {
		s.t.Fatalf("%d timers left", n)
	}
	s.reload()
	s.check()
}
