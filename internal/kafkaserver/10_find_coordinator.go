package kafkaserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.FindCoordinator, min: 0, max: 6}, (*Server).handleFindCoordinator)
}

// Coordinator types of the wire.
const (
	coordinatorGroup = 0
	coordinatorTxn   = 1
	coordinatorShare = 2
)

// handleFindCoordinator names the broker to ask about groups and transactions. The first question about a group creates the internal
// topic, and is answered when its coordinator is ready: no client has to ask twice.
func (s *Server) handleFindCoordinator(r *request, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	deadline := time.Now().Add(suspectWait) // for all keys together
	if r.version < 4 {
		c := s.findCoordinator(r.ctx, req.CoordinatorType, req.CoordinatorKey, deadline)
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
		if e := kerr.TypedErrorForCode(c.ErrorCode); c.ErrorMessage == nil || *c.ErrorMessage == "" {
			text := "NONE" // Kafka's text for no error
			if e != nil {
				text = e.Description
			}
			resp.ErrorMessage = &text
		}
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, s.findCoordinator(r.ctx, req.CoordinatorType, key, deadline))
	}
	return resp
}

// findCoordinator answers for one key; it waits until deadline for a coordinator that is about to be another one.
func (s *Server) findCoordinator(ctx context.Context, kind int8, key string, deadline time.Time) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	empty := ""
	c.Key, c.NodeID, c.Port, c.ErrorMessage = key, -1, -1, &empty
	var node int32
	switch kind {
	case coordinatorGroup:
		var err error
		if node, err = s.groupCoordinator(ctx, key, deadline); err != nil {
			c.ErrorCode, c.ErrorMessage = groupCode(err), errorText(err)
			return c
		}
	case coordinatorTxn: // one node leads everything; it says itself what it does not serve
		node = s.deps.NodeID
	case coordinatorShare: // there are no share groups, hence no well-formed key of one
		c.ErrorCode = kerr.InvalidRequest.Code
		return c
	default:
		c.ErrorCode, c.ErrorMessage = kerr.InvalidRequest.Code, errorText(fmt.Errorf("unknown coordinator type %d", kind))
		return c
	}
	e, ok := s.nodeEndpoint(node)
	if !ok {
		c.ErrorCode, c.ErrorMessage = kerr.CoordinatorNotAvailable.Code, errorText(group.ErrNotAvailable)
		return c
	}
	c.NodeID, c.Host, c.Port = e.id, e.host, e.port
	return c
}

// groupCoordinator finds the leader of the group's partition; if that is this node, it waits until the partition is loaded, for a
// bounded time: what is asked next then needs no retry. A partition that takes longer answers for itself.
func (s *Server) groupCoordinator(ctx context.Context, id string, deadline time.Time) (node int32, err error) {
	t, err := s.groupTopic(ctx)
	if err != nil {
		return -1, err
	}
	n := s.deps.Groups.PartitionOf(id)
	if n < 0 || int(n) >= len(t.Partitions) {
		return -1, group.ErrNotAvailable
	}
	leader, err := s.settledLeader(ctx, t, n, deadline)
	if err != nil {
		return -1, err
	}
	if leader == s.deps.NodeID {
		if err := s.deps.Groups.Await(ctx, n); err != nil && !errors.Is(err, group.ErrLoading) {
			return -1, fmt.Errorf("%w: %w", group.ErrNotAvailable, err)
		}
	}
	return leader, nil
}

// settledLeader is who leads a partition of the topic of groups. It is not told while that broker seems dead, if another one leads soon: a
// client that is told too early dials in vain, and asks again only after a pause.
func (s *Server) settledLeader(ctx context.Context, t *metadata.Topic, n int32, deadline time.Time) (int32, error) {
	for im := s.image(); ; im = s.image() {
		_, p := im.Partition(t.ID, n)
		if p == nil {
			return -1, group.ErrNotAvailable // deleted meanwhile
		}
		serves := s.leaderServes(im, p.Leader)
		settled := serves && !(s.forwards() && slices.Contains(s.deps.Cluster.Suspects(), p.Leader))
		switch {
		case settled, serves && !time.Now().Before(deadline):
			return p.Leader, nil
		case ctx.Err() != nil || !s.forwards() || !time.Now().Before(deadline):
			return -1, group.ErrNotAvailable
		}
		look, cancel := context.WithTimeout(ctx, suspectLook)
		_ = s.deps.Meta.WaitApplied(look, im.Offset()+1) // the next image, or a look at the suspects
		cancel()
	}
}

// groupTopic is the internal topic of groups; it is created when it is first needed.
func (s *Server) groupTopic(ctx context.Context) (*metadata.Topic, error) {
	if t := s.image().Topic(group.TopicName); t != nil {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, autoCreateWait)
	defer cancel()
	results, err := s.createMissing(ctx, []string{group.TopicName})
	if err == nil && len(results) == 1 {
		err = results[0].Err
	}
	if err != nil {
		s.log.Error("cannot create the topic of groups", "topic", group.TopicName, "err", err)
		return nil, fmt.Errorf("%w: %w", group.ErrNotAvailable, err)
	}
	if t := s.image().Topic(group.TopicName); t != nil {
		return t, nil
	}
	return nil, group.ErrNotAvailable // created and deleted again
}
