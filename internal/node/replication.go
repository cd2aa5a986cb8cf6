package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/replica"
)

// This file connects the replicas of this node with those of others: streams between them, and what their leaders propose to the
// controller.

// isrRequest is what the leaders on one node propose together.
type isrRequest struct {
	BrokerEpoch int64                  `json:"brokerEpoch"`
	Changes     []controller.IsrChange `json:"changes"`
}

// isrOutcome is what became of one change.
type isrOutcome struct {
	// Definite: the change will not be made, whatever arrives later. Else the metadata shows what became of it.
	Definite bool   `json:"definite,omitempty"`
	Error    string `json:"error,omitempty"` // "" for done
}

var errStaleIsr = errors.New("ISR change not made")

// replicate lets replication begin: what other nodes push is taken.
func (n *Node) replicate() {
	n.mesh.HandleStream(peer.ClassLive, n.replicas.Serve)
	n.mesh.HandleStream(peer.ClassCatchUp, n.replicas.Serve)
	n.mesh.Handle(peer.MethodIsr, n.handleIsr)
	n.mesh.Handle(peer.MethodResign, n.handleResign)
	n.mesh.Handle(peer.MethodCompare, n.handleCompare)
}

// compare asks a follower's node what it has of a range.
func (n *Node) compare(ctx context.Context, node int32, x *replica.Range) (c replica.Comparison, err error) {
	payload, err := json.Marshal(x)
	if err != nil {
		return c, fmt.Errorf("encode range: %w", err)
	}
	back, err := n.mesh.Call(ctx, node, peer.MethodCompare, payload)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(back, &c); err != nil {
		return replica.Comparison{}, fmt.Errorf("read comparison: %w", err)
	}
	return c, nil
}

// handleCompare answers a leader on another node.
func (n *Node) handleCompare(_ context.Context, _ *peer.Hello, payload []byte) ([]byte, error) {
	var x replica.Range
	if err := json.Unmarshal(payload, &x); err != nil {
		return nil, fmt.Errorf("read range: %w", err)
	}
	return json.Marshal(n.replicas.Compare(&x))
}

// changeISR gives changes of ISRs to the controller, here or elsewhere.
func (n *Node) changeISR(ctx context.Context, changes []controller.IsrChange) ([]error, error) {
	self := n.meta.Image().Broker(n.id.NodeID)
	if self == nil || self.Incarnation != n.incarnation {
		return nil, errNotRegistered
	}
	st := n.meta.Status()
	switch {
	case st.Role >= metalog.RoleOpening:
		return n.controller.ChangeIsr(ctx, self.ID, self.Epoch, changes)
	case st.Leader.DiskID.IsZero() || st.Leader == n.self():
		return nil, metalog.ErrNotController
	}
	payload, err := json.Marshal(isrRequest{self.Epoch, changes})
	if err != nil {
		return nil, fmt.Errorf("encode ISR changes: %w", err)
	}
	back, err := n.callController(ctx, st.Leader, peer.MethodIsr, payload)
	if err != nil {
		return nil, err
	}
	var outcomes []isrOutcome
	if err := json.Unmarshal(back, &outcomes); err != nil {
		return nil, fmt.Errorf("read outcomes of ISR changes: %w", err)
	}
	results := make([]error, len(outcomes))
	for i, o := range outcomes {
		switch {
		case o.Definite:
			results[i] = fmt.Errorf("%w: %s", controller.ErrIneligibleReplica, o.Error)
		case o.Error != "":
			results[i] = fmt.Errorf("%w: %s", errStaleIsr, o.Error)
		}
	}
	return results, nil
}

// handleIsr decides about changes that another node's leaders propose.
func (n *Node) handleIsr(ctx context.Context, from *peer.Hello, payload []byte) ([]byte, error) {
	var req isrRequest
	if err := json.Unmarshal(payload, &req); err != nil {
		return nil, fmt.Errorf("read ISR changes: %w", err)
	}
	results, err := n.controller.ChangeIsr(ctx, from.Member.NodeID, req.BrokerEpoch, req.Changes)
	if err != nil {
		return nil, err
	}
	outcomes := make([]isrOutcome, len(results))
	for i, err := range results {
		if err != nil {
			outcomes[i] = isrOutcome{Error: err.Error(), Definite: errors.Is(err, controller.ErrIneligibleReplica) || errors.Is(err, controller.ErrInvalidRequest)}
		}
	}
	return json.Marshal(outcomes)
}

const (
	// controllerLook is how often one who waits for the controller's answer looks whether it still is the controller.
	controllerLook = 25 * time.Millisecond
	// resignWithin bounds how long a node that stops tries to give its leaderships away.
	resignWithin = 2 * time.Second
	// replacedWithin bounds how long it then waits for replicas that come back, where too few are in sync without it.
	replacedWithin = time.Second
	replacedLook   = 50 * time.Millisecond
	// resignLinger is how long it then still answers, so that clients learn from it who leads now.
	resignLinger = 200 * time.Millisecond
)

// resign gives away what this node leads, partitions first, then the metadata log, so that clients do not notice that it stops. What
// nobody else may lead stays. It never fails: whoever cannot resign is fenced like one that died.
func (n *Node) resign(ctx context.Context) error {
	if n.meta.Image().BrokerCount() < 2 || n.alone() {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, resignWithin)
	defer cancel()
	go func() { // the other nodes may stop as well
		for asking.Err() == nil {
			if n.alone() {
				cancel()
			}
			select {
			case <-asking.Done():
			case <-time.After(replacedLook):
			}
		}
	}()
	for {
		err := n.resignOnce(asking)
		if err == nil {
			break
		}
		select {
		case <-asking.Done():
			n.logger.Warn("stops without having given its leaderships away", "err", err)
			return nil
		case <-n.changed:
		case <-time.After(registerEvery):
		}
	}
	for im := n.meta.Image(); asking.Err() == nil; im = n.meta.Image() { // until this node knows who leads
		if self := im.Broker(n.id.NodeID); self == nil || self.Incarnation != n.incarnation || self.Stopping || self.Fenced {
			break
		}
		_ = n.meta.WaitApplied(asking, im.Offset()+1) // the next image, or the end of the time
	}
	n.awaitReplacement(ctx)
	if n.members.Leading() {
		n.broker.handOver("this node stops")
	}
	select {
	case <-time.After(resignLinger):
	case <-ctx.Done():
	}
	return nil
}

// alone reports whether no other node is connected: there is nobody to give anything to.
func (n *Node) alone() bool {
	return !slices.ContainsFunc(n.mesh.Peers(), func(p peer.PeerStatus) bool { return p.Out || p.In })
}

// awaitReplacement waits while this node is one of the few in-sync replicas of a partition and another one, in service, is about to be in
// sync: one that stops right after another has come back would take the partition from its producers for the time between.
func (n *Node) awaitReplacement(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, replacedWithin)
	defer cancel()
	for im := n.meta.Image(); needed(im, n.id.NodeID) && ctx.Err() == nil; im = n.meta.Image() {
		look, done := context.WithTimeout(ctx, replacedLook)
		_ = n.meta.WaitApplied(look, im.Offset()+1) // the next image, or another look
		done()
		if err := n.resignOnce(ctx); err != nil { // leaves the ISRs that have grown
			n.logger.Debug("not resigned again", "err", err)
		}
	}
}

// needed reports whether a partition has too few in-sync replicas without a broker, and one in service that may still become one.
func needed(im *metadata.Image, id int32) bool {
	for t := range im.Topics() {
		for _, p := range t.Partitions {
			if !p.InISR(id) || len(p.ISR) > controller.MinISR(im, t.Name, len(p.Replicas)) {
				continue
			}
			if slices.ContainsFunc(p.Replicas, func(other int32) bool {
				b := im.Broker(other)
				return other != id && !p.InISR(other) && b != nil && !b.Fenced && !b.Stopping
			}) {
				return true
			}
		}
	}
	return false
}

// resignOnce asks the controller, here or elsewhere.
func (n *Node) resignOnce(ctx context.Context) error {
	self := n.meta.Image().Broker(n.id.NodeID)
	if self == nil || self.Incarnation != n.incarnation {
		return errNotRegistered
	}
	st := n.meta.Status()
	switch {
	case st.Role >= metalog.RoleOpening:
		return n.controller.ResignBroker(ctx, self.ID, self.Epoch)
	case st.Leader.DiskID.IsZero() || st.Leader == n.self():
		return metalog.ErrNotController
	}
	payload := binary.BigEndian.AppendUint64(nil, uint64(self.Epoch))
	_, err := n.callController(ctx, st.Leader, peer.MethodResign, payload)
	return err
}

// callController asks another node that leads the metadata log. It gives up when somebody else does: a process that is stopped answers
// nothing, and what is asked of it would wait for the whole of its time.
func (n *Node) callController(ctx context.Context, leader metadata.Voter, method peer.Method, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		t := time.NewTicker(controllerLook)
		defer t.Stop()
		for n.meta.Status().Leader == leader {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
		cancel()
	}()
	return n.mesh.Call(ctx, leader.NodeID, method, payload)
}

// handleResign takes another node's leaderships away, because it stops.
func (n *Node) handleResign(ctx context.Context, from *peer.Hello, payload []byte) ([]byte, error) {
	if len(payload) != 8 {
		return nil, fmt.Errorf("read resignation of %d bytes: %w", len(payload), ErrIdentity)
	}
	return nil, n.controller.ResignBroker(ctx, from.Member.NodeID, int64(binary.BigEndian.Uint64(payload)))
}
