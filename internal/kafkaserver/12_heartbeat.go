package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.Heartbeat, min: 0, max: 4}, (*Server).handleHeartbeat)
}

// handleHeartbeat keeps a member in its group.
func (s *Server) handleHeartbeat(r *request, req *kmsg.HeartbeatRequest) kmsg.Response {
	resp := kmsg.NewPtrHeartbeatResponse()
	instance, err := instanceOf(req.InstanceID)
	if err == nil {
		err = s.deps.Groups.Heartbeat(r.ctx, group.HeartbeatRequest{Group: req.Group, MemberID: req.MemberID, InstanceID: instance,
			Generation: req.Generation})
	}
	resp.ErrorCode = groupCode(err)
	return resp
}
