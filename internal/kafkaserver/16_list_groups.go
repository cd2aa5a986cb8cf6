package kafkaserver

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.ListGroups, min: 0, max: 5}, (*Server).handleListGroups)
}

// classicType is the only type of group there is so far.
const classicType = "classic"

// handleListGroups lists the groups that this broker coordinates, of the given states and types (all if none is given).
func (s *Server) handleListGroups(_ *request, req *kmsg.ListGroupsRequest) kmsg.Response {
	resp := kmsg.NewPtrListGroupsResponse()
	list, err := s.deps.Groups.List()
	resp.ErrorCode = groupCode(err) // with what is known so far
	if !among(req.TypesFilter, classicType) {
		return resp
	}
	for _, l := range list {
		if !among(req.StatesFilter, l.State.String()) {
			continue
		}
		g := kmsg.NewListGroupsResponseGroup()
		g.Group, g.ProtocolType, g.GroupState, g.GroupType = l.Group, l.ProtocolType, l.State.String(), classicType
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

// among tells whether a filter lets the value through; names are compared without case, and an empty filter lets all through.
func among(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(strings.TrimSpace(f), value) })
}
