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

// handleDeleteRecords moves log start offsets. The answer comes when the new starts are durable on every replica that may be elected: what a
// client was told is deleted does not come back with another leader. A start that is not there in time has moved all the same.
func (s *Server) handleDeleteRecords(r *request, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	ctx, cancel := adminContext(r, req.TimeoutMillis)
	defer cancel()
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
	for i := range resp.Topics { // all have moved before one is waited for
		t := im.Topic(resp.Topics[i].Topic)
		for j := range resp.Topics[i].Partitions {
			a := &resp.Topics[i].Partitions[j]
			if a.ErrorCode != 0 {
				continue
			}
			err := error(kerr.NotLeaderForPartition)
			if replica := s.deps.Replicas.Get(t.ID, a.Partition); replica != nil {
				err = replica.AwaitStart(ctx, a.LowWatermark)
			}
			if err != nil {
				a.LowWatermark, a.ErrorCode = -1, errorCode(err)
			}
		}
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
