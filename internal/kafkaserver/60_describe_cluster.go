package kafkaserver

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DescribeCluster, min: 0, max: 2}, (*Server).handleDescribeCluster)
}

// Endpoint types of DescribeCluster.
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

// handleDescribeCluster lists the brokers and names the controller.
func (s *Server) handleDescribeCluster(r *request, req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	if r.version >= 1 && req.EndpointType != endpointBrokers {
		err := kerr.UnsupportedEndpointType
		if req.EndpointType == endpointControllers {
			err = kerr.MismatchedEndpointType
		}
		resp.ErrorCode, resp.ErrorMessage = err.Code, errorText(err)
		return resp
	}
	resp.ClusterID, resp.ControllerID = s.deps.ClusterID, s.controllerID()
	for b := range s.image().Brokers() {
		e, ok := brokerEndpoint(b)
		if !ok || b.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		answer := kmsg.NewDescribeClusterResponseBroker()
		answer.NodeID, answer.Host, answer.Port, answer.Rack, answer.IsFenced = e.id, e.host, e.port, e.rack, b.Fenced
		resp.Brokers = append(resp.Brokers, answer)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return resp
}
