package membership

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A member that the others do not hear any more leads no longer, and never again; the others elect one of themselves.
func TestBannedMembersDoNotLead(t *testing.T) {
	claims := make(chan Claim, 64)
	nodes, options := three(t, claims)
	first := wait(t, claims)
	settled(t, nodes, first)
	banned := options[first.NodeID-1].Self
	for i, m := range nodes {
		if options[i].Self.NodeID != banned.NodeID {
			m.Ban(banned)
			m.Ban(banned) // again and again
		}
	}
	second := wait(t, claims)
	if second.NodeID == banned.NodeID || second.Term <= first.Term {
		t.Fatalf("claim %+v after %+v", second, first)
	}
	led := nodes[banned.NodeID-1]
	for deadline := time.Now().Add(20 * time.Second); led.raft.State() == raft.Leader; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it still believes that it leads")
		}
	}
	// It tries by all means, while one of the others is away and comes again: nobody else can vote for it.
	for range 3 {
		led.ElectNow()
		time.Sleep(heartbeatTimeout / 2)
	}
	select {
	case c := <-claims:
		if c.NodeID == banned.NodeID {
			t.Fatalf("it leads again: %+v", c)
		}
	default:
	}
	if led.raft.State() == raft.Leader {
		t.Fatal("it leads again")
	}
	// Nor is its vote asked for: with one of the two others gone nobody leads.
	third := second.NodeID
	if err := nodes[third-1].Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * heartbeatTimeout)
	for i, m := range nodes {
		if int32(i+1) != third && m.raft.State() == raft.Leader {
			t.Fatalf("node %d leads with the vote of a banned member", i+1)
		}
	}
}
