package membership

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// A node elects itself at the moment in which another one wins. As it does not step down in that campaign, a heartbeat of the winner makes it
// a candidate that knows a leader, and if the winner dies then, it would refuse its vote to the only other survivor for ever, which has the
// longer log and refuses in turn.
func TestCandidateForgetsItsLeader(t *testing.T) {
	o := options(t, 1, 1, make(chan Claim, 1))
	second, third := options(t, 2, 2, nil), options(t, 3, 3, nil)
	o.Founders = []Member{o.Self, second.Self, third.Self}
	_, inner := raft.NewInmemTransport(encodeAddress(o.Self))
	o.transport = inner
	m := open(t, o)
	ask := func(from Options, address raft.ServerAddress) *raft.InmemTransport {
		_, other := raft.NewInmemTransport(encodeAddress(from.Self))
		other.Connect(address, inner)
		go func() {
			for rpc := range other.Consumer() { // says no to all that it is asked
				switch rpc.Command.(type) {
				case *raft.RequestVoteRequest:
					rpc.Respond(&raft.RequestVoteResponse{RPCHeader: header(from)}, nil)
				case *raft.RequestPreVoteRequest:
					rpc.Respond(&raft.RequestPreVoteResponse{RPCHeader: header(from)}, nil)
				}
			}
		}()
		inner.Connect(encodeAddress(from.Self), other)
		return other
	}
	self := encodeAddress(o.Self)
	winner, survivor := ask(third, self), ask(second, self)

	deadline := time.Now().Add(20 * time.Second)
	for known := false; !known; { // until the heartbeat comes within the campaign
		if time.Now().After(deadline) {
			t.Fatal("the node never was a candidate that knows a leader")
		}
		m.ElectNow()
		time.Sleep(20 * time.Millisecond)
		term := m.raft.CurrentTerm()
		var resp raft.AppendEntriesResponse
		if err := winner.AppendEntries(o.Self.serverID(), self, &raft.AppendEntriesRequest{RPCHeader: header(third), Term: term}, &resp); err != nil {
			t.Fatal(err)
		}
		leader, ok := m.Leader()
		known = m.raft.State() == raft.Candidate && ok && leader.NodeID == 3
	}
	// The winner is dead.
	for granted := false; !granted; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			leader, ok := m.Leader()
			t.Fatalf("no vote for the other survivor; state %v, leader %v %v", m.raft.State(), leader.NodeID, ok)
		}
		var resp raft.RequestPreVoteResponse
		req := &raft.RequestPreVoteRequest{RPCHeader: header(second), Term: m.raft.CurrentTerm() + 1, LastLogIndex: 5, LastLogTerm: m.raft.CurrentTerm()}
		if err := survivor.RequestPreVote(o.Self.serverID(), self, req, &resp); err != nil {
			t.Fatal(err)
		}
		granted = resp.Granted
	}
}

func header(o Options) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(o.Self.serverID()), Addr: []byte(encodeAddress(o.Self))}
}
