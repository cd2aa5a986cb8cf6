package replica

import "context"

// This file makes a log start that a client was told of survive a change of the leader (R14): whoever may be elected has it on its disk.

// carriedStart is a frame by which a follower takes over a log start.
type carriedStart struct {
	seq   uint64
	start int64
}

// carries notes the log start that a frame has its follower take over. mu is held.
func (l *link) carries(x *session, seq uint64, start int64) {
	if l.carrier != x {
		l.forgetStarts()
		l.carrier = x
	}
	if start > l.carried {
		l.carried = start
		l.starts = append(l.starts, carriedStart{seq, start})
	}
}

// forgetStarts gives up what frames carried: they were refused, or their stream is gone. The next push carries the start again. mu is held.
func (l *link) forgetStarts() {
	l.carrier, l.carried, l.starts = nil, -1, l.starts[:0]
}

// startsAcked returns the log start that a follower has on its disk, now that it has acked the frames up to upTo; -1 if that is not news.
// mu is held.
func (l *link) startsAcked(x *session, upTo uint64) int64 {
	start, n := int64(-1), 0
	if l.carrier == x {
		for n < len(l.starts) && l.starts[n].seq <= upTo {
			start = l.starts[n].start
			n++
		}
		l.starts = l.starts[:copy(l.starts, l.starts[n:])]
	}
	return start
}

// AwaitStart waits until everybody who may be elected has log start n, as AdvanceStart returned it. ErrTimeout when ctx ends before, ErrNotLeader
// with the leadership.
func (r *Replica) AwaitStart(ctx context.Context, n int64) error {
	w := NewFetchWaiter()
	w.Watch([]*Replica{r})
	defer w.Stop()
	for {
		if done, err := r.startAdopted(n); done || err != nil {
			return err
		}
		select {
		case <-w.C:
		case <-ctx.Done():
			return ErrTimeout
		}
	}
}

func (r *Replica) startAdopted(n int64) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leading == nil || !r.leads.Load() || r.dropped {
		return false, ErrNotLeader
	}
	r.leading.RequireStart(n)
	return r.leading.StartAdopted(n), nil
}
