package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/peer"
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
	back, err := n.mesh.Call(ctx, st.Leader.NodeID, peer.MethodIsr, payload)
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
