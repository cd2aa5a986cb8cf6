package group

import (
	"testing"
	"time"
)

// staticPair is a stable group of two static members; the first leads.
func staticPair(t *testing.T, r *rig) (a, b string, generation int32) {
	t.Helper()
	r.join(static(aJoin("g", ""), "A"))
	jb := r.join(static(aJoin("g", ""), "B"))
	d, _ := r.m.describe("g")
	a = d.Members[0].MemberID
	ja := r.join(static(aJoin("g", a), "A"))
	wantAnswer(t, "A", ja, nil)
	wantAnswer(t, "B", jb, nil)
	b = jb.v.MemberID
	wantAnswer(t, "sync A", r.sync("g", a, ja.v.Generation, Assignment{a, []byte("1")}, Assignment{b, []byte("2")}), nil)
	wantAnswer(t, "sync B", r.sync("g", b, ja.v.Generation), nil)
	return a, b, ja.v.Generation
}

func TestStaticMemberComesBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		instance string
		canSkip  bool
		leads    bool // finds itself leader
		skip     bool
	}{
		{"follower", "B", true, false, false},
		{"leader", "A", true, true, true},
		{"leader, old client", "A", false, false, false}, // would assign if it knew
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Config{})
			a, b, gen := staticPair(t, r)
			old, data := a, "1"
			if c.instance == "B" {
				old, data = b, "2"
			}
			j := static(aJoin("g", ""), c.instance)
			j.CanSkipAssignment = c.canSkip
			again := r.join(j)
			wantAnswer(t, "rejoin", again, nil)
			r.wantState("g", Stable)
			id := again.v.MemberID
			if id == old || again.v.Generation != gen || again.v.SkipAssignment != c.skip || (again.v.LeaderID == id) != c.leads {
				t.Fatalf("rejoined: %+v", again.v)
			}
			if c.leads != (len(again.v.Members) == 2) {
				t.Fatalf("%d members", len(again.v.Members))
			}
			s := r.sync("g", id, gen)
			wantAnswer(t, "sync", s, nil)
			if string(s.v.Assignment) != data {
				t.Fatalf("assignment %q", s.v.Assignment)
			}
			fenced := r.m.heartbeat(&HeartbeatRequest{Group: "g", MemberID: old, InstanceID: c.instance, Generation: gen})
			wantErr(t, "heartbeat of the old one", fenced, ErrFencedInstance)
			wantAnswer(t, "join of the old one", r.join(static(aJoin("g", old), c.instance)), ErrFencedInstance)
			r.reload()
			wantErr(t, "heartbeat after a reload", r.beat("g", id, gen), nil)
		})
	}
}

func TestStaticMemberWithAnotherProtocolRebalances(t *testing.T) {
	r := newRig(t, Config{})
	r.join(static(protocols(aJoin("g", ""), "range", "sticky"), "A"))
	d, _ := r.m.describe("g")
	a := d.Members[0].MemberID
	r.sync("g", a, 1, Assignment{a, nil})
	r.wantState("g", Stable)
	again := r.join(static(protocols(aJoin("g", ""), "sticky", "range"), "A"))
	wantAnswer(t, "rejoin", again, nil) // it is alone, so the rebalance is over at once
	if again.v.Generation != 2 || again.v.Protocol != "sticky" || len(again.v.Members) != 1 {
		t.Fatalf("rejoined: %+v", again.v)
	}
}

func TestStaticMemberComesBackDuringRebalance(t *testing.T) {
	r := newRig(t, Config{})
	a, _, _ := staticPair(t, r)
	first := r.join(static(aJoin("g", a), "A")) // the leader wants a new assignment, and waits
	wantWaiting(t, "leader", first)
	twin := r.join(static(aJoin("g", ""), "A"))
	wantAnswer(t, "leader", first, ErrFencedInstance)
	wantWaiting(t, "its twin", twin)
	b := r.join(static(aJoin("g", ""), "B"))
	wantAnswer(t, "B", b, nil)
	wantAnswer(t, "the twin", twin, nil)
	if twin.v.LeaderID != twin.v.MemberID {
		t.Fatalf("leader %q", twin.v.LeaderID)
	}
	waiting := r.sync("g", b.v.MemberID, b.v.Generation)
	another := r.join(static(aJoin("g", ""), "A")) // the leader may know the old id: everybody joins again
	wantAnswer(t, "sync", waiting, ErrRebalanceInProgress)
	wantWaiting(t, "another", another)
}

// A static member that is away costs no rebalance until its session ends.
func TestStaticMemberAway(t *testing.T) {
	r := newRig(t, Config{})
	a, b, gen := staticPair(t, r)
	r.pass(9 * time.Second)
	wantErr(t, "heartbeat", r.beat("g", a, gen), nil)
	again := r.join(static(aJoin("g", ""), "B"))
	wantAnswer(t, "B comes back", again, nil)
	if again.v.Generation != gen {
		t.Fatalf("generation %d", again.v.Generation)
	}
	wantErr(t, "heartbeat", r.beat("g", a, gen), nil)
	r.pass(9 * time.Second)
	wantErr(t, "heartbeat", r.beat("g", a, gen), nil)
	r.pass(2 * time.Second)
	wantErr(t, "heartbeat after B's session", r.beat("g", a, gen), ErrRebalanceInProgress)
	wantErr(t, "B", r.beat("g", b, gen), ErrUnknownMember)
}

func TestStaticMemberThatDoesNotRejoinStaysUntilItsSession(t *testing.T) {
	r := newRig(t, Config{})
	a, _, gen := staticPair(t, r)
	long := static(aJoin("g", ""), "B")
	long.SessionTimeout = 5 * time.Minute
	b := r.join(long).v.MemberID
	j := r.join(static(aJoin("g", a), "A"))
	r.pass(31 * time.Second)
	wantAnswer(t, "A", j, nil)
	if len(j.v.Members) != 2 || j.v.Generation != gen+1 {
		t.Fatalf("joined: %+v", j.v)
	}
	wantErr(t, "B has the old generation", r.beat("g", b, gen), ErrIllegalGeneration)
}

func TestLeave(t *testing.T) {
	r := newRig(t, Config{})
	a, b, gen := staticPair(t, r)
	pending := r.join(aJoin("g", "")).v.MemberID
	left := r.leave("g", LeaveMember{MemberID: "nobody"}, LeaveMember{MemberID: pending}, LeaveMember{InstanceID: "C"},
		LeaveMember{MemberID: "x", InstanceID: "B"}, LeaveMember{InstanceID: "B"})
	wantAnswer(t, "leave", left, nil)
	for i, want := range []error{ErrUnknownMember, nil, ErrUnknownMember, ErrFencedInstance, nil} {
		wantErr(t, "leave", left.v[i], want)
	}
	wantErr(t, "heartbeat", r.beat("g", a, gen), ErrRebalanceInProgress)
	wantErr(t, "heartbeat of who left", r.beat("g", b, gen), ErrUnknownMember)
	wantAnswer(t, "leave of an unknown group", r.leave("h", LeaveMember{MemberID: a}), ErrUnknownMember)
	wantAnswer(t, "the last one leaves", r.leave("g", LeaveMember{MemberID: a}), nil)
	r.wantState("g", Empty)
	next := r.join(oldJoin("g", ""))
	if next.v.Generation != gen+2 {
		t.Fatalf("generation %d after %d: an empty group counts on", next.v.Generation, gen)
	}
}

// Somebody who leaves while it waits is answered.
func TestLeaveOfOneThatWaits(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("g", 2)
	j := r.join(aJoin("g", ids[0]))
	wantAnswer(t, "leave", r.leave("g", LeaveMember{MemberID: ids[0]}), nil)
	wantAnswer(t, "join", j, ErrUnknownMember)
	k := r.join(aJoin("g", ids[1]))
	wantAnswer(t, "the other", k, nil)
	if k.v.Generation != gen+1 || k.v.LeaderID != ids[1] {
		t.Fatalf("joined: %+v", k.v)
	}
}
