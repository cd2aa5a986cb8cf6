package kafkaserver

import "github.com/twmb/franz-go/pkg/kmsg"

func init() {
	register(&api{key: kmsg.DeleteGroups, min: 0, max: 2}, (*Server).handleDeleteGroups)
}

// handleDeleteGroups deletes groups without members, with their offsets.
func (s *Server) handleDeleteGroups(r *request, req *kmsg.DeleteGroupsRequest) kmsg.Response {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	for _, id := range req.Groups {
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode = id, groupCode(s.deps.Groups.DeleteGroup(r.ctx, id))
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}
