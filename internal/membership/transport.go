package membership

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	rpcTimeout       = 2 * time.Second
	pooledPerServer  = 3
	maxRPCsInFlight  = 1 // no pipelining
	electSelfTimeout = time.Second
)

// transport stands between Raft and its network. It closes two ways in which Raft goes wrong: the heartbeat fast path,
// which changes state beside the main loop, and pipelining, which can wedge a follower.
type transport struct {
	raft.Transport
	rpcs chan raft.RPC
	stop chan struct{}
	once sync.Once
	done sync.WaitGroup
}

var (
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

func newNetworkTransport(o Options, logger hclog.Logger) raft.Transport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          newStreamLayer(o),
		MaxPool:         pooledPerServer,
		MaxRPCsInFlight: maxRPCsInFlight,
		Timeout:         rpcTimeout,
		Logger:          logger,
	})
}

func newTransport(inner raft.Transport) *transport {
	t := &transport{Transport: inner, rpcs: make(chan raft.RPC), stop: make(chan struct{})}
	t.done.Go(t.pump)
	return t
}

// pump hands requests to Raft's main loop.
func (t *transport) pump() {
	for {
		select {
		case <-t.stop:
			return
		case rpc := <-t.Transport.Consumer():
			if req, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok && (req.Size < 0 || req.Size > maxSnapshotBytes) {
				rpc.Respond(nil, fmt.Errorf("install snapshot of %d bytes: %w", req.Size, ErrLimit))
				continue
			}
			select {
			case t.rpcs <- rpc:
			case <-t.stop:
				return
			}
		}
	}
}

// Consumer returns what Raft's main loop reads: the network's requests and our own.
func (t *transport) Consumer() <-chan raft.RPC { return t.rpcs }

// SetHeartbeatHandler is swallowed: heartbeats take the way through Consumer.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntriesPipeline refuses, so that Raft sends one request at a time.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// RequestPreVote is part of an optional interface and has to be passed on by hand.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	inner, ok := t.Transport.(raft.WithPreVote)
	if !ok {
		return errors.New("request pre-vote: transport without pre-vote")
	}
	return inner.RequestPreVote(id, to, req, resp)
}

// electSelf makes this node's own Raft start an election now, as a transfer of leadership to it would. An election is
// always safe to start.
func (t *transport) electSelf() {
	reply := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}, RespChan: reply}
	select {
	case t.rpcs <- rpc:
	case <-t.stop:
	case <-time.After(electSelfTimeout): // Raft's own timeout starts the election then
	}
}

// Close stops the pump and the network.
func (t *transport) Close() error {
	var err error
	t.once.Do(func() {
		close(t.stop)
		if c, ok := t.Transport.(raft.WithClose); ok {
			err = c.Close()
		}
		t.done.Wait()
	})
	return err
}
