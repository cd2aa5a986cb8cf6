package kafkaserver

import (
	"slices"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DeleteRecords, min: 0, max: 2}, (*Server).handleDeleteRecords)
}

// handleDeleteRecords moves log start offsets. The answer comes when the new start is durable.
func (s *Server) handleDeleteRecords(_ *request, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	im := s.image()
	for i := range req.Topics {
		t := &req.Topics[i]
		answer := kmsg.NewDeleteRecordsResponseTopic()
		answer.Topic = t.Topic
		for _, p := range t.Partitions {
			a := kmsg.NewDeleteRecordsResponseTopicPartition()
			low, err := s.deleteRecords(im, t.Topic, p.Partition, p.Offset)
			a.Partition, a.LowWatermark, a.ErrorCode = p.Partition, low, errorCode(err)
			answer.Partitions = append(answer.Partitions, a)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

// deleteRecords moves one log start offset up to offset (-1: the high watermark), and returns where it is then, -1 with an error.
func (s *Server) deleteRecords(im *metadata.Image, topic string, n int32, offset int64) (low int64, err error) {
	t := im.Topic(topic)
	switch {
	case topic == metadata.MetadataTopic:
		return -1, kerr.InvalidTopicException
	case t == nil || t.Partition(n) == nil:
		return -1, kerr.UnknownTopicOrPartition
	case t.Internal:
		return -1, kerr.InvalidTopicException
	case !slices.Contains(config.TopicList(config.CleanupPolicy, s.layers(im, topic)), "delete"):
		return -1, kerr.PolicyViolation
	}
	replica := s.deps.Replicas.Get(t.ID, n)
	if replica == nil {
		return -1, kerr.NotLeaderForPartition
	}
	if offset < -1 {
		return -1, partition.ErrOutOfRange
	}
	if low, err = replica.AdvanceStart(offset); err != nil {
		return -1, err
	}
	return low, nil
}
