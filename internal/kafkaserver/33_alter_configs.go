package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.AlterConfigs, min: 0, max: 2, controller: true}, (*Server).handleAlterConfigs)
}

// resourceTypes are the resources whose settings can be changed; others are refused by their number.
var resourceTypes = map[kmsg.ConfigResourceType]metadata.ResourceType{
	kmsg.ConfigResourceTypeTopic:  metadata.ResourceTopic,
	kmsg.ConfigResourceTypeBroker: metadata.ResourceBroker,
}

// resourceOf names a resource for the controller; one of an unknown type gets a type that the controller refuses.
func resourceOf(t kmsg.ConfigResourceType, name string) metadata.Resource {
	known, ok := resourceTypes[t]
	if !ok {
		known = metadata.ResourceType(t.String())
	}
	return metadata.Resource{Type: known, Name: name}
}

// handleAlterConfigs replaces all settings of resources.
func (s *Server) handleAlterConfigs(r *request, req *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterConfigsResponse()
	if len(req.Resources) == 0 {
		return resp
	}
	changes := make([]controller.ResourceChanges, len(req.Resources))
	for i := range req.Resources {
		res := &req.Resources[i]
		changes[i].Resource = resourceOf(res.ResourceType, res.ResourceName)
		for _, c := range res.Configs {
			changes[i].Changes = append(changes[i].Changes, controller.ConfigChange{Name: c.Name, Op: controller.OpSet, Value: c.Value})
		}
	}
	ctx, cancel := adminContext(r, int32(adminTimeoutDefault.Milliseconds()))
	defer cancel()
	results, err := s.admin(r).AlterConfigs(ctx, changes, req.ValidateOnly)
	for i := range req.Resources {
		res := kmsg.NewAlterConfigsResponseResource()
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
