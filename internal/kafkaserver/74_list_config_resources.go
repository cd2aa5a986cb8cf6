package kafkaserver

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.ListConfigResources, min: 0, max: 1}, (*Server).handleListConfigResources)
}

// listedTypes are the resource types that may be asked for. Loggers, client metrics and groups have no settings here, so none is listed.
var listedTypes = []int8{int8(kmsg.ConfigResourceTypeTopic), int8(kmsg.ConfigResourceTypeBroker), int8(kmsg.ConfigResourceTypeBrokerLogger),
	int8(kmsg.ConfigResourceTypeClientMetrics), int8(kmsg.ConfigResourceTypeGroupConfig)}

// handleListConfigResources lists what has settings: topics and brokers. Version 0 asks for client metrics only.
func (s *Server) handleListConfigResources(r *request, req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	if r.version == 0 {
		return resp
	}
	for _, t := range req.ResourceTypes {
		if !slices.Contains(listedTypes, t) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			return resp
		}
	}
	wants := func(t kmsg.ConfigResourceType) bool {
		return len(req.ResourceTypes) == 0 || slices.Contains(req.ResourceTypes, int8(t))
	}
	add := func(name string, t kmsg.ConfigResourceType) {
		c := kmsg.NewListConfigResourcesResponseConfigResource()
		c.Name, c.Type = name, int8(t)
		resp.ConfigResources = append(resp.ConfigResources, c)
	}
	im := s.image()
	if wants(kmsg.ConfigResourceTypeTopic) {
		for t := range im.Topics() {
			add(t.Name, kmsg.ConfigResourceTypeTopic)
		}
	}
	if wants(kmsg.ConfigResourceTypeBroker) {
		for b := range im.Brokers() {
			add(strconv.Itoa(int(b.ID)), kmsg.ConfigResourceTypeBroker)
		}
	}
	return resp
}
