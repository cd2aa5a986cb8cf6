package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, controller: true}, (*Server).handleIncrementalAlterConfigs)
}

// handleIncrementalAlterConfigs changes single settings of resources.
func (s *Server) handleIncrementalAlterConfigs(r *request, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	if len(req.Resources) == 0 {
		return resp
	}
	changes := make([]controller.ResourceChanges, len(req.Resources))
	for i := range req.Resources {
		res := &req.Resources[i]
		changes[i].Resource = resourceOf(res.ResourceType, res.ResourceName)
		for _, c := range res.Configs {
			changes[i].Changes = append(changes[i].Changes, controller.ConfigChange{Name: c.Name, Op: controller.ConfigOp(c.Op), Value: c.Value})
		}
	}
	ctx, cancel := adminContext(r, int32(adminTimeoutDefault.Milliseconds()))
	defer cancel()
	results, err := s.admin(r).IncrementalAlterConfigs(ctx, changes, req.ValidateOnly)
	for i := range req.Resources {
		res := kmsg.NewIncrementalAlterConfigsResponseResource()
		res.ResourceType, res.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		itemErr := err
		if err == nil {
			itemErr = results[i]
		}
		res.ErrorCode, res.ErrorMessage = errorCode(itemErr), refusalText(itemErr)
		resp.Resources = append(resp.Resources, res)
	}
	return resp
}
