package metalog

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
)

const (
	proposalQueued int32 = iota
	proposalTaken
	proposalGivenUp // by its caller, before the owner took it
)

// proposal is a caller's wish on its way through the owner and the applier. offset and err are written before done is closed.
type proposal struct {
	events Proposal
	voters []Member // instead of events
	state  atomic.Int32
	empty  bool // it appends nothing, and belongs to the owner
	done   chan struct{}
	offset int64
	err    error
}

func (p *proposal) finish(offset int64, err error) {
	if p == nil {
		return
	}
	p.offset, p.err = offset, err
	close(p.done)
}

// propose validates a proposal against the working image and appends it.
func (o *owner) propose(p *proposal) {
	if !p.state.CompareAndSwap(proposalQueued, proposalTaken) {
		return
	}
	if !o.serving {
		p.finish(0, ErrNotController)
		return
	}
	if err := o.append(p); err != nil {
		p.finish(0, err)
		return
	}
	o.accepted++
	if o.core.log.end() >= o.hashAt {
		o.appendHash()
	}
}

func (o *owner) append(p *proposal) error {
	first := o.core.log.end()
	var events []metadata.Event
	var err error
	if p.voters != nil {
		if err := o.core.CheckVoters(p.voters); err != nil {
			return fmt.Errorf("change voters: %w", err)
		}
		events = []metadata.Event{&metadata.VotersChanged{Voters: p.voters}}
	} else if events, err = p.events(o.working); err != nil {
		return err
	}
	if len(events) == 0 {
		p.empty = true
		o.unconfirmed = append(o.unconfirmed, p)
		return nil
	}
	entries := make([]NewEntry, len(events))
	nowMs := time.Now().UnixMilli()
	b := metadata.NewBatch(o.working)
	size := 0
	for i, ev := range events {
		if err := b.Apply(first+int64(i), ev); err != nil {
			return fmt.Errorf("propose: %w", err)
		}
		entries[i] = NewEntry{EntryEvent, metadata.AppendEventAt(nil, ev, nowMs)}
		if len(entries[i].Payload) > MaxEntryBytes {
			return fmt.Errorf("propose %s: %w: %d bytes", ev.Key(), ErrTooLarge, len(entries[i].Payload))
		}
		size += entryHeaderSize + len(entries[i].Payload)
	}
	if size > MaxGroupBytes {
		return fmt.Errorf("propose: %w: %d bytes in %d events", ErrTooLarge, size, len(events))
	}
	if p.voters != nil {
		_, err = o.core.ChangeVoters(p.voters)
	} else {
		_, err = o.core.Propose(entries)
	}
	if err != nil && !errors.Is(err, ErrHalted) {
		return err
	}
	old := o.working
	next, delta := b.Done()
	o.working = next
	o.inflight = append(o.inflight, applyItem{from: first, end: first + int64(len(entries)), old: old, image: next, delta: delta, p: p})
	return nil
}

// confirm lets proposals without events wait for what proves that they were judged by the log's present state: an entry that was appended
// after them and is committed. Another node may lead by now without this one knowing, above all if this process was stopped for a while;
// then nothing is committed here, and what they saw may long be past. One entry serves all that are waiting. A log with one voter
// needs none.
func (o *owner) confirm() {
	waiting := o.unconfirmed
	if len(waiting) == 0 {
		return
	}
	o.unconfirmed = nil
	end := o.core.log.end()
	if len(o.core.votersInForce().Members) > 1 {
		if _, err := o.core.Propose([]NewEntry{{Type: EntryNoop}}); err != nil {
			for _, p := range waiting {
				p.finish(0, err)
			}
			return
		}
		old := o.working
		o.working = old.WithOffset(end)
		o.inflight = append(o.inflight, applyItem{from: end, end: end + 1, old: old, image: o.working, delta: &metadata.Delta{}})
		end++
	}
	for _, p := range waiting {
		o.inflight = append(o.inflight, applyItem{from: end, end: end, p: p})
	}
	o.again()
}

// appendHash writes down the hash of the image before it, for all to compare.
func (o *owner) appendHash() {
	first := o.core.log.end()
	h := o.working.Hash().Bytes()
	if _, err := o.core.Propose([]NewEntry{{EntryImageHash, h[:]}}); err != nil {
		return // the core halted or is full; the next proposal tries again
	}
	old := o.working
	o.working = old.WithOffset(first)
	o.hashAt = nextHash(first + 1)
	o.inflight = append(o.inflight, applyItem{from: first, end: first + 1, old: old, image: o.working, delta: &metadata.Delta{}})
}
