package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DeleteTopics, min: 1, max: 6, controller: true}, (*Server).handleDeleteTopics)
}

// handleDeleteTopics deletes topics by name, from version 6 on also by id.
func (s *Server) handleDeleteTopics(r *request, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	refs := make([]controller.TopicRef, 0, len(req.TopicNames)+len(req.Topics))
	if r.version < 6 {
		for _, name := range req.TopicNames {
			refs = append(refs, controller.TopicRef{Name: name})
		}
	} else {
		for _, t := range req.Topics {
			ref := controller.TopicRef{ID: uuid.UUID(t.TopicID)}
			if t.Topic != nil {
				ref.Name = *t.Topic
			}
			refs = append(refs, ref)
		}
	}
	if len(refs) == 0 {
		return resp
	}
	ctx, cancel := adminContext(r, req.TimeoutMillis)
	defer cancel()
	results, err := s.admin(r).DeleteTopics(ctx, refs)
	if err != nil {
		for _, ref := range refs {
			results = append(results, controller.DeletedTopic{Name: ref.Name, ID: ref.ID, Err: err})
		}
	}
	for _, res := range results {
		t := kmsg.NewDeleteTopicsResponseTopic()
		if res.Name != "" || res.ID.IsZero() {
			t.Topic = &res.Name
		}
		t.TopicID, t.ErrorCode, t.ErrorMessage = res.ID, errorCode(res.Err), refusalText(res.Err)
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
