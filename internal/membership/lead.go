package membership

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chronik-io/chronik/internal/uuid"
)

// handOverTimeout bounds a transfer of leadership; Raft's own election timeout is the bound within it.
const handOverTimeout = 2 * time.Second

// Leader returns whom this node's Raft follows: a hint, and about the past. ok is false if it follows nobody.
func (m *Membership) Leader() (leader Member, ok bool) {
	address, id := m.raft.LeaderWithID()
	if id == "" {
		return Member{}, false
	}
	leader, err := parseMember(raft.Server{ID: id, Address: address})
	return leader, err == nil
}

// Leading reports whether this node's Raft believes that it leads: a hint.
func (m *Membership) Leading() bool { return m.raft.State() == raft.Leader }

// ElectNow makes this node's Raft start an election at once, without waiting for its own timeout. It does nothing while the node leads or
// does not vote. An election is always safe to start.
func (m *Membership) ElectNow() {
	if m.Leading() || !m.votes() {
		return
	}
	m.transport.electSelf()
}

// ElectionTerm is the highest term in which another member has asked this process for a vote, 0 for none: a hint that it is becoming
// the leader.
func (m *Membership) ElectionTerm() uint64 { return m.transport.asked.Load() }

// votes reports whether this node is a voter of the last committed configuration; before there is one, of the founders'.
func (m *Membership) votes() bool {
	members := m.Members()
	if len(members) == 0 {
		members = m.o.Founders
	}
	for _, x := range members {
		if x.NodeID == m.o.Self.NodeID && x.DiskID == m.o.Self.DiskID {
			return x.Voter
		}
	}
	return false
}

// HandOver gives the lead of Raft to another voter. It waits until that one has been told to start an election.
func (m *Membership) HandOver(nodeID int32, diskID uuid.UUID) error {
	for _, x := range m.Members() {
		if x.NodeID != nodeID || x.DiskID != diskID || !x.Voter {
			continue
		}
		f := m.raft.LeadershipTransferToServer(x.serverID(), encodeAddress(x))
		done := make(chan error, 1)
		go func() { done <- f.Error() }()
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("hand the lead to node %d: %w", nodeID, err)
			}
			return nil
		case <-time.After(handOverTimeout):
			return fmt.Errorf("hand the lead to node %d: %w", nodeID, ErrTimeout)
		}
	}
	return fmt.Errorf("hand the lead to node %d: %w", nodeID, ErrNotVoter)
}
