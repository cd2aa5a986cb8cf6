package metalog

import (
	"context"
	"slices"
)

// Boots are the processes that this member's disk has seen, this one last, for the handshake with other members.
func (l *Log) Boots() []PeerBoot {
	return slices.Clone(l.owner.core.boots) // set when the core is made, and never changed
}

// Handshake reports whether a process of another member may be heard, given the processes its disk has seen; see Core.Handshake. It waits
// for the owner, which runs from Start on.
func (l *Log) Handshake(ctx context.Context, boots []PeerBoot) (bool, error) {
	answer := make(chan bool, 1)
	ask := func(o *owner) { answer <- o.core.Handshake(boots) }
	select {
	case l.control <- ask:
	case <-l.quit:
		return false, ErrClosed
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case ok := <-answer:
		return ok, nil
	case <-l.quit:
		return false, ErrClosed
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
