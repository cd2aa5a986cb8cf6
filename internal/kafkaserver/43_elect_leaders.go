package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.ElectLeaders, min: 0, max: 2, controller: true}, (*Server).handleElectLeaders)
}

// handleElectLeaders elects preferred leaders, or unclean ones for partitions without a leader.
func (s *Server) handleElectLeaders(r *request, req *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := kmsg.NewPtrElectLeadersResponse()
	var partitions []controller.TopicPartition
	if req.Topics != nil {
		partitions = []controller.TopicPartition{}
	}
	for _, t := range req.Topics {
		for _, n := range t.Partitions {
			partitions = append(partitions, controller.TopicPartition{Topic: t.Topic, Partition: n})
		}
	}
	kind := controller.Election(req.ElectionType)
	if r.version == 0 {
		kind = controller.ElectPreferred
	}
	if kind != controller.ElectPreferred && kind != controller.ElectUnclean {
		resp.ErrorCode = kerr.InvalidRequest.Code
	}
	ctx, cancel := adminContext(r, req.TimeoutMillis)
	defer cancel()
	results, err := s.admin(r).ElectLeaders(ctx, kind, partitions)
	if err != nil {
		resp.ErrorCode = errorCode(err)
		for _, p := range partitions {
			results = append(results, controller.ElectionResult{TopicPartition: p, Err: err})
		}
	}
	at := make(map[string]int, len(req.Topics))
	for _, res := range results {
		i, ok := at[res.Topic]
		if !ok {
			i = len(resp.Topics)
			at[res.Topic] = i
			t := kmsg.NewElectLeadersResponseTopic()
			t.Topic = res.Topic
			resp.Topics = append(resp.Topics, t)
		}
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition, p.ErrorCode, p.ErrorMessage = res.Partition, errorCode(res.Err), refusalText(res.Err)
		resp.Topics[i].Partitions = append(resp.Topics[i].Partitions, p)
	}
	return resp
}
