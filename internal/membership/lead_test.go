package membership

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/uuid"
)

// settled waits until all nodes hold the claim and know all members.
func settled(t *testing.T, nodes []*Membership, c Claim) {
	t.Helper()
	for _, m := range nodes {
		for deadline := time.Now().Add(20 * time.Second); m.Claim() != c || len(m.Members()) != len(nodes); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("a node holds claim %+v and members %+v, want claim %+v", m.Claim(), m.Members(), c)
			}
		}
	}
}

// The lead goes to the voter that was named, and to nobody who is not one.
func TestHandOverGoesToTheVoterNamed(t *testing.T) {
	claims := make(chan Claim, 16)
	nodes, options := three(t, claims)
	first := wait(t, claims)
	settled(t, nodes, first)
	leader := nodes[first.NodeID-1]
	if err := leader.HandOver(9, uuid.New()); !errors.Is(err, ErrNotVoter) {
		t.Errorf("handed to a stranger: %v", err)
	}
	to := options[first.NodeID%3].Self
	if err := leader.HandOver(to.NodeID, uuid.New()); !errors.Is(err, ErrNotVoter) {
		t.Errorf("handed to another disk of a voter: %v", err)
	}
	if err := leader.HandOver(to.NodeID, to.DiskID); err != nil {
		t.Fatal(err)
	}
	if second := wait(t, claims); second.NodeID != to.NodeID || second.Term <= first.Term {
		t.Errorf("after the hand-over to node %d: %+v", to.NodeID, second)
	}
}

// A voter that is told to elects itself at once, although its leader lives; a node that does not vote never does.
func TestElectNowIsForVoters(t *testing.T) {
	claims := make(chan Claim, 16)
	nodes, _ := three(t, claims)
	first := wait(t, claims)
	settled(t, nodes, first)
	follower := nodes[first.NodeID%3]
	stranger := &Membership{o: follower.o, fsm: follower.fsm, raft: follower.raft, transport: follower.transport}
	stranger.o.Self.DiskID = uuid.New()
	stranger.ElectNow()
	select {
	case c := <-claims:
		t.Fatalf("a node that does not vote began an election: %+v", c)
	case <-time.After(heartbeatTimeout / 4):
	}
	begin := time.Now()
	follower.ElectNow()
	if second := wait(t, claims); second.NodeID != follower.o.Self.NodeID || second.Term <= first.Term {
		t.Errorf("claim %+v, want one of node %d", second, follower.o.Self.NodeID)
	}
	if took := time.Since(begin); took > heartbeatTimeout*3/4 {
		t.Logf("it took %v: either the machine is busy, or the election waited for a timeout", took)
	}
}

// What Raft replicates is members and a claim. Topics, leaders or settings in it would make their safety Raft's.
func TestRaftHoldsMembersAndTheClaimOnly(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want []string
	}{{command{}, []string{"Version", "Claim"}}, {state{}, []string{"members", "claim"}}, {Claim{}, []string{"NodeID", "DiskID", "BootNonce", "Term"}},
		{Member{}, []string{"NodeID", "DiskID", "Address", "Voter"}}} {
		var got []string
		for f := range reflect.TypeOf(tt.v).Fields() {
			got = append(got, f.Name)
		}
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%T has the fields %v, want %v", tt.v, got, tt.want)
		}
	}
}
