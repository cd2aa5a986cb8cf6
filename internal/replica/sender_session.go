package replica

import (
	"github.com/chronik-io/chronik/internal/peer"
)

// session is one stream to one incarnation of the follower's node.
type session struct {
	brokerEpoch int64
	window      SendWindow[*Replica]
	flight      []sentBytes // frames that are not acked
	bytes       int         // in flight
}

type sentBytes struct {
	seq uint64
	n   int
}

// full reports whether no more may be under way.
func (s *sender) full(x *session) bool {
	if s.class != peer.ClassCatchUp {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return x.bytes >= catchUpFlight
}

// frame begins the next frame. One that stays empty is never written: the next one has another number.
func (s *sender) frame(x *session) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return x.window.Frame()
}

// flies notes the size of the frame that is about to be sent.
func (s *sender) flies(x *session, n int) {
	if s.class != peer.ClassCatchUp {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x.flight = append(x.flight, sentBytes{x.window.Current(), n})
	x.bytes += n
}

// landed takes acked frames out of what is under way. mu is held.
func (x *session) landed(upTo uint64) {
	n := 0
	for n < len(x.flight) && x.flight[n].seq <= upTo {
		x.bytes -= x.flight[n].n
		n++
	}
	x.flight = x.flight[:copy(x.flight, x.flight[n:])]
}

// sent notes a part of the frame that is being built, and returns its sequence.
func (s *sender) sent(x *session, r *Replica, epoch int32, end int64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.window.Sent(r, epoch, end)
	return x.window.Current()
}
