package kafkaserver

import (
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.DescribeGroups, min: 0, max: 6}, (*Server).handleDescribeGroups)
}

// groupOperations is what may be done to a group while there is no authorizer: READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// handleDescribeGroups shows groups with their members.
func (s *Server) handleDescribeGroups(r *request, req *kmsg.DescribeGroupsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, id := range req.Groups {
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group = id
		d, err := s.deps.Groups.Describe(r.ctx, id)
		switch {
		case errors.Is(err, group.ErrGroupNotFound): // an error only from version 6 on
			g.State = group.Dead.String()
			if r.version >= 6 {
				g.ErrorCode, g.ErrorMessage = groupCode(err), errorText(fmt.Errorf("group %s not found", id))
			}
		case err != nil:
			g.ErrorCode, g.ErrorMessage = groupCode(err), errorText(err)
		default:
			describeGroup(&g, d)
		}
		if req.IncludeAuthorizedOperations && g.ErrorCode == 0 {
			g.AuthorizedOperations = groupOperations
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

func describeGroup(g *kmsg.DescribeGroupsResponseGroup, d group.Description) {
	g.State, g.ProtocolType, g.Protocol = d.State.String(), d.ProtocolType, d.Protocol
	for _, m := range d.Members {
		member := kmsg.NewDescribeGroupsResponseGroupMember()
		member.MemberID, member.InstanceID, member.ClientID, member.ClientHost = m.MemberID, instancePtr(m.InstanceID), m.Client.ID, m.Client.Host
		member.ProtocolMetadata, member.MemberAssignment = m.Metadata, m.Assignment
		g.Members = append(g.Members, member)
	}
}
