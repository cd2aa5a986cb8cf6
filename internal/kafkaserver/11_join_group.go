package kafkaserver

import (
	"time"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupFrameBytes bounds requests that carry a group's subscriptions or assignments.
const groupFrameBytes = 8 << 20

func init() {
	register(&api{key: kmsg.JoinGroup, min: 0, max: 9, maxBytes: groupFrameBytes}, (*Server).handleJoinGroup)
}

// handleJoinGroup waits until the next generation of the group begins.
func (s *Server) handleJoinGroup(r *request, req *kmsg.JoinGroupRequest) kmsg.Response {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Generation, resp.MemberID = -1, req.MemberID
	instance, err := instanceOf(req.InstanceID)
	if err != nil {
		resp.ErrorCode = errorCode(err)
		return resp
	}
	join := group.JoinRequest{Group: req.Group, MemberID: req.MemberID, InstanceID: instance, Client: clientOf(r), ProtocolType: req.ProtocolType,
		SessionTimeout:   time.Duration(req.SessionTimeoutMillis) * time.Millisecond,
		RebalanceTimeout: time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond,
		// Older clients take the error for a final one (KIP-394), and static members are known by their instance id.
		RequireKnownMember: r.version >= 4 && instance == "",
		CanSkipAssignment:  r.version >= 9,
	}
	if r.version == 0 {
		join.RebalanceTimeout = join.SessionTimeout
	}
	if req.Reason != nil {
		join.Reason = printable(*req.Reason)
	}
	for _, p := range req.Protocols {
		join.Protocols = append(join.Protocols, group.Protocol{Name: p.Name, Metadata: p.Metadata})
	}
	res, err := s.deps.Groups.Join(r.ctx, join)
	resp.MemberID = res.MemberID
	if err != nil {
		resp.ErrorCode = groupCode(err)
		return resp
	}
	resp.Generation, resp.LeaderID, resp.SkipAssignment = res.Generation, res.LeaderID, res.SkipAssignment
	resp.ProtocolType, resp.Protocol = &res.ProtocolType, &res.Protocol
	for _, m := range res.Members {
		member := kmsg.NewJoinGroupResponseMember()
		member.MemberID, member.InstanceID, member.ProtocolMetadata = m.MemberID, instancePtr(m.InstanceID), m.Metadata
		resp.Members = append(resp.Members, member)
	}
	return resp
}
