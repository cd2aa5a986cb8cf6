package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.LeaveGroup, min: 0, max: 5}, (*Server).handleLeaveGroup)
}

// handleLeaveGroup removes members. Before version 3 there is one, and its error is the request's.
func (s *Server) handleLeaveGroup(r *request, req *kmsg.LeaveGroupRequest) kmsg.Response {
	resp := kmsg.NewPtrLeaveGroupResponse()
	asked := req.Members
	if r.version < 3 {
		asked = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	members := make([]group.LeaveMember, 0, len(asked))
	for _, m := range asked {
		l := group.LeaveMember{MemberID: m.MemberID}
		if m.InstanceID != nil {
			l.InstanceID = *m.InstanceID
		}
		if m.Reason != nil {
			l.Reason = printable(*m.Reason)
		}
		members = append(members, l)
	}
	results, err := s.deps.Groups.Leave(r.ctx, req.Group, members)
	if err != nil {
		resp.ErrorCode = groupCode(err)
		return resp
	}
	for i, err := range results {
		if r.version < 3 {
			resp.ErrorCode = groupCode(err)
			return resp
		}
		m := kmsg.NewLeaveGroupResponseMember()
		m.MemberID, m.InstanceID, m.ErrorCode = asked[i].MemberID, asked[i].InstanceID, groupCode(err)
		resp.Members = append(resp.Members, m)
	}
	return resp
}
