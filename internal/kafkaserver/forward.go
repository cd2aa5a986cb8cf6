package kafkaserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What only the controller may decide is done where the metadata log is led: here, or by the server of another node, to which the request
// goes as it came. It is never done here instead. While nobody is known to lead, it waits; nothing has happened then, and the answer is
// NOT_CONTROLLER. Once it was sent and the answer does not come, nobody knows: REQUEST_TIMED_OUT.

// Cluster is what a server needs of the other nodes.
type Cluster interface {
	// Forward hands a request to the server of another node, whose ServeForwarded answers it. The error is ErrNotSent if it cannot have
	// arrived; with any other one it may have.
	Forward(ctx context.Context, node int32, payload []byte) ([]byte, error)
	// AwaitApplied returns when all brokers in service show a metadata offset, or when it has waited for long enough.
	AwaitApplied(ctx context.Context, offset int64)
	// Suspects are the nodes that seem to have died and that the controller has not fenced yet; nil for none.
	Suspects() []int32
	// Lost are those of the nodes that have certainly ended or cannot be reached, now: each is asked. It takes a round trip, and does not
	// wait for one that is slow.
	Lost(ctx context.Context, nodes []int32) []int32
	// Isolated: this node has been without a controller for so long that others may lead what it led.
	Isolated() bool
}

// ErrNotSent is a Cluster's error for a request that did not reach the other node.
var ErrNotSent = errors.New("request not sent")

var errUnservedThere = errors.New("the controller does not serve this request") // another version of the software

const (
	controllerRetry   = 20 * time.Millisecond  // between looks for a controller
	controllerLook    = 250 * time.Millisecond // whether the node that was asked still leads
	controllerWait    = 8 * time.Second        // for requests that name no time of their own: less than clients wait
	controllerWaitFor = time.Second            // for what the controller can only tell better
	shownOwnWait      = time.Second            // for this node's own image
)

// forwards reports whether there are other nodes that may be the controller.
func (s *Server) forwards() bool { return s.deps.Cluster != nil }

// leadsMetadata reports whether this node is the controller, or about to be.
func (s *Server) leadsMetadata() bool { return s.deps.Meta.Status().Role >= metalog.RoleOpening }

// errNothingDone reports whether an operation failed so that another attempt cannot do it twice.
func errNothingDone(err error) bool {
	return errors.Is(err, metalog.ErrNotController) || errors.Is(err, metalog.ErrBusy) || errors.Is(err, ErrNotSent)
}

// onController runs an operation on the controller: local on this node if it leads, else remote with the answer to payload. It tries
// again as long as nothing was done and ctx lasts, and returns when this node shows what was changed.
func (s *Server) onController(ctx context.Context, payload func() []byte, local func(context.Context) error, remote func([]byte) error) error {
	for {
		err := s.tryController(ctx, payload, local, remote)
		if err == nil || !errNothingDone(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", metalog.ErrNotController, err)
		case <-time.After(controllerRetry):
		}
	}
}

func (s *Server) tryController(ctx context.Context, payload func() []byte, local func(context.Context) error, remote func([]byte) error) error {
	leader := s.controllerID()
	switch {
	case s.leadsMetadata():
		if err := local(ctx); err != nil {
			return err
		}
		s.deps.Cluster.AwaitApplied(ctx, s.image().Offset())
		return nil
	case leader < 0 || leader == s.deps.NodeID:
		return metalog.ErrNotController
	}
	b, err := s.forward(ctx, leader, payload())
	switch {
	case errors.Is(err, ErrNotSent):
		return err
	case err != nil:
		return fmt.Errorf("%w: node %d: %w", metalog.ErrUnknownOutcome, leader, err)
	}
	answer, err := decodeForwardedAnswer(b)
	if err != nil {
		return fmt.Errorf("%w: node %d: %w", metalog.ErrUnknownOutcome, leader, err)
	}
	switch answer.status {
	case forwardedDone:
	case forwardedNotController:
		return metalog.ErrNotController
	case forwardedUnknown:
		return metalog.ErrUnknownOutcome
	default:
		return errUnservedThere
	}
	if err := remote(answer.body); err != nil {
		return fmt.Errorf("%w: node %d: %w", metalog.ErrUnknownOutcome, leader, err)
	}
	s.awaitShown(ctx, answer.offset)
	return nil
}

// forward sends a request to the node that leads, and stops waiting for the answer soon after another one does.
func (s *Server) forward(ctx context.Context, leader int32, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(controllerLook, func() { s.watchLeader(ctx, leader, cancel) }).Stop()
	return s.deps.Cluster.Forward(ctx, leader, payload)
}

// watchLeader cancels what waits for a node that no longer leads.
func (s *Server) watchLeader(ctx context.Context, leader int32, cancel context.CancelFunc) {
	if now := s.controllerID(); now >= 0 && now != leader {
		cancel()
	}
	if ctx.Err() == nil {
		time.AfterFunc(controllerLook, func() { s.watchLeader(ctx, leader, cancel) })
	}
}

// awaitShown waits until this node's image shows an offset. What takes too long is told nevertheless: it is done.
func (s *Server) awaitShown(ctx context.Context, offset int64) {
	ctx, cancel := context.WithTimeout(ctx, shownOwnWait)
	defer cancel()
	_ = s.deps.Meta.WaitApplied(ctx, offset) // see above
}

// throughController answers a client's request by the controller's handler.
func (s *Server) throughController(a *api, r *request, body []byte) (*buffer, error) {
	ctx, cancel := context.WithTimeout(r.ctx, controllerPatience(r.key, r.version, body))
	defer cancel()
	var buf *buffer
	payload := func() []byte { return appendForwardedRequest(nil, r, body) }
	local := func(ctx context.Context) error {
		resp, err := s.handleAsController(ctx, a, r, body)
		if err != nil {
			return err
		}
		buf = encode(a, r, resp)
		return nil
	}
	remote := func(b []byte) error {
		buf = getBuffer(len(b) + 16)
		buf.b = finishFrame(append(appendResponseHeader(buf.b, r.corrID, r.version >= a.flexFrom), b...))
		return nil
	}
	err := s.onController(ctx, payload, local, remote)
	if err == nil {
		return buf, nil
	}
	if errors.Is(err, errBody) {
		return nil, err
	}
	if r.ctx.Err() == nil {
		s.log.Warn("request not done by the controller", "api", kmsg.NameForKey(r.key), "client", printable(r.clientName()), "err", err)
	}
	refused := *r
	refused.admin = refusedAdmin{err}
	resp, err := a.handle(s, &refused, body)
	if err != nil {
		return nil, err
	}
	return encode(a, r, resp), nil
}

// handleAsController runs a handler on this node, which leads the metadata log. An error means that nothing was done.
func (s *Server) handleAsController(ctx context.Context, a *api, r *request, body []byte) (kmsg.Response, error) {
	own := *r
	own.ctx = ctx
	done := &observedAdmin{c: s.deps.Controller}
	own.admin = done
	resp, err := a.handle(s, &own, body)
	if err != nil {
		return nil, err
	}
	if errNothingDone(done.err) {
		return nil, done.err
	}
	return resp, nil
}

// controllerPatience is how long a request may wait for a controller and its answer.
func controllerPatience(key, version int16, body []byte) time.Duration {
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	if decodeRequest(req, body) != nil {
		return adminTimeoutMin
	}
	if t, ok := req.(kmsg.TimeoutRequest); ok {
		return min(max(time.Duration(t.Timeout())*time.Millisecond, adminTimeoutMin), adminTimeoutMax)
	}
	if key == int16(kmsg.DescribeQuorum) {
		return controllerWaitFor
	}
	return controllerWait
}

// ServeForwarded answers what another node's server sends to this one because this node leads the metadata log.
func (s *Server) ServeForwarded(ctx context.Context, payload []byte) ([]byte, error) {
	f, err := decodeForwarded(payload)
	if err != nil {
		return appendForwardedAnswer(nil, forwardedUnserved, 0, nil), nil
	}
	if !s.leadsMetadata() {
		return appendForwardedAnswer(nil, forwardedNotController, 0, nil), nil
	}
	var body []byte
	switch f.kind {
	case forwardRequest:
		body, err = s.serveForwardedRequest(ctx, f)
	case forwardCreate:
		body, err = s.serveForwardedCreation(ctx, f)
	case forwardProducerIDs:
		body, err = s.serveForwardedProducerIDs(ctx, f)
	}
	switch {
	case errNothingDone(err):
		return appendForwardedAnswer(nil, forwardedNotController, 0, nil), nil
	case errors.Is(err, errUnservedThere) || errors.Is(err, errBody):
		return appendForwardedAnswer(nil, forwardedUnserved, 0, nil), nil
	case err != nil:
		s.log.Warn("forwarded request failed", "kind", f.kind, "err", err)
		return appendForwardedAnswer(nil, forwardedUnknown, 0, nil), nil
	}
	offset := s.image().Offset()
	s.deps.Cluster.AwaitApplied(ctx, offset)
	return appendForwardedAnswer(nil, forwardedDone, offset, body), nil
}

func (s *Server) serveForwardedRequest(ctx context.Context, f *forwarded) ([]byte, error) {
	a := lookup(f.key, f.version)
	if a == nil || !a.controller {
		return nil, errUnservedThere
	}
	if _, err := walkRequest(a.schemas[f.version-a.serveMin], f.body); err != nil {
		return nil, errBody
	}
	r := &request{ctx: ctx, key: f.key, version: f.version, clientID: f.clientID, host: f.host}
	resp, err := s.handleAsController(ctx, a, r, f.body)
	if err != nil {
		return nil, err
	}
	resp.SetVersion(f.version)
	return resp.AppendTo(nil), nil
}
