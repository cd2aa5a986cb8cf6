package kafkaserver

import (
	"context"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.OffsetFetch, min: 1, max: 10, maxBytes: groupFrameBytes}, (*Server).handleOffsetFetch)
}

// handleOffsetFetch gives committed offsets. RequireStable asks to leave out offsets of open transactions: there are none.
func (s *Server) handleOffsetFetch(r *request, req *kmsg.OffsetFetchRequest) kmsg.Response {
	if r.version >= 8 {
		resp := kmsg.NewPtrOffsetFetchResponse()
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, s.fetchGroupOffsets(r.ctx, r.version, &req.Groups[i]))
		}
		return resp
	}
	g := kmsg.OffsetFetchRequestGroup{Group: req.Group}
	if req.Topics != nil || r.version < 2 {
		g.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
		for _, t := range req.Topics {
			g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
	}
	return flatOffsets(r.version, s.fetchGroupOffsets(r.ctx, r.version, &g), req)
}

// flatOffsets is the answer for one group as it was before version 8. Version 1 has no place for the group's error.
func flatOffsets(version int16, g kmsg.OffsetFetchResponseGroup, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.ErrorCode = g.ErrorCode
	if g.ErrorCode != 0 && version < 2 {
		for _, t := range req.Topics {
			failed := kmsg.OffsetFetchResponseGroupTopic{Topic: t.Topic}
			for _, n := range t.Partitions {
				failed.Partitions = append(failed.Partitions, noOffset(n, g.ErrorCode))
			}
			g.Topics = append(g.Topics, failed)
		}
	}
	for _, t := range g.Topics {
		out := kmsg.NewOffsetFetchResponseTopic()
		out.Topic = t.Topic
		for _, p := range t.Partitions {
			outp := kmsg.NewOffsetFetchResponseTopicPartition()
			outp.Partition, outp.Offset, outp.LeaderEpoch, outp.Metadata, outp.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			out.Partitions = append(out.Partitions, outp)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

// fetchGroupOffsets answers for one group. Null topics are all; from version 10 on topics are ids.
func (s *Server) fetchGroupOffsets(ctx context.Context, version int16, req *kmsg.OffsetFetchRequestGroup) kmsg.OffsetFetchResponseGroup {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = req.Group
	if req.Topics == nil {
		found, err := s.deps.Groups.FetchOffsets(ctx, req.Group, nil)
		resp.ErrorCode = groupCode(err)
		for _, t := range found {
			out := offsetTopic(t)
			if version >= 10 {
				topic := s.image().Topic(t.Topic)
				if topic == nil {
					continue // gone, and there is no id to call it by
				}
				out.TopicID = topic.ID
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	}
	asked := make([]group.TopicPartitions, 0, len(req.Topics))
	im := s.image()
	for i := range req.Topics {
		t := &req.Topics[i]
		name := t.Topic
		if version >= 10 {
			topic, unknown := groupedTopic(im, true, "", t.TopicID)
			if topic == nil {
				resp.Topics = append(resp.Topics, unknownOffsets(t, unknown))
				continue
			}
			name = topic.Name
		}
		asked = append(asked, group.TopicPartitions{Topic: name, Partitions: t.Partitions})
	}
	found, err := s.deps.Groups.FetchOffsets(ctx, req.Group, asked)
	if err != nil {
		resp.ErrorCode, resp.Topics = groupCode(err), nil
		return resp
	}
	for _, t := range found {
		out := offsetTopic(t)
		if topic := im.Topic(t.Topic); version >= 10 && topic != nil {
			out.TopicID = topic.ID
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func offsetTopic(t group.TopicOffsets) kmsg.OffsetFetchResponseGroupTopic {
	out := kmsg.NewOffsetFetchResponseGroupTopic()
	out.Topic = t.Topic
	for i := range t.Partitions {
		p := &t.Partitions[i]
		outp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		outp.Partition, outp.Offset, outp.LeaderEpoch, outp.Metadata = p.Partition, p.Offset, p.LeaderEpoch, &p.Metadata
		out.Partitions = append(out.Partitions, outp)
	}
	return out
}

func unknownOffsets(t *kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	out := kmsg.NewOffsetFetchResponseGroupTopic()
	out.Topic, out.TopicID = t.Topic, t.TopicID
	for _, n := range t.Partitions {
		out.Partitions = append(out.Partitions, noOffset(n, code))
	}
	return out
}

func noOffset(partition int32, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	empty := ""
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = partition, -1, -1, &empty, code
	return p
}
