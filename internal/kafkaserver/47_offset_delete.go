package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.OffsetDelete, min: 0, max: 0}, (*Server).handleOffsetDelete)
}

// handleOffsetDelete deletes committed offsets of topics that the group does not read.
func (s *Server) handleOffsetDelete(r *request, req *kmsg.OffsetDeleteRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	var asked []group.TopicPartitions
	var where [][]*int16 // the places of the answers to asked
	im := s.image()
	for i := range req.Topics {
		t := &req.Topics[i]
		out := kmsg.NewOffsetDeleteResponseTopic()
		out.Topic, out.Partitions = t.Topic, make([]kmsg.OffsetDeleteResponseTopicPartition, len(t.Partitions))
		topic, ask, places := im.Topic(t.Topic), group.TopicPartitions{Topic: t.Topic}, []*int16(nil)
		for j, p := range t.Partitions {
			outp := &out.Partitions[j]
			outp.Partition = p.Partition
			if topic == nil || p.Partition < 0 || int(p.Partition) >= len(topic.Partitions) {
				outp.ErrorCode = kerr.UnknownTopicOrPartition.Code
				continue
			}
			ask.Partitions = append(ask.Partitions, p.Partition)
			places = append(places, &outp.ErrorCode)
		}
		if len(places) > 0 {
			asked, where = append(asked, ask), append(where, places)
		}
		resp.Topics = append(resp.Topics, out)
	}
	if len(asked) == 0 && len(req.Topics) > 0 {
		return resp
	}
	results, err := s.deps.Groups.DeleteOffsets(r.ctx, req.Group, asked)
	if err != nil {
		resp.ErrorCode, resp.Topics = groupCode(err), nil
		return resp
	}
	for i := range results {
		for j, err := range results[i] {
			*where[i][j] = groupCode(err)
		}
	}
	return resp
}
