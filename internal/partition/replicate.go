package partition

import (
	"fmt"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

// stateShare of the WAL, one part in so many, is kept for States, which carry at most that much in all: without room for them no slot could
// be freed any more. Replicated appends leave some slots free besides, so that a slot's worth of batches can be moved, which may then be packed
// less well.
const (
	stateShare = 16
	moveSlots  = 2
)

// AppendReplicated adds one or several whole batches, exactly as the leader of leaderEpoch has them, and returns the offset of the last
// record that was taken, which is durable when OnDurable says so. Their checksums are verified, their records are not looked into. They
// must begin at End, have no gaps, and their epochs must not go down, nor lie above leaderEpoch.
//
// Errors: ErrStaleLeaderEpoch (leaderEpoch is below the log's), ErrOutOfRange (they do not begin at End), ErrBadBatch, ErrWALFull,
// ErrTooLarge, ErrCorrupt (the log is damaged), ErrDropped: nothing was taken. After ErrNoSpace some batches may be; the offset returned
// tells. It does not ask Admit: beyond the share of client appends it goes on until only the room for recycling is left.
func (l *Log) AppendReplicated(leaderEpoch int32, batches []byte, nowMs int64) (lastOffset int64, err error) {
	first, err := l.checkReplicated(leaderEpoch, batches)
	if err != nil {
		return l.End() - 1, err
	}
	if !l.store.fitsWAL(len(batches), moveSlots*l.store.opts.WAL.SlotBytes) {
		l.store.poke()
		return l.End() - 1, fmt.Errorf("append to %s: %w", l.id, ErrWALFull)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.end.Load()
	switch err := l.usable(); {
	case err != nil:
		return end - 1, err
	case l.damaged != nil:
		return end - 1, l.damaged
	case leaderEpoch < l.leaderEpoch:
		return end - 1, fmt.Errorf("append to %s, epoch %d, now %d: %w", l.id, leaderEpoch, l.leaderEpoch, ErrStaleLeaderEpoch)
	case first.BaseOffset != end:
		return end - 1, fmt.Errorf("append to %s at %d, batch is for %d: %w", l.id, end, first.BaseOffset, ErrOutOfRange)
	case first.LeaderEpoch < l.lastEpoch():
		return end - 1, fmt.Errorf("append to %s, batch of epoch %d behind epoch %d: %w", l.id, first.LeaderEpoch, l.lastEpoch(), ErrBadBatch)
	}
	l.leaderEpoch = leaderEpoch
	for len(batches) > 0 {
		h, _ := recordbatch.ParseHeader(batches) // checked above
		batch := batches[:h.Size()]
		if err := l.enqueue(batch, &h, h.LeaderEpoch); err != nil {
			return l.end.Load() - 1, err
		}
		if h.HasProducer() {
			l.addProducer(&h, nowMs)
		}
		batches = batches[len(batch):]
	}
	return l.end.Load() - 1, nil
}

// checkReplicated verifies batches and returns the first one's header.
func (l *Log) checkReplicated(leaderEpoch int32, batches []byte) (first recordbatch.Header, err error) {
	if len(batches) == 0 {
		return first, fmt.Errorf("append nothing to %s: %w", l.id, ErrBadBatch)
	}
	var prev recordbatch.Header
	for rest := batches; len(rest) > 0; {
		h, err := recordbatch.VerifyCRC(rest)
		if err != nil {
			return first, fmt.Errorf("append to %s: %w: %w", l.id, ErrBadBatch, err)
		}
		if len(rest) == len(batches) {
			first = h
		} else if h.BaseOffset != prev.LastOffset()+1 || h.LeaderEpoch < prev.LeaderEpoch {
			return first, fmt.Errorf("append to %s, batch %d of epoch %d behind %d of epoch %d: %w", l.id, h.BaseOffset, h.LeaderEpoch,
				prev.LastOffset(), prev.LeaderEpoch, ErrBadBatch)
		}
		if h.LeaderEpoch < 0 || h.LeaderEpoch > leaderEpoch {
			return first, fmt.Errorf("append to %s, batch of epoch %d from a leader of epoch %d: %w", l.id, h.LeaderEpoch, leaderEpoch,
				ErrBadBatch)
		}
		if int64(prefixSize+h.Size()) > l.store.wal.MaxRecord() {
			return first, fmt.Errorf("append to %s, batch of %d bytes: %w", l.id, h.Size(), ErrTooLarge)
		}
		prev, rest = h, rest[h.Size():]
	}
	return first, nil
}

// fitsWAL tells whether n bytes more leave the WAL the room for States and spare bytes besides.
func (s *Store) fitsWAL(n int, spare int64) bool {
	u := s.wal.Usage()
	limit := max(u.MaxBytes-u.MaxBytes/stateShare-spare, u.MaxBytes/100*admitPercent)
	return u.UsedBytes+u.Pending+int64(n) <= limit
}

// Reset makes the log empty, with its start, end and high watermark at offset: a follower that is so far behind that its leader has
// nothing that fits to its end, or whose data is damaged, begins anew. What was there never comes back: neither after a crash, once the
// reset is durable, nor before. Files go in the background. It returns when the record is enqueued; what is appended next is behind it.
// Until it is durable DurableEnd is no higher than before.
func (l *Log) Reset(offset int64) error {
	if offset < 0 {
		return fmt.Errorf("reset %s to %d: %w", l.id, offset, ErrOutOfRange)
	}
	if err := l.reset(offset); err != nil {
		l.catchUpDurable()
		return err
	}
	l.store.needClean(l)
	return nil
}

func (l *Log) reset(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return l.gone
	}
	l.sub = l.newSub()
	if !l.store.bugs.forgetReset {
		p := prefix{id: l.id, epoch: l.leaderEpoch, offset: offset}
		if _, err := l.store.appendSmall(kindReset, p, residencyBytes(l.residency), l.sub, offset); err != nil {
			return fmt.Errorf("reset %s: %w", l.id, mapWALError(err))
		}
	}
	l.makeEmpty(offset)
	l.lowerDurable(offset)
	return nil
}

// makeEmpty forgets all that the log holds. The list of segments is forgotten too: whoever needs it next reads the directory, where nothing
// is named by an active mark, so that all of it is removed once the reset is durable. Nothing is written there before. The caller holds mu.
func (l *Log) makeEmpty(offset int64) {
	l.dropViewBack(0)
	l.epochs, l.producers, l.active = nil, nil, activeMark{base: -1}
	l.fault, l.damaged, l.ready = nil, nil, false
	l.countFrom, l.movedEnd = offset, 0
	l.start.Store(offset)
	l.end.Store(offset)
	l.segEnd.Store(offset)
	l.hw.Store(offset)
	if l.store.bugs.resetKeepsFiles {
		return
	}
	l.viewGen++
	l.dirty = true
	if segs := l.segs.Load(); segs == nil || len(*segs) > 0 {
		if segs != nil {
			l.stale = append(l.stale, *segs...)
		}
		l.hadFiles = true
		l.segs.Store(nil)
	}
}

// FollowStart moves a follower's log start to n, its leader's, as far as the follower's own high watermark allows. It only enqueues the
// record; segments go in the background once it is durable. It is to be called again as the high watermark moves.
func (l *Log) FollowStart(n int64) error {
	moved, err := l.advanceStart(min(n, l.hw.Load(), l.end.Load()))
	if err != nil || !moved {
		return err
	}
	l.store.needClean(l)
	return nil
}

// SetRetention switches retention on or off; it is on in a new log and after a start. Only the leader deletes old records; followers adopt
// its log start.
func (l *Log) SetRetention(on bool) { l.noRetention.Store(!on) }
