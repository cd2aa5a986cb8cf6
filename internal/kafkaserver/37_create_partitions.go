package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.CreatePartitions, min: 0, max: 3, controller: true}, (*Server).handleCreatePartitions)
}

// handleCreatePartitions adds partitions to topics.
func (s *Server) handleCreatePartitions(r *request, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	if len(req.Topics) == 0 {
		return resp
	}
	topics := make([]controller.NewPartitions, len(req.Topics))
	for i := range req.Topics {
		t := &req.Topics[i]
		topics[i] = controller.NewPartitions{Topic: t.Topic, Count: t.Count}
		if t.Assignment != nil {
			topics[i].Assignments = make([][]int32, len(t.Assignment))
		}
		for j, a := range t.Assignment {
			topics[i].Assignments[j] = a.Replicas
		}
	}
	ctx, cancel := adminContext(r, req.TimeoutMillis)
	defer cancel()
	results, err := s.admin(r).CreatePartitions(ctx, topics, req.ValidateOnly)
	if err != nil {
		for i := range topics {
			results = append(results, controller.ItemResult{Name: topics[i].Topic, Err: err})
		}
	}
	for _, res := range results {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic, t.ErrorCode, t.ErrorMessage = res.Name, errorCode(res.Err), refusalText(res.Err)
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
