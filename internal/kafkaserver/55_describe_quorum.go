package kafkaserver

import (
	"strings"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DescribeQuorum, min: 0, max: 2, controller: true}, (*Server).handleDescribeQuorum)
}

// kafkaMetadataTopic is the name by which Kafka's tools ask for the metadata log.
const kafkaMetadataTopic = "__cluster_metadata"

// handleDescribeQuorum reports the voters and observers of the metadata log, as the leader knows them. Without a leader
// it is what this node knows.
func (s *Server) handleDescribeQuorum(_ *request, req *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	none := ""
	resp.ErrorMessage = &none
	status := s.deps.Meta.Status()
	for i := range req.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			answer := kmsg.NewDescribeQuorumResponseTopicPartition()
			answer.Partition, answer.ErrorMessage = p.Partition, &none
			if p.Partition != 0 || t.Topic != kafkaMetadataTopic && t.Topic != metadata.MetadataTopic {
				answer.ErrorCode, answer.ErrorMessage = kerr.UnknownTopicOrPartition.Code, errorText(kerr.UnknownTopicOrPartition)
			} else {
				describeLog(&answer, &status)
				resp.Nodes = s.quorumNodes(&status)
			}
			t.Partitions = append(t.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func describeLog(p *kmsg.DescribeQuorumResponseTopicPartition, st *metalog.Status) {
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = -1, int32(st.Epoch), st.Commit
	if !st.Leader.DiskID.IsZero() {
		p.LeaderID = st.Leader.NodeID
	}
	known := make(map[metalog.Member]metalog.FollowerStatus, len(st.Followers))
	for _, f := range st.Followers {
		known[f.Member] = f
	}
	replica := func(m metalog.Member) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
		r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		r.ReplicaID, r.LogEndOffset, r.LastFetchTimestamp, r.LastCaughtUpTimestamp = m.NodeID, -1, -1, -1
		r.ReplicaDirectoryID = m.DiskID
		if f, ok := known[m]; ok {
			r.LastFetchTimestamp, r.LastCaughtUpTimestamp = orUnknown(f.LastAckMs), orUnknown(f.CaughtUpMs)
			if f.LastAckMs > 0 { // before its first answer in this epoch nothing is known of its log
				r.LogEndOffset = f.Match
			}
		}
		if m == st.Self {
			r.LogEndOffset = st.End
		}
		if m == st.Self && m == st.Leader {
			now := time.Now().UnixMilli()
			r.LastFetchTimestamp, r.LastCaughtUpTimestamp = now, now
		}
		return r
	}
	for _, m := range st.Voters.Members {
		p.CurrentVoters = append(p.CurrentVoters, replica(m))
	}
	for _, f := range st.Followers {
		if !st.Voters.Has(f.Member) {
			p.Observers = append(p.Observers, replica(f.Member))
		}
	}
}

// orUnknown turns the 0 of "never" into Kafka's -1.
func orUnknown(ms int64) int64 {
	if ms == 0 {
		return -1
	}
	return ms
}

// quorumNodes are the addresses of the log's members.
func (s *Server) quorumNodes(st *metalog.Status) []kmsg.DescribeQuorumResponseNode {
	im := s.image()
	var nodes []kmsg.DescribeQuorumResponseNode
	add := func(m metalog.Member) {
		b := im.Broker(m.NodeID)
		if b == nil {
			return
		}
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID = m.NodeID
		for _, e := range b.Endpoints {
			l := kmsg.NewDescribeQuorumResponseNodeListener()
			l.Name, l.Host, l.Port = strings.ToUpper(e.Listener), e.Host, uint16(e.Port) // the Java client refuses any other
			n.Listeners = append(n.Listeners, l)
		}
		nodes = append(nodes, n)
	}
	for _, m := range st.Voters.Members {
		add(m)
	}
	for _, f := range st.Followers {
		if !st.Voters.Has(f.Member) {
			add(f.Member)
		}
	}
	return nodes
}
