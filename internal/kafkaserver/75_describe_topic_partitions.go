package kafkaserver

import (
	"iter"
	"slices"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DescribeTopicPartitions, min: 0, max: 0}, (*Server).handleDescribeTopicPartitions)
}

// handleDescribeTopicPartitions describes topics in the order of their names, page by page: all of them if none is named.
func (s *Server) handleDescribeTopicPartitions(_ *request, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	im := s.image()
	limit := int(config.BrokerInt(config.RequestPartitionLimit, s.layers(im, "")))
	page := topicPage{s: s, im: im, resp: resp, left: min(max(int(req.ResponsePartitionLimit), 1), limit)}
	if req.Cursor != nil {
		if req.Cursor.Partition < 0 {
			return describeTopicsRefused(resp, req)
		}
		page.from, page.partition = req.Cursor.Topic, req.Cursor.Partition
	}
	for name := range topicNames(im, req, page.from) {
		if !page.add(name) {
			break
		}
	}
	return resp
}

// describeTopicsRefused answers a cursor that cannot be: INVALID_REQUEST for each topic, as this response has no place of its own.
func describeTopicsRefused(resp *kmsg.DescribeTopicPartitionsResponse, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	for i := range req.Topics {
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.ErrorCode, t.Topic = kerr.InvalidRequest.Code, &req.Topics[i].Topic
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// topicNames are the names to describe, each once and in order, from a name on.
func topicNames(im *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest, from string) iter.Seq[string] {
	if len(req.Topics) == 0 {
		return func(yield func(string) bool) {
			log := from <= metadata.MetadataTopic // the metadata log is in no image, and has its place among the others
			for t := range im.TopicsFrom(from) {
				if log && t.Name > metadata.MetadataTopic {
					if log = false; !yield(metadata.MetadataTopic) {
						return
					}
				}
				if !yield(t.Name) {
					return
				}
			}
			if log {
				yield(metadata.MetadataTopic)
			}
		}
	}
	names := make([]string, 0, len(req.Topics))
	for i := range req.Topics {
		if req.Topics[i].Topic >= from {
			names = append(names, req.Topics[i].Topic)
		}
	}
	slices.Sort(names)
	return slices.Values(slices.Compact(names))
}

// topicPage fills one answer up to its number of partitions.
type topicPage struct {
	s         *Server
	im        *metadata.Image
	resp      *kmsg.DescribeTopicPartitionsResponse
	left      int
	from      string // topic of the cursor, with the partition to begin at
	partition int32
}

// add describes a topic, and reports whether there is room for another one.
func (p *topicPage) add(name string) bool {
	answer := kmsg.NewDescribeTopicPartitionsResponseTopic()
	answer.Topic, answer.AuthorizedOperations = &name, topicOperations
	t := p.im.Topic(name)
	if name == metadata.MetadataTopic {
		t = p.s.metadataLogAsTopic()
	}
	if t == nil {
		if err := metadata.CheckTopicName(name); err != nil {
			answer.ErrorCode = errorCode(err)
		} else {
			answer.ErrorCode = kerr.UnknownTopicOrPartition.Code
		}
		p.resp.Topics = append(p.resp.Topics, answer)
		return true
	}
	answer.TopicID, answer.IsInternal = t.ID, t.Internal
	first := int32(0)
	if name == p.from {
		first = p.partition
	}
	if p.left == 0 {
		p.stopAt(name, first)
		return false
	}
	for n := first; int(n) < len(t.Partitions); n++ {
		if p.left == 0 {
			p.stopAt(name, n)
			break
		}
		p.left--
		answer.Partitions = append(answer.Partitions, p.describe(t, n))
	}
	p.resp.Topics = append(p.resp.Topics, answer)
	return p.resp.NextCursor == nil
}

// metadataLogAsTopic describes the metadata log as a topic, which every broker leads for its own clients.
func (s *Server) metadataLogAsTopic() *metadata.Topic {
	var voters []int32
	for _, v := range s.image().Voters() {
		voters = append(voters, v.NodeID)
	}
	return &metadata.Topic{Name: metadata.MetadataTopic, ID: metadata.MetadataTopicID, Internal: true,
		Partitions: []*metadata.Partition{{Replicas: voters, ISR: voters, Leader: s.deps.NodeID, LeaderEpoch: metadataTopicEpoch}}}
}

func (p *topicPage) stopAt(name string, n int32) {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = name, n
	p.resp.NextCursor = &c
}

func (p *topicPage) describe(t *metadata.Topic, n int32) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	state := t.Partitions[n]
	a := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	a.Partition, a.LeaderID, a.LeaderEpoch = n, state.Leader, state.LeaderEpoch
	a.Replicas, a.ISR, a.EligibleLeaderReplicas = state.Replicas, state.ISR, state.ELR
	a.LastKnownELR = []int32{}
	if a.EligibleLeaderReplicas == nil {
		a.EligibleLeaderReplicas = []int32{}
	}
	if !p.s.leaderServes(p.im, state.Leader) {
		a.LeaderID, a.ErrorCode = metadata.NoLeader, kerr.LeaderNotAvailable.Code
	}
	for _, id := range state.Replicas {
		if !live(p.im, id) {
			a.OfflineReplicas = append(a.OfflineReplicas, id)
		}
	}
	return a
}
