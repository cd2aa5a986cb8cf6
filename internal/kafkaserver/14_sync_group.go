package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.SyncGroup, min: 0, max: 5, maxBytes: groupFrameBytes}, (*Server).handleSyncGroup)
}

// handleSyncGroup waits for the leader's assignment.
func (s *Server) handleSyncGroup(r *request, req *kmsg.SyncGroupRequest) kmsg.Response {
	resp := kmsg.NewPtrSyncGroupResponse()
	instance, err := instanceOf(req.InstanceID)
	if err == nil && r.version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		err = group.ErrInconsistentProtocol // from this version on the client has to say what it syncs
	}
	if err != nil {
		resp.ErrorCode = errorCode(err)
		return resp
	}
	sync := group.SyncRequest{Group: req.Group, MemberID: req.MemberID, InstanceID: instance, Generation: req.Generation,
		ProtocolType: req.ProtocolType, Protocol: req.Protocol}
	for _, a := range req.GroupAssignment {
		sync.Assignments = append(sync.Assignments, group.Assignment{MemberID: a.MemberID, Data: a.MemberAssignment})
	}
	res, err := s.deps.Groups.Sync(r.ctx, sync)
	if err != nil {
		resp.ErrorCode = groupCode(err)
		return resp
	}
	resp.ProtocolType, resp.Protocol, resp.MemberAssignment = &res.ProtocolType, &res.Protocol, res.Assignment
	return resp
}
