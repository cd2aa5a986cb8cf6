package group

import (
	"strings"
	"testing"
	"time"
)

func TestFirstMember(t *testing.T) {
	r := newRig(t, Config{})
	first := r.join(aJoin("g", ""))
	wantAnswer(t, "first join", first, ErrMemberIDRequired)
	if !strings.HasPrefix(first.v.MemberID, "c-") {
		t.Fatalf("member id %q does not begin with the client id", first.v.MemberID)
	}
	r.wantState("g", Empty)
	again := r.join(aJoin("g", first.v.MemberID))
	wantAnswer(t, "second join", again, nil)
	if again.v.Generation != 1 || again.v.LeaderID != first.v.MemberID || again.v.Protocol != "range" || len(again.v.Members) != 1 {
		t.Fatalf("joined: %+v", again.v)
	}
	r.wantState("g", CompletingRebalance)
	if len(r.log) != 0 {
		t.Fatalf("%d records before the assignment", len(r.log))
	}
	wantAnswer(t, "sync", r.sync("g", first.v.MemberID, 1, Assignment{first.v.MemberID, []byte("a")}), nil)
	r.wantState("g", Stable)
}

func TestOldVersionsAndStaticMembersNeedNoID(t *testing.T) {
	r := newRig(t, Config{})
	wantAnswer(t, "old join", r.join(oldJoin("old", "")), nil)
	s := r.join(static(aJoin("static", ""), "i1"))
	wantAnswer(t, "static join", s, nil)
	if !strings.HasPrefix(s.v.MemberID, "i1-") {
		t.Fatalf("member id %q does not begin with the instance id", s.v.MemberID)
	}
}

func TestJoinRefused(t *testing.T) {
	r := newRig(t, Config{})
	r.stable("g", 1)
	none := aJoin("new", "")
	none.Protocols = nil
	noType := aJoin("new", "")
	noType.ProtocolType = ""
	otherType := aJoin("g", "")
	otherType.ProtocolType = "connect"
	for _, c := range []struct {
		what string
		j    *JoinRequest
		want error
	}{
		{"an id nobody gave out, unknown group", aJoin("new", "x"), ErrUnknownMember},
		{"an id nobody gave out", aJoin("g", "x"), ErrUnknownMember},
		{"no protocols", none, ErrInconsistentProtocol},
		{"no protocol type", noType, ErrInconsistentProtocol},
		{"another protocol", protocols(aJoin("g", ""), "sticky"), ErrInconsistentProtocol},
		{"another type", otherType, ErrInconsistentProtocol},
		{"an instance nobody has", static(aJoin("g", "x"), "i"), ErrUnknownMember},
	} {
		got := r.join(c.j)
		wantAnswer(t, c.what, got, c.want)
		if got.v.MemberID != c.j.MemberID {
			t.Errorf("%s: member id %q is not echoed", c.what, got.v.MemberID)
		}
	}
	r.wantState("new", Dead) // a refused join leaves nothing behind
}

func TestSecondMemberRebalances(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 1)
	id := r.join(aJoin("g", "")).v.MemberID
	r.wantState("g", Stable) // an id alone changes nothing
	second := r.join(aJoin("g", id))
	wantWaiting(t, "second join", second)
	r.wantState("g", PreparingRebalance)
	wantErr(t, "heartbeat", r.beat("g", ids[0], gen), ErrRebalanceInProgress)
	wantAnswer(t, "sync", r.sync("g", ids[0], gen), ErrRebalanceInProgress)
	wantAnswer(t, "commit during the rebalance", r.commit("g", ids[0], gen, "t", 0, 5), nil)
	first := r.join(aJoin("g", ids[0]))
	wantAnswer(t, "first rejoins", first, nil)
	wantAnswer(t, "second join", second, nil)
	if first.v.LeaderID != ids[0] || len(first.v.Members) != 2 || len(second.v.Members) != 0 || second.v.Generation != gen+1 {
		t.Fatalf("joined: %+v, %+v", first.v, second.v)
	}
	follower := r.sync("g", id, gen+1)
	wantWaiting(t, "follower sync", follower)
	wantAnswer(t, "commit of the new generation before its assignment", r.commit("g", id, gen+1, "t", 0, 5), ErrRebalanceInProgress)
	leader := r.sync("g", ids[0], gen+1, Assignment{ids[0], []byte("1")}, Assignment{id, []byte("2")})
	wantAnswer(t, "leader sync", leader, nil)
	wantAnswer(t, "follower sync", follower, nil)
	if string(leader.v.Assignment) != "1" || string(follower.v.Assignment) != "2" {
		t.Fatalf("assignments %q, %q", leader.v.Assignment, follower.v.Assignment)
	}
	again := r.join(aJoin("g", id)) // a follower with the same protocols: no rebalance
	wantAnswer(t, "follower rejoins", again, nil)
	if again.v.Generation != gen+1 {
		t.Fatalf("generation %d", again.v.Generation)
	}
	r.wantState("g", Stable)
	wantWaiting(t, "leader rejoins", r.join(aJoin("g", ids[0])))
	r.wantState("g", PreparingRebalance)
}

func TestChangedSubscriptionRebalances(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("g", 2)
	j := aJoin("g", ids[1])
	j.Protocols[0].Metadata = subscription("t", "u")
	wantWaiting(t, "follower with another subscription", r.join(j))
	r.wantState("g", PreparingRebalance)
}

func TestRebalanceTimeoutRemovesWhoStaysAway(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 3)
	leader := r.join(aJoin("g", ids[0]))
	follower := r.join(aJoin("g", ids[1]))
	for range 6 { // the third only sends heartbeats
		r.pass(4 * time.Second)
		wantErr(t, "heartbeat", r.beat("g", ids[2], gen), ErrRebalanceInProgress)
	}
	wantWaiting(t, "leader", leader)
	r.pass(6 * time.Second)
	wantAnswer(t, "leader", leader, nil)
	wantAnswer(t, "follower", follower, nil)
	if len(leader.v.Members) != 2 {
		t.Fatalf("%d members", len(leader.v.Members))
	}
	wantErr(t, "heartbeat of the third", r.beat("g", ids[2], gen), ErrUnknownMember)
}

func TestLeaderThatStaysAwayIsReplaced(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("g", 2)
	j := aJoin("g", ids[1])
	j.Protocols[0].Metadata = subscription("u")
	follower := r.join(j)
	r.pass(31 * time.Second)
	wantAnswer(t, "follower", follower, nil)
	if follower.v.LeaderID != ids[1] || len(follower.v.Members) != 1 {
		t.Fatalf("joined: %+v", follower.v)
	}
}

func TestSessionTimeout(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 2)
	for range 3 {
		r.pass(9 * time.Second)
		wantErr(t, "heartbeat", r.beat("g", ids[0], gen), nil)
		wantErr(t, "heartbeat", r.beat("g", ids[1], gen), nil)
	}
	r.pass(9 * time.Second)
	wantErr(t, "heartbeat", r.beat("g", ids[0], gen), nil)
	r.pass(2 * time.Second)
	wantErr(t, "heartbeat of the silent one", r.beat("g", ids[1], gen), ErrUnknownMember)
	wantErr(t, "heartbeat of the other", r.beat("g", ids[0], gen), ErrRebalanceInProgress)
	r.pass(time.Minute)
	r.wantState("g", Empty)
}

func TestCommitKeepsTheSession(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 1)
	for i := range 5 {
		r.pass(9 * time.Second)
		wantAnswer(t, "commit", r.commit("g", ids[0], gen, "t", 0, int64(i)), nil)
	}
	wantErr(t, "heartbeat", r.beat("g", ids[0], gen), nil)
}

// A process that was stopped finds all sessions over at once; its members were not silent.
func TestPausedProcessExpelsNobody(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 2)
	r.m.now = r.m.now.Add(20 * time.Second)
	r.m.tick()
	r.settle()
	wantErr(t, "heartbeat", r.beat("g", ids[0], gen), nil)
	wantErr(t, "heartbeat", r.beat("g", ids[1], gen), nil)
	r.pass(11 * time.Second)
	wantErr(t, "heartbeat after a silence of its own", r.beat("g", ids[0], gen), ErrUnknownMember)
}

func TestInitialDelay(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name string
		at   []time.Duration // joins
		end  time.Duration   // when the generation begins
	}{
		{"one member", []time.Duration{0}, 3 * s},
		{"a second one extends it", []time.Duration{0, 2 * s}, 6 * s},
		{"two in one period extend it once", []time.Duration{0, s, 2 * s}, 6 * s},
		{"one in each period", []time.Duration{0, 2 * s, 4 * s, 7 * s}, 10 * s}, // 3, 6, 9 and what is left of 10
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{InitialRebalanceDelay: 3 * s})
			var joins []*got[JoinResult]
			var now time.Duration
			for _, at := range c.at {
				r.pass(at - now)
				now = at
				j := oldJoin("g", "")
				j.RebalanceTimeout = 10 * s
				joins = append(joins, r.join(j))
			}
			r.pass(c.end - now - time.Millisecond)
			for _, j := range joins {
				wantWaiting(t, "join", j)
			}
			r.pass(2 * time.Millisecond)
			for _, j := range joins {
				wantAnswer(t, "join", j, nil)
				if j.v.Generation != 1 {
					t.Fatalf("generation %d", j.v.Generation)
				}
			}
		})
	}
}

func TestPendingMemberHoldsTheRebalance(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("g", 1)
	pending := r.join(aJoin("g", "")).v.MemberID
	leader := r.join(aJoin("g", ids[0]))
	wantWaiting(t, "leader while an id is given out", leader)
	r.pass(11 * time.Second) // the pending member's session
	wantAnswer(t, "leader", leader, nil)
	wantAnswer(t, "the pending one, too late", r.join(aJoin("g", pending)), ErrUnknownMember)
}

func TestPendingSyncTimeout(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 2)
	j := r.join(aJoin("g", ids[0]))
	k := r.join(aJoin("g", ids[1]))
	wantAnswer(t, "join", j, nil)
	wantAnswer(t, "join", k, nil)
	follower := r.sync("g", ids[1], gen+1)
	for range 4 { // the leader lives but does not assign
		r.pass(7 * time.Second)
		wantErr(t, "heartbeat", r.beat("g", ids[0], gen+1), nil)
	}
	wantWaiting(t, "follower", follower)
	r.pass(3 * time.Second)
	wantAnswer(t, "follower", follower, ErrRebalanceInProgress)
	wantErr(t, "leader", r.beat("g", ids[0], gen+1), ErrUnknownMember)
	rejoin := r.join(aJoin("g", ids[1]))
	wantAnswer(t, "follower rejoins", rejoin, nil)
	if rejoin.v.LeaderID != ids[1] {
		t.Fatalf("leader %q", rejoin.v.LeaderID)
	}
}

func TestProtocolSelection(t *testing.T) {
	r := newRig(t, Config{InitialRebalanceDelay: time.Second})
	a := r.join(protocols(oldJoin("g", ""), "x", "range", "sticky"))
	b := r.join(protocols(oldJoin("g", ""), "sticky", "range"))
	c := r.join(protocols(oldJoin("g", ""), "sticky", "range", "y"))
	r.pass(5 * time.Second)
	for _, j := range []*got[JoinResult]{a, b, c} {
		wantAnswer(t, "join", j, nil)
		if j.v.Protocol != "sticky" { // x is not everybody's; two votes against one
			t.Fatalf("protocol %q", j.v.Protocol)
		}
	}
}

func TestMaxGroupSize(t *testing.T) {
	r := newRig(t, Config{MaxGroupSize: 2})
	ids, gen := r.stable("g", 2)
	third := r.join(aJoin("g", ""))
	wantAnswer(t, "third", third, ErrGroupFull)
	if third.v.MemberID != "" {
		t.Fatalf("member id %q", third.v.MemberID)
	}
	wantErr(t, "heartbeat", r.beat("g", ids[1], gen), nil)

	r.cfg.MaxGroupSize = 1 // a restart with a lower bound makes the group shrink
	r.reload()
	r.wantState("g", PreparingRebalance)
	first := r.join(aJoin("g", ids[1]))
	second := r.join(aJoin("g", ids[0]))
	wantAnswer(t, "the later one", second, ErrGroupFull)
	wantAnswer(t, "the first to rejoin", first, nil)
}

func TestBounds(t *testing.T) {
	r := newRig(t, Config{MaxPending: 2, MaxGroups: 3})
	for range 2 {
		wantAnswer(t, "id", r.join(aJoin("g", "")), ErrMemberIDRequired)
	}
	wantAnswer(t, "third id", r.join(aJoin("g", "")), ErrGroupFull)
	wantAnswer(t, "second group", r.commit("h", "", -1, "t", 0, 1), nil)
	wantAnswer(t, "third group", r.commit("i", "", -1, "t", 0, 1), nil)
	full := r.commit("j", "", -1, "t", 0, 1)
	wantAnswer(t, "fourth group", full, nil)
	wantErr(t, "fourth group", full.v[0], ErrStateFull)
	wantAnswer(t, "join of a fourth group", r.join(aJoin("k", "")), ErrStateFull)
	wantErr(t, "an offset that is there already", r.commit("h", "", -1, "t", 0, 2).v[0], nil)
	r.pass(time.Minute) // ids that were not used are taken back, and the group with them
	r.wantState("g", Dead)
	wantErr(t, "room again", r.commit("j", "", -1, "t", 0, 1).v[0], nil)
}

// A client that reconnects asks again while its first request still waits.
func TestSecondJoinOfAMemberReplacesTheFirst(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("g", 2)
	first := r.join(aJoin("g", ids[0]))
	again := r.join(aJoin("g", ids[0]))
	wantAnswer(t, "first", first, ErrRebalanceInProgress)
	wantWaiting(t, "again", again)
	wantAnswer(t, "the other", r.join(aJoin("g", ids[1])), nil)
	wantAnswer(t, "again", again, nil)
}

func TestAbandonedJoin(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("g", 1)
	answered := false
	rep := &reply[JoinResult]{fn: func(JoinResult, error) { answered = true }}
	r.m.join(oldJoin("g", ""), rep) // waits for the first member
	r.m.abandon("g", rep, false)
	leader := r.join(aJoin("g", ids[0]))
	wantAnswer(t, "leader", leader, nil)
	if len(leader.v.Members) != 1 || answered {
		t.Fatalf("%d members, answered %v", len(leader.v.Members), answered)
	}
}
