package membership

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
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

// transport stands between Raft and its network. It closes four ways in which Raft goes wrong: the heartbeat fast path,
// which changes state beside the main loop, pipelining, which can wedge a follower, connections that are kept after the other
// process has ended: a vote that is asked for on one of them would be lost, and with it the election, and a candidate that still knows a
// leader: it would refuse its vote for ever.
type transport struct {
	raft.Transport
	rpcs chan raft.RPC
	raft atomic.Pointer[raft.Raft]
	// asked is the highest term in which another server has asked for a vote.
	asked atomic.Uint64
	stop  chan struct{}
	once  sync.Once
	done  sync.WaitGroup
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
			switch req := rpc.Command.(type) {
			case *raft.RequestVoteRequest:
				t.asked.Store(max(t.asked.Load(), req.Term)) // nobody else writes it
				t.forgetLeader()
			case *raft.RequestPreVoteRequest:
				t.forgetLeader()
			}
			select {
			case t.rpcs <- rpc:
			case <-t.stop:
				return
			}
		}
	}
}

// forgetLeader comes before a request for this node's vote. One that was told to elect itself does not step down in that campaign when the
// winner of the same term makes itself heard: it goes on as a candidate that knows a leader, and votes for nobody else until it hears that
// one again. If it never does, and the other survivors need this vote, nobody is ever elected. To tell it once more to elect itself is what
// makes it forget.
func (t *transport) forgetLeader() {
	r := t.raft.Load()
	if r == nil || r.State() != raft.Candidate {
		return
	}
	if _, leader := r.LeaderWithID(); leader == "" || time.Since(r.LastContact()) < heartbeatTimeout {
		return // one that is heard makes it a follower in its next campaign
	}
	select {
	case t.rpcs <- electNow():
	case <-t.stop:
	}
}

func electNow() raft.RPC {
	return raft.RPC{Command: &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}},
		RespChan: make(chan raft.RPCResponse, 1)}
}

// Consumer returns what Raft's main loop reads: the network's requests and our own.
func (t *transport) Consumer() <-chan raft.RPC { return t.rpcs }

// SetHeartbeatHandler is swallowed: heartbeats take the way through Consumer.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntriesPipeline refuses, so that Raft sends one request at a time.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// RequestVote asks again when a connection from before has ended. To give a vote twice is to give it once.
func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return onLiveConnection(func() error { return t.Transport.RequestVote(id, to, req, resp) })
}

// RequestPreVote is part of an optional interface and has to be passed on by hand. It asks again like RequestVote.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	inner, ok := t.Transport.(raft.WithPreVote)
	if !ok {
		return errors.New("request pre-vote: transport without pre-vote")
	}
	return onLiveConnection(func() error { return inner.RequestPreVote(id, to, req, resp) })
}

// onLiveConnection repeats a request as long as it meets connections that have ended: as many as may be kept, and a new one.
func onLiveConnection(ask func() error) error {
	for left := pooledPerServer; ; left-- {
		err := ask()
		ended := errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
		if !ended || left == 0 {
			return err
		}
	}
}

// electSelf makes this node's own Raft start an election now, as a transfer of leadership to it would. An election is
// always safe to start.
func (t *transport) electSelf() {
	select {
	case t.rpcs <- electNow():
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
