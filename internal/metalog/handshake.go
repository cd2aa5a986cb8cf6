package metalog

import (
	"context"
	"slices"
	"time"
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

// AwaitBoot returns when this member's record of its own process is durable. Before that no other member may be greeted: it would remember
// a process that this disk forgets if the process ends now, and would never hear the disk again.
func (l *Log) AwaitBoot(ctx context.Context) error {
	for {
		answer := make(chan bool, 1)
		select {
		case l.control <- func(o *owner) { answer <- o.core.Booted() }:
		case <-l.quit:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case booted := <-answer:
			if booted {
				return nil
			}
		case <-l.quit:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-time.After(bootLook):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// bootLook is how long AwaitBoot waits between two looks: the record is one sync away.
const bootLook = 500 * time.Microsecond
