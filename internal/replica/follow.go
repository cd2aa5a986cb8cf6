package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
)

// walRoomRetry is how often a follower looks again for room in a full WAL. Nothing else of the stream could be taken either.
const walRoomRetry = 5 * time.Millisecond

// follow makes this node follow in the view's epoch, or in none.
func (r *Replica) follow(v *View) error {
	// The log may know of a later epoch than the metadata that was recovered: pushes of the earlier one are refused then.
	if err := r.log.NoteLeaderEpoch(v.LeaderEpoch); err != nil && !errors.Is(err, partition.ErrStaleLeaderEpoch) {
		return err
	}
	r.log.SetRetention(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.disconnectAll()
	r.leading = nil
	r.ticks.Store(false)
	r.uncommitted.Store(false)
	if r.following == nil {
		r.following, r.still = NewFollowerCore(r.set.o.NodeID, v, r.log, 0), false
	} else if r.following.Follow(v) {
		r.still = false
		r.set.voidAll(r.id)
	}
	if r.corrupt != nil {
		r.following.Faulty()
	}
	return nil
}

// receive takes a part of a push: it is in the WAL when receive returns without a refusal, and durable when the WAL says so. An error ends
// the process if it is ErrDiverged, else the stream. Damage of the log concerns this partition only: it is refused until it is repaired.
func (r *Replica) receive(ctx context.Context, p *Push, batches []byte, nowMs int64) (*Refusal, error) {
	r.receiving.Lock()
	defer r.receiving.Unlock()
	refusal, err := r.receiveSound(ctx, p, batches, nowMs)
	if errors.Is(err, partition.ErrCorrupt) && !errors.Is(err, ErrDiverged) {
		r.damaged(err, r.renewals.Load())
		return &Refusal{NotReady: true, Faulty: true}, nil
	}
	return refusal, err
}

// receiveSound is receive into a log without known damage. receiving is held.
func (r *Replica) receiveSound(ctx context.Context, p *Push, batches []byte, nowMs int64) (*Refusal, error) {
	batches, end, refusal, err := r.accept(p, batches)
	if refusal != nil || err != nil {
		return refusal, err
	}
	if len(batches) > 0 {
		if end, refusal, err = r.take(ctx, p, batches, nowMs); refusal != nil || err != nil {
			return refusal, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.following == nil || r.view.LeaderEpoch != p.LeaderEpoch {
		return &Refusal{NotReady: true}, nil
	}
	before := r.log.HighWatermark()
	hw := r.following.Verify(p, end)
	if hw > before {
		r.log.SetHighWatermark(hw)
		r.wakeSoon()
	}
	if start := min(p.LogStart, hw); start > r.log.Start() {
		if err := r.log.FollowStart(start); err != nil {
			return nil, fmt.Errorf("follow log start: %w", err)
		}
	}
	return nil, nil
}

// take appends what follows the log's end, and returns where that ends. It waits for room in the WAL, for no longer than the leader
// waits for an answer: then that has given the stream up, and what comes over the next one must not queue up behind this.
func (r *Replica) take(ctx context.Context, p *Push, batches []byte, nowMs int64) (end int64, refusal *Refusal, err error) {
	for began := time.Now(); ; {
		last, err := r.log.AppendReplicated(p.LeaderEpoch, batches, nowMs)
		switch {
		case err == nil:
			return last + 1, nil, nil
		case errors.Is(err, partition.ErrStaleLeaderEpoch), errors.Is(err, partition.ErrDropped), errors.Is(err, partition.ErrOutOfRange):
			return 0, &Refusal{NotReady: true}, nil // the metadata has moved on meanwhile
		case errors.Is(err, partition.ErrTooLarge), errors.Is(err, partition.ErrBadBatch):
			r.standStill(p, err)
			return 0, &Refusal{NotReady: true}, nil
		case !errors.Is(err, partition.ErrWALFull) && !errors.Is(err, partition.ErrNoSpace) || r.set.closed() || ctx.Err() != nil || time.Since(began) > answerSilence:
			return 0, nil, fmt.Errorf("append what leader %d pushed: %w", p.Leader, err)
		}
		for len(batches) > 0 { // some may have been taken
			h, err := recordbatch.ParseHeader(batches)
			if err != nil || h.BaseOffset >= r.log.End() {
				break
			}
			batches = batches[h.Size():]
		}
		if len(batches) == 0 {
			return r.log.End(), nil, nil
		}
		time.Sleep(walRoomRetry)
	}
}

// standStill takes no more of this partition in the push's leader epoch: what the leader has is not as it should be. The leader
// takes this node out of the ISR. The other partitions of the stream go on (R16).
func (r *Replica) standStill(p *Push, err error) {
	r.set.log.Error("follower stands still: what its leader pushes cannot be taken", "partition", r.id.String(), "topic", r.topic, "leader", p.Leader,
		"epoch", p.LeaderEpoch, "err", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.following != nil && r.view.LeaderEpoch == p.LeaderEpoch {
		r.still = true
	}
}

// accept decides about a part and makes the log fit: what is left of the batches follows the log's end.
func (r *Replica) accept(p *Push, batches []byte) (rest []byte, end int64, refusal *Refusal, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.following
	if f == nil || r.log == nil || r.dropped || r.still {
		return nil, 0, &Refusal{NotReady: true}, nil
	}
	fits, ref, err := f.Check(p, r.log.HighWatermark())
	if err != nil || !fits {
		return nil, 0, &ref, err
	}
	if p.Reset {
		if err := r.log.Reset(p.Base); err != nil {
			return nil, 0, nil, fmt.Errorf("begin anew at %d: %w", p.Base, err)
		}
		f.Renewed()
		r.renewed(p)
	}
	end = p.Base
	for len(batches) > 0 {
		h, err := recordbatch.ParseHeader(batches)
		if err != nil || h.Size() > len(batches) || h.BaseOffset != end {
			return nil, 0, nil, fmt.Errorf("pushed batch at %d: %w", end, errFrame)
		}
		place, err := f.Place(h.BaseOffset, h.LeaderEpoch, r.log.HighWatermark())
		if err != nil {
			return nil, 0, nil, err
		}
		if place == PlaceSkip {
			end, batches = h.LastOffset()+1, batches[h.Size():]
			continue
		}
		if place == PlaceTruncate || place == PlaceUnclean {
			r.set.log.Info("log is cut back to where it leaves the leader's", "partition", r.id.String(), "topic", r.topic, "to", h.BaseOffset,
				"end", r.log.End(), "leader", p.Leader, "epoch", p.LeaderEpoch, "unclean", place == PlaceUnclean)
			if err := r.truncate(h.BaseOffset, place); err != nil {
				return nil, 0, nil, fmt.Errorf("cut to %d: %w", h.BaseOffset, err)
			}
			if r.log.End() != h.BaseOffset { // a batch of another shape stood there and went as a whole, or all had to go
				ref := f.Ready()
				return nil, 0, &ref, nil
			}
		}
		return batches, end, nil, nil
	}
	return nil, end, nil, nil
}

// truncate cuts the log. After an unclean election segments may have to go too: then all of the log does.
func (r *Replica) truncate(to int64, place Placement) error {
	if place == PlaceTruncate {
		return r.log.Truncate(to)
	}
	err := r.log.TruncateUnclean(to)
	if errors.Is(err, partition.ErrTruncateBelowSegments) {
		return r.log.Reset(r.log.Start())
	}
	return err
}

// readiness describes the log for a process that the view shows as the leader; false if it shows another one.
func (r *Replica) readiness(leader int32, nonce uint64) (epoch int32, ref Refusal, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.following == nil || r.dropped || r.still || r.view.Leader != leader || leader == r.set.o.NodeID {
		return 0, ref, false
	}
	if m := r.view.member(leader); m == nil || m.Nonce != nonce {
		return 0, ref, false
	}
	return r.view.LeaderEpoch, r.following.Ready(), true
}
