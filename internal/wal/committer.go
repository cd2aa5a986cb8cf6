package wal

import (
	"fmt"
	"slices"
	"time"
)

// commitLoop is the commit goroutine: take, write, sync, publish, one commit after the other (invariant 1).
func (w *WAL) commitLoop() {
	var timer *time.Timer
	var idleFor <-chan time.Time // set while the last commit is not followed by a Seal
	if !w.sealed && w.o.SealAfter >= 0 {
		timer = time.NewTimer(w.o.SealAfter)
		idleFor = timer.C
	}
	for {
		c, closing := w.take()
		if c == nil && closing {
			if c = w.cleanSeal(); c == nil {
				return
			}
		}
		if c == nil {
			select {
			case <-w.kick:
			case <-idleFor:
				idleFor = nil
				if c = w.idleSeal(); c == nil {
					continue
				}
			}
		}
		if c == nil {
			continue
		}
		seal, clean := c.seal, c.clean // the completion goroutine reuses c
		if err := w.write(c); err != nil {
			w.fatal(err)
			return
		}
		if !w.publish(c) || clean {
			return
		}
		if seal || w.o.SealAfter < 0 {
			continue
		}
		if timer == nil {
			timer = time.NewTimer(w.o.SealAfter)
		} else {
			timer.Reset(w.o.SealAfter)
		}
		idleFor = timer.C
	}
}

// take returns the next commit to write, or nil if there is none; then the goroutine counts as idle.
func (w *WAL) take() (c *commit, closing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 && w.open != nil && (!w.open.defers || w.closing) {
		w.sealOpen()
	}
	if len(w.queue) > 0 && w.failed == nil {
		c = w.queue[0]
		w.queue = slices.Delete(w.queue, 0, 1) // a few entries; keeps the array
		return c, false
	}
	w.idle = true
	return nil, w.closing || w.failed != nil
}

// idleSeal returns a Seal commit, or nil if a record came first, which may be a deferred one, or there is no room for one.
func (w *WAL) idleSeal() *commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startDeferred()
	if w.open != nil || len(w.queue) > 0 || w.closing {
		return nil
	}
	return w.makeSeal(false)
}

// cleanSeal returns the last commit of a clean stop, or nil if there is no room or the log failed.
func (w *WAL) cleanSeal() *commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return nil
	}
	return w.makeSeal(true)
}

// makeSeal builds a Seal commit. It never takes the room of the Roll, and does without when memory is short: both
// only leave the last commit less well protected.
func (w *WAL) makeSeal(clean bool) *commit {
	a := w.active()
	if a.end+blockSize+rollRoom(len(a.positions)+1) > a.filled {
		return nil
	}
	ch := w.ring.tail(blockSize)
	if ch == nil {
		var err error
		if ch, err = w.ring.grow(blockSize, w.durable.Load()); ch == nil || err != nil {
			return nil
		}
	}
	c, err := w.openCommit(blockSize)
	if c == nil || err != nil {
		return nil
	}
	c.seal, c.clean = true, clean
	c.own(kindSeal, 1, func(b []byte) {
		b[0] = 0
		if clean {
			b[0] = 1
		}
	})
	w.sealOpen()
	w.queue = w.queue[:len(w.queue)-1]
	w.idle = false
	return c
}

// write makes a commit durable; for a Roll it makes the identity of the next slot durable first (invariant 3).
func (w *WAL) write(c *commit) error {
	if c.next != nil {
		w.mu.Lock()
		oldest := w.oldest
		w.mu.Unlock()
		if err := c.next.writeHeader(slotLive, oldest, !w.o.bugs.noNextHeader); err != nil {
			return err
		}
	}
	b := w.finish(c)
	if _, err := c.slot.f.WriteAt(b, c.pos); err != nil {
		return fmt.Errorf("write commit %d to %s: %w", c.seq, c.slot.path, err)
	}
	if w.o.bugs.earlyNext {
		w.writeAhead()
	}
	if w.o.bugs.ackUnsynced {
		return nil
	}
	if err := c.slot.f.Sync(); err != nil {
		return fmt.Errorf("sync commit %d in %s: %w", c.seq, c.slot.path, err)
	}
	return nil
}

// finish writes padding and header of a sealed commit around its frames, in place, and returns the bytes for the disk.
func (w *WAL) finish(c *commit) []byte {
	used := len(c.buf)
	size := int(alignUp(int64(used)))
	b := c.buf[:size] // the capacity is a whole number of blocks
	for i := used; i < size; i++ {
		b[i] = padByte
	}
	h := commitHeader{
		Salt: c.slot.salt, Seq: c.seq, Mark: w.o.Mark(),
		BodyLen: uint32(used - commitHeaderSize), Frames: c.frames, BodyCRC: c.sum,
	}
	if c.slot.zeroed {
		h.ZeroSectors = countZeroSectors(b[sectorSize:])
	}
	h.encode(b)
	return b
}

// publish makes a synced commit known as durable. It returns false when the log failed in between: a sync that
// returned after an error elsewhere proves nothing.
func (w *WAL) publish(c *commit) bool {
	w.mu.Lock()
	if w.failed != nil {
		w.mu.Unlock()
		return false
	}
	w.durable.Store(c.seq)
	w.pending -= c.bytes
	w.commits++
	if c.next != nil {
		c.slot.rolled = true
	}
	w.wake()
	if w.syncers > 0 {
		close(w.synced)
		w.synced = make(chan struct{})
	}
	w.mu.Unlock()
	w.completions <- c
	return true
}

// OnTold sets the one function that is called on the completion goroutine when all subscribers of a commit have been told, so that what
// they cause (responses to clients) can leave together. It must not block for long.
func (w *WAL) OnTold(fn func()) { w.told.Store(&fn) }

// completionLoop tells the subscribers, in commit order, while the commit goroutine goes on.
func (w *WAL) completionLoop() {
	for c := range w.completions {
		for i := range c.subs {
			c.subs[i].sub.Durable(c.subs[i].mark)
		}
		if told := w.told.Load(); told != nil {
			(*told)()
		}
		clear(c.subs)
		w.mu.Lock()
		if len(w.spare) < completionDepth {
			w.spare = append(w.spare, c)
		}
		w.mu.Unlock()
	}
}
