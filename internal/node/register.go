package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/peer"
)

const (
	registerEvery   = 50 * time.Millisecond
	registerTimeout = 2 * time.Second  // of one attempt
	registerSays    = time.Second      // until the log says why not
	registerRepeats = 30 * time.Second // until it says the same again
)

// register makes this incarnation of the broker known to the controller, whoever that is, and returns when this node's own image shows it.
func (n *Node) register(ctx context.Context) error {
	r, err := n.registration()
	if err != nil {
		return err
	}
	saidAt, said := time.Now().Add(registerSays-registerRepeats), ""
	for {
		b := n.meta.Image().Broker(n.id.NodeID)
		if b != nil && b.Incarnation == n.incarnation {
			return nil
		}
		err := n.registerOnce(ctx, r)
		if errors.Is(err, controller.ErrDuplicateBroker) {
			return fmt.Errorf("register broker: %w", err)
		}
		if err == nil {
			continue
		}
		why, never := n.waitsFor(err)
		if since := time.Since(saidAt); since > registerRepeats || said != "" && why != said && since > registerSays {
			saidAt, said = time.Now(), why
			level := slog.LevelInfo
			if never {
				level = slog.LevelError
			}
			n.logger.Log(ctx, level, "not in service yet", "node", n.id.NodeID, "waits", why)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("register broker: %w: %w", ctx.Err(), err)
		case <-n.changed:
		case <-time.After(registerEvery):
		}
	}
}

// waitsFor says in words what has to happen before this node can register, after an attempt has failed. never: it will not happen by
// itself, as a voter refuses the disk.
func (n *Node) waitsFor(err error) (why string, never bool) {
	voters := n.meta.Status().Voters.Members
	var away []string
	up := 0
	for _, v := range voters {
		if v == n.self() {
			up++
			continue
		}
		var refusal *peer.Refusal
		switch p := n.mesh.Peer(v.NodeID); {
		case p.Out && p.Hello.Member == v:
			up++
		case p.Out:
			away = append(away, fmt.Sprintf("node %d at %s runs on another disk", v.NodeID, p.Address))
		case errors.As(p.Err, &refusal) && refusal.Remote && (refusal.Code == peer.RefusedBoot || refusal.Code == peer.RefusedDisk):
			return fmt.Sprintf("for an operator, and never by itself: node %d at %s refuses this node: %s", v.NodeID, p.Address, refusal.Text), true
		case errors.As(p.Err, &refusal):
			away = append(away, fmt.Sprintf("node %d at %s: %v", v.NodeID, p.Address, refusal))
		default:
			away = append(away, fmt.Sprintf("node %d at %s is not reachable", v.NodeID, p.Address))
		}
	}
	majority := len(voters)/2 + 1
	switch {
	case up < majority:
		return fmt.Sprintf("for %d of %d voters to run: %s; start %d of them", majority, len(voters), strings.Join(away, ", "), majority-up), false
	case errors.Is(err, metalog.ErrNotController):
		return "for a controller to be elected", false
	}
	return fmt.Sprintf("for the controller, node %d: %v", n.meta.Status().Leader.NodeID, err), false
}

// registration is what this process says of itself.
func (n *Node) registration() (controller.Registration, error) {
	r := controller.Registration{BrokerID: n.id.NodeID, Incarnation: n.incarnation, DiskID: n.id.DiskID, Rack: n.c.Kafka["broker.rack"],
		Fenced: n.fencedAtFirst()}
	for _, l := range []struct {
		name, configured string
		bound            net.Listener
	}{
		{clientListener, n.c.Advertise.Kafka, n.ports.kafka},
		{metadata.ListenerWAL, n.c.Advertise.WAL, n.ports.wal},
		{metadata.ListenerRaft, n.c.Advertise.Raft, n.ports.raft},
	} {
		host, port, err := net.SplitHostPort(advertised(l.configured, l.bound))
		if err != nil {
			return r, fmt.Errorf("register broker: %s: %w", l.name, err)
		}
		p, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return r, fmt.Errorf("register broker: %s: %w", l.name, err)
		}
		r.Endpoints = append(r.Endpoints, metadata.Endpoint{Listener: l.name, Host: host, Port: int32(p)})
	}
	return r, nil
}

// registerOnce asks the controller, here or elsewhere.
func (n *Node) registerOnce(ctx context.Context, r controller.Registration) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	st := n.meta.Status()
	switch {
	case st.Role >= metalog.RoleOpening:
		_, err := n.broker.sessions.Register(ctx, r)
		return err
	case st.Leader.NodeID == 0 && st.Leader.DiskID.IsZero() || st.Leader == n.self():
		return metalog.ErrNotController
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode registration: %w", err)
	}
	answer, err := n.mesh.Call(ctx, st.Leader.NodeID, peer.MethodRegister, payload)
	if err != nil {
		return err
	}
	offset, err := strconv.ParseInt(string(answer), 10, 64)
	if err != nil {
		return fmt.Errorf("read answer to registration: %w", err)
	}
	return n.meta.WaitApplied(ctx, offset)
}

// handleRegister registers another node's broker; the answer is the offset at which the image shows it.
func (n *Node) handleRegister(ctx context.Context, from *peer.Hello, payload []byte) ([]byte, error) {
	var r controller.Registration
	if err := json.Unmarshal(payload, &r); err != nil {
		return nil, fmt.Errorf("read registration: %w", err)
	}
	if r.BrokerID != from.Member.NodeID || r.DiskID != from.Member.DiskID {
		return nil, fmt.Errorf("register broker %d: %w: asked by node %d", r.BrokerID, ErrIdentity, from.Member.NodeID)
	}
	if _, err := n.broker.sessions.Register(ctx, r); err != nil {
		return nil, err
	}
	return strconv.AppendInt(nil, n.meta.Image().Offset(), 10), nil
}
