package partition

import (
	"fmt"
	"sort"
)

// flagUnclean marks the record of a truncation that may have gone below the high watermark.
const flagUnclean = 1

// Truncate drops all records from offset to on; a batch that holds to in its middle goes as a whole. Below the high watermark it is
// refused: ErrTruncateBelowHighWatermark, and ErrTruncateBelowSegments as well when TruncateUnclean would refuse it too.
func (l *Log) Truncate(to int64) error {
	err := l.truncate(to, false)
	if err != nil {
		l.catchUpDurable()
	}
	return err
}

// TruncateUnclean is Truncate after an unclean election: it may go below the high watermark, which then goes down to the new end. What is
// in segments stays, because those are never cut: a to below the segment end, or the log start, is ErrTruncateBelowSegments and changes
// nothing; the caller makes the log anew with Reset and fetches all of it. Of an idempotent producer fewer than five batches may be
// remembered afterwards, or none.
func (l *Log) TruncateUnclean(to int64) error {
	err := l.truncate(to, true)
	if err != nil {
		l.catchUpDurable()
	}
	return err
}

func (l *Log) truncate(to int64, unclean bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if to >= l.end.Load() {
		return nil
	}
	i := l.find(to)
	if i < len(l.view) {
		to = min(to, l.view[i].base)
	}
	hw := l.hw.Load()
	if to < l.segEnd.Load() || to < l.start.Load() {
		err := ErrTruncateBelowSegments
		if to < hw && !unclean {
			return fmt.Errorf("truncate %s to %d, high watermark %d, segment end %d: %w: %w", l.id, to, hw, l.segEnd.Load(),
				ErrTruncateBelowHighWatermark, err)
		}
		return fmt.Errorf("truncate %s to %d, segment end %d: %w", l.id, to, l.segEnd.Load(), err)
	}
	if to < hw && !unclean {
		return fmt.Errorf("truncate %s to %d, high watermark %d: %w", l.id, to, hw, ErrTruncateBelowHighWatermark)
	}
	flags := []byte{0}
	if unclean {
		flags[0] = flagUnclean
	}
	l.sub = l.newSub()
	if !l.store.bugs.forgetTruncate {
		p := prefix{id: l.id, epoch: l.leaderEpoch, offset: to}
		if _, err := l.store.appendSmall(kindTruncate, p, flags, l.sub, to); err != nil {
			return fmt.Errorf("truncate %s: %w", l.id, mapWALError(err))
		}
	}
	if to < hw {
		l.hw.Store(to)
		if !l.store.bugs.keepViewGen {
			l.viewGen++ // what is being written to a segment now may hold what is cut
		}
	}
	l.cut(to)
	l.lowerDurable(to)
	return nil
}

// lowerDurable applies an end that went down. The caller holds mu.
func (l *Log) lowerDurable(to int64) {
	l.durableMu.Lock()
	l.durable.Store(min(l.durable.Load(), to))
	l.durableMu.Unlock()
}

// catchUpDurable takes what became durable while marks were ignored, because a truncation replaced the subscription and then was refused. The
// hook is told from a goroutine of its own: whoever truncates may hold a lock that the hook takes.
func (l *Log) catchUpDurable() {
	seq := l.store.wal.DurableSeq()
	l.mu.Lock()
	gen := l.subGen
	end := int64(-1)
	k := l.find(l.movedEnd) // what was moved was durable before
	if i := k + sort.Search(len(l.view)-k, func(i int) bool { return l.view[k+i].seq > seq && !l.view[k+i].carried() }); i > 0 {
		end = l.view[i-1].last() + 1
	}
	l.mu.Unlock()
	if hook := l.hook.Load(); end >= 0 && l.raiseDurable(gen, end) && hook != nil {
		go (*hook)(end)
	}
}

// cut forgets everything from offset to on, which is no lower than the segment end. The caller holds mu.
func (l *Log) cut(to int64) {
	i := l.find(to)
	if i < len(l.view) && l.view[i].base < to {
		i++
	}
	l.dropViewBack(i)
	l.end.Store(to)
	n := len(l.epochs)
	for n > 0 && l.epochs[n-1].start >= to {
		n--
	}
	l.epochs = l.epochs[:n]
	l.producers.truncate(to)
	l.countFrom = min(l.countFrom, to)
}
