package kafkaserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	register(&api{key: kmsg.InitProducerID, min: 0, max: 5, maxBytes: 64 << 10}, (*Server).handleInitProducerID)
}

const (
	producerIDWait  = 5 * time.Second // how long a request waits for a new block of producer ids
	producerIDBlock = 1000            // as Kafka
)

var errNotRegistered = errors.New("this broker is not registered yet")

// producerIDs gives out producer ids from a block that the controller has committed for this process: what is left of a block at a stop
// is never given out, so no id is used twice.
type producerIDs struct {
	turn      chan struct{} // bound 1: whoever has put its token in has the rest, also while it fetches a new block
	next, end int64
}

func newProducerIDs() producerIDs { return producerIDs{turn: make(chan struct{}, 1)} }

// handleInitProducerID gives an idempotent producer its id. Transactions are not served, so a transactional id is refused for good.
func (s *Server) handleInitProducerID(r *request, req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	case req.TransactionalID != nil:
		resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
		return resp
	case (req.ProducerID < 0) != (req.ProducerEpoch < 0):
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	id, err := s.nextProducerID(r.ctx)
	if err != nil {
		s.log.Warn("no producer ids", "err", err)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code // every client waits and asks again
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}

// nextProducerID takes one id, and a new block when the last one is used up. The wait for one's turn is part of producerIDWait: without a
// controller, many producers are all told in that time.
func (s *Server) nextProducerID(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, producerIDWait)
	defer cancel()
	p := &s.producerIDs
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for a block of producer ids: %w", ctx.Err())
	}
	if p.next == p.end {
		self := s.image().Broker(s.deps.NodeID)
		if self == nil {
			return 0, errNotRegistered
		}
		first, end, err := s.allocateProducerIDs(ctx, self.Epoch, producerIDBlock)
		if err != nil {
			return 0, err
		}
		p.next, p.end = first, end
	}
	p.next++
	return p.next - 1, nil
}
