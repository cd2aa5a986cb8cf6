package kafkaserver

import (
	"context"
	"errors"
	"sync"
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
	mu        sync.Mutex // guards the rest; held while a new block is fetched
	next, end int64
}

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

// nextProducerID takes one id, and a new block when the last one is used up.
func (s *Server) nextProducerID(ctx context.Context) (int64, error) {
	p := &s.producerIDs
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		ctx, cancel := context.WithTimeout(ctx, producerIDWait)
		defer cancel()
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
