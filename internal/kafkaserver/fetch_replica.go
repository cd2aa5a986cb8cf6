package kafkaserver

import (
	"errors"
	"slices"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Which replica serves a fetch (KIP-392), and whom a client is told to ask instead (KIP-951).
//
// A follower serves what lies below its own high watermark, to any client whose version of Fetch knows of followers, as Kafka does: also
// to one that takes it for the leader still. What it cannot prove it does not claim: its log may be behind the leader's, and may end in
// records that the leader does not have.

// fetchFollowers is the first version of Fetch that a follower answers.
const fetchFollowers = 11

// noReplica stands where a client is not sent to another replica.
const noReplica int32 = -1

// checkRole is nil if this node may serve the partition to the client: as the leader, or as a follower, which it notes.
func (p *fetchPart) checkRole(s *Server, q *fetchQuery) error {
	p.follows = false
	err := p.replica.CheckLeader(p.currentEpoch)
	if !errors.Is(err, replica.ErrNotLeader) || q.version < fetchFollowers {
		return err
	}
	// One that should lead and does not is about to, or cut off: nobody knows then what is committed. A follower that is cut off would
	// never have anything new.
	if p.replica.Leader() == s.deps.NodeID || s.cutOff() {
		return err
	}
	if p.replica.Log() == nil {
		return replica.ErrOffline
	}
	p.follows = true
	return nil
}

// cutOff reports whether this node has been without a controller for so long that others may lead what it led.
func (s *Server) cutOff() bool { return s.forwards() && s.deps.Cluster.Isolated() }

// checkPosition is nil if the log goes as far as the client's position, and the position is not off the log's history; where it is, what
// to say is settled already and diverged is true.
func (p *fetchPart) checkPosition(log *partition.Log, hw, start int64) (diverged bool, err error) {
	if p.offset < start { // a follower's start is the leader's, or behind it
		return false, partition.ErrOutOfRange
	}
	if p.lastEpoch >= 0 {
		epoch, end := log.EpochEnd(p.lastEpoch)
		switch {
		case end < 0:
			return false, p.unreached()
		case epoch == p.lastEpoch && end >= p.offset:
		case p.follows && end > hw: // that may be the end of records which the leader does not have
			return false, p.unreached()
		default:
			p.settle(hw, start, nil)
			p.divergingEpoch, p.divergingEnd = epoch, end
			return true, nil
		}
	}
	if p.offset > log.End() {
		return false, p.unreached()
	}
	return false, nil
}

// unreached is the error for a position that this node's log does not reach. Only the leader knows that there is no such position; a
// client that heard so from a follower would reset its position, which may lose it records.
func (p *fetchPart) unreached() error {
	if p.follows {
		return kerr.OffsetNotAvailable
	}
	return partition.ErrOutOfRange
}

// selectsByRack reports whether a value of replica.selector.class is Kafka's selector by racks.
func selectsByRack(class string) bool {
	return class == config.RackAwareSelector || class == config.RackAwareSelectorShort
}

// preferredReplica is the follower that the client should read from rather than from this leader: one in its own rack, in service and in
// sync, so that it has all that the client can ask for; noReplica if there is none, or if the leader is as near. Where there are several,
// partitions are spread over them.
func (s *Server) preferredReplica(p *fetchPart, q *fetchQuery, hw, start int64) int32 {
	if !s.rackAware || q.rack == "" || p.state == nil || p.offset < start || p.offset > hw {
		return noReplica
	}
	im := s.image()
	if b := im.Broker(s.deps.NodeID); b == nil || b.Rack == q.rack {
		return noReplica
	}
	var few [8]int32
	near := few[:0]
	for _, id := range p.state.ISR {
		if id == s.deps.NodeID || !live(im, id) {
			continue
		}
		b := im.Broker(id)
		if _, reachable := brokerEndpoint(b); reachable && b.Rack == q.rack {
			near = append(near, id)
		}
	}
	if len(near) > 0 && s.forwards() {
		suspects := s.deps.Cluster.Suspects()
		near = slices.DeleteFunc(near, func(id int32) bool { return slices.Contains(suspects, id) })
	}
	if len(near) == 0 {
		return noReplica
	}
	slices.Sort(near) // the order of an ISR is not always the same
	return near[int(p.index)%len(near)]
}

// leaderOpen reports whether it is about to be known who leads a partition that this node does not: the one that the metadata names seems
// dead, or is this node, or this node was away and may not know of another one yet. That nobody leads is known.
func (s *Server) leaderOpen(topic uuid.UUID, n int32) bool {
	_, state := s.image().Partition(topic, n)
	switch {
	case state == nil || state.Leader == metadata.NoLeader:
		return false
	case state.Leader == s.deps.NodeID:
		r := s.deps.Replicas.Get(topic, n)
		return r != nil && !r.Leads()
	}
	return s.cutOff() || slices.Contains(s.deps.Cluster.Suspects(), state.Leader)
}

// currentLeader is who leads a partition, for a client that was told that this node does not, or that it names an old epoch. It is not
// told of this node unless it leads in fact, nor of nobody: both would have it ask again for nothing.
func (s *Server) currentLeader(topic uuid.UUID, n int32) (leader, epoch int32, known bool) {
	_, state := s.image().Partition(topic, n)
	switch {
	case state == nil || state.Leader == metadata.NoLeader:
		return 0, 0, false
	case state.Leader == s.deps.NodeID:
		if r := s.deps.Replicas.Get(topic, n); r == nil || !r.Leads() {
			return 0, 0, false
		}
	}
	return state.Leader, state.LeaderEpoch, true
}
