package replica

import (
	"context"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
)

// This file knows the other nodes: one sender for each that follows something here, one receiver for each stream that comes in.

// nowMs is a monotonic clock in milliseconds; it is never near zero.
func (s *Set) nowMs() int64 { return 1e6 + s.since() }

func nonceOf(b *metadata.Broker) uint64 { return controller.NonceOf(b.Incarnation) }

// closed reports whether Run is over.
func (s *Set) closed() bool { return s.done.Load() }

func (s *Set) setRegistered(registered bool) {
	s.registered = registered
	s.taking.Store(registered)
}

// serving reports whether the image shows this process as this node's registration: before that it takes no pushes (R7).
func (s *Set) serving() bool { return s.taking.Load() }

// brokerEpoch finds the broker epoch of a node's process; false if the image does not show it as registered.
func (s *Set) brokerEpoch(node int32, nonce uint64) (int64, bool) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.image == nil {
		return 0, false
	}
	b := s.image.Broker(node)
	if b == nil || nonceOf(b) != nonce {
		return 0, false
	}
	return b.Epoch, true
}

// senderID names a stream.
type senderID struct {
	node  int32
	class peer.Class
}

// sender returns what pushes to a node; nil where there are no streams.
func (s *Set) sender(node int32, class peer.Class) *sender {
	if s.o.Open == nil {
		return nil
	}
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	id := senderID{node, class}
	x := s.senders[id]
	if x == nil {
		x = newSender(s, node, class)
		s.senders[id] = x
		s.startSender(x)
	}
	return x
}

// startSender runs a sender, if Run has begun. peersMu is held.
func (s *Set) startSender(x *sender) {
	if ctx := s.sendCtx; ctx != nil && ctx.Err() == nil {
		s.sending.Go(func() { x.run(ctx) })
	}
}

func (s *Set) startSenders(ctx context.Context) {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	s.sendCtx = ctx
	for _, x := range s.senders {
		s.startSender(x)
	}
}

// pokeSenders has those without a stream dial now.
func (s *Set) pokeSenders() {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	for _, x := range s.senders {
		poke(x.poked)
	}
}

// Reachable tells that a node can be reached (again).
func (s *Set) Reachable(node int32) {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	for id, x := range s.senders {
		if id.node == node {
			poke(x.poked)
		}
	}
}

func (s *Set) addReceiver(v *receiver) {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	s.receivers[v] = struct{}{}
}

func (s *Set) removeReceiver(v *receiver) {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	delete(s.receivers, v)
}

// storeTold is called when a commit of the WAL is durable and everybody knows: acks leave, then responses.
func (s *Set) storeTold() {
	s.peersMu.Lock()
	for v := range s.receivers {
		poke(v.wake)
	}
	s.peersMu.Unlock()
	s.committed()
}

// voidAll refuses all that was pushed of a partition and not acked (R2). The replica's lock may be held: nothing that a new leader pushes is
// taken before.
func (s *Set) voidAll(id partition.ID) {
	for _, v := range s.allReceivers() {
		v.void(id)
	}
}

// announce tells the leader of a new epoch that it may push.
func (s *Set) announce(r *Replica) {
	for _, v := range s.allReceivers() {
		v.offer(r)
	}
}

// offerAll tells every leader where this node's replicas are: they may be pushed to from now on.
func (s *Set) offerAll() {
	receivers := s.allReceivers()
	if len(receivers) == 0 {
		return
	}
	for _, r := range s.All() {
		for _, v := range receivers {
			v.offer(r)
		}
	}
}

func (s *Set) allReceivers() []*receiver {
	s.peersMu.Lock()
	defer s.peersMu.Unlock()
	all := make([]*receiver, 0, len(s.receivers))
	for v := range s.receivers {
		all = append(all, v)
	}
	return all
}

var _ peer.StreamHandler = (*Set)(nil).Serve
