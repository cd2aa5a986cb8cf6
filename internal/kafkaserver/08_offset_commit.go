package kafkaserver

import (
	"errors"
	"time"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.OffsetCommit, min: 2, max: 10, maxBytes: groupFrameBytes}, (*Server).handleOffsetCommit)
}

// maxRetention keeps an expiry within what a timestamp can hold.
const maxRetention = 100 * 365 * 24 * time.Hour

// handleOffsetCommit stores offsets; it answers when they are committed to the log.
func (s *Server) handleOffsetCommit(r *request, req *kmsg.OffsetCommitRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetCommitResponse()
	instance, err := instanceOf(req.InstanceID)
	commit := group.CommitRequest{Group: req.Group, MemberID: req.MemberID, InstanceID: instance, Generation: req.Generation, Retention: -1}
	if r.version <= 4 && req.RetentionTimeMillis >= 0 {
		commit.Retention = time.Duration(min(req.RetentionTimeMillis, maxRetention.Milliseconds())) * time.Millisecond
	}
	// Partitions that exist go to the coordinator; where[i] is the place of the i-th one's answer.
	type place struct{ topic, partition int }
	var where []place
	im := s.image()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewOffsetCommitResponseTopic()
		out.Topic, out.TopicID = t.Topic, t.TopicID
		topic, unknown := groupedTopic(im, r.version >= 10, t.Topic, t.TopicID)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			outp := kmsg.NewOffsetCommitResponseTopicPartition()
			outp.Partition = p.Partition
			switch {
			case topic == nil:
				outp.ErrorCode = unknown
			case p.Partition < 0 || int(p.Partition) >= len(topic.Partitions):
				outp.ErrorCode = kerr.UnknownTopicOrPartition.Code
			default:
				where = append(where, place{i, j})
				commit.Offsets = append(commit.Offsets, commitOffset(topic.Name, p))
			}
			out.Partitions = append(out.Partitions, outp)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(where) == 0 {
		return resp
	}
	var results []error
	if err == nil {
		results, err = s.deps.Groups.Commit(r.ctx, commit)
	}
	for i, w := range where {
		code := commitCode(err, r.version)
		if err == nil {
			code = groupCode(results[i])
		}
		resp.Topics[w.topic].Partitions[w.partition].ErrorCode = code
	}
	return resp
}

func commitOffset(topic string, p *kmsg.OffsetCommitRequestTopicPartition) group.CommitOffset {
	o := group.CommitOffset{Topic: topic, Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch}
	if p.Metadata != nil {
		o.Metadata = *p.Metadata
	}
	return o
}

// commitCode is the code of an error that refuses a whole commit.
func commitCode(err error, version int16) int16 {
	switch {
	case errors.Is(err, group.ErrGroupNotFound) && version < 9: // what older clients know to mean "join again"
		return kerr.IllegalGeneration.Code
	case errors.Is(err, group.ErrRecordTooLarge):
		return kerr.InvalidCommitOffsetSize.Code
	default:
		return groupCode(err)
	}
}

// groupedTopic finds the topic that a request about offsets names by name or by id; nil with the error code if there is none.
func groupedTopic(im *metadata.Image, byID bool, name string, id [16]byte) (*metadata.Topic, int16) {
	if byID {
		if t := im.TopicByID(uuid.UUID(id)); t != nil {
			return t, 0
		}
		return nil, kerr.UnknownTopicID.Code
	}
	if t := im.Topic(name); t != nil {
		return t, 0
	}
	return nil, kerr.UnknownTopicOrPartition.Code
}
