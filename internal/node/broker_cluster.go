package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-io/chronik/internal/kafkaserver"
	"github.com/chronik-io/chronik/internal/peer"
)

var _ kafkaserver.Cluster = (*broker)(nil)

// Forward implements kafkaserver.Cluster.
func (b *broker) Forward(ctx context.Context, node int32, payload []byte) ([]byte, error) {
	answer, err := b.n.mesh.Call(ctx, node, peer.MethodForward, payload)
	if errors.Is(err, peer.ErrUnreachable) || errors.Is(err, peer.ErrBusy) || errors.Is(err, peer.ErrNoHandler) {
		return nil, fmt.Errorf("%w: %w", kafkaserver.ErrNotSent, err)
	}
	return answer, err
}

// AwaitApplied implements kafkaserver.Cluster.
func (b *broker) AwaitApplied(ctx context.Context, offset int64) {
	b.sessions.AwaitApplied(ctx, offset)
}

// Isolated implements kafkaserver.Cluster. A process that was paused is isolated before it has noticed.
func (b *broker) Isolated() bool {
	return b.isolated.Load() || time.Duration(b.clock()-b.ran.Load()) > pausedFor
}

// silent is for how long nothing has come from a node on the connections with it; 0 if there is none any more, as then nothing is known. One
// that this process has never heard has been silent since it began.
func (b *broker) silent(node int32) time.Duration {
	p := b.n.mesh.Peer(node)
	switch {
	case p.HeardMs != 0:
		return max(0, time.Since(time.UnixMilli(p.HeardMs)))
	case p.Hello.Nonce == 0:
		return time.Since(b.began)
	}
	return 0
}

// Suspects implements kafkaserver.Cluster: the nodes that this one was connected to and has lost both ways.
func (b *broker) Suspects() []int32 {
	var ids []int32
	for _, p := range b.n.mesh.Peers() {
		if p.Hello.Nonce != 0 && !p.Out && !p.In {
			ids = append(ids, p.Node)
		}
	}
	return ids
}

// ended lists the processes of other nodes that are certainly over.
func (b *broker) ended() map[int32][]uint64 {
	var ended map[int32][]uint64
	for _, p := range b.n.mesh.Peers() {
		var nonces []uint64
		if p.Gone() {
			nonces = append(nonces, p.Hello.Nonce)
		}
		for _, boot := range p.Hello.Boots { // all that this disk has seen: the last one is the process itself
			if boot.Nonce != p.Hello.Nonce && boot.Member == p.Hello.Member {
				nonces = append(nonces, boot.Nonce)
			}
		}
		if len(nonces) > 0 {
			if ended == nil {
				ended = map[int32][]uint64{}
			}
			ended[p.Node] = nonces
		}
	}
	return ended
}

// handOver gives the leadership of the metadata log to the voter that has most of it.
func (b *broker) handOver(reason string) {
	st := b.n.meta.Status()
	to, ok := b.n.bestPeer(&st)
	if !ok {
		return // nobody can be reached: whoever can will lead
	}
	if err := b.n.members.HandOver(to.NodeID, to.DiskID); err != nil {
		b.n.logger.Warn("not handed over", "reason", reason, "to", to.NodeID, "err", err)
	}
}

// fencedAtFirst reports whether this broker registers without service until clients can reach it. One that is alone has nobody to wait for.
func (n *Node) fencedAtFirst() bool {
	return len(n.genesis.Founders) > 1 || n.meta.Image().BrokerCount() > 1
}
