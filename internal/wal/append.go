package wal

import (
	"fmt"
	"hash/crc32"
	"slices"
)

// commit is one that is being built, waiting or being written. Append fills it under WAL.mu; once sealed it belongs
// to the commit goroutine, then to the completion goroutine.
type commit struct {
	seq    uint64
	slot   *slot
	pos    int64  // position in the slot file
	ch     *chunk // holds its bytes
	buf    []byte // header and frames; the capacity ends where a frame may end at most
	frames uint32
	sum    uint32 // CRC over the frame headers so far
	bytes  int64  // counted in WAL.pending
	next   *slot  // of a Roll: the slot that the log goes on in
	seal   bool   // an empty commit
	defers bool   // only deferred records so far: it may wait
	clean  bool   // the Seal of a clean stop
	subs   []subMark
}

type subMark struct {
	sub  *Sub
	mark int64
}

// Append copies a record of size bytes into the pending commit: fill writes it in place, under the log's lock, so it
// must be a plain copy. sub (may be nil) is told of mark when the record is durable. It blocks while
// MaxPendingBytes are not durable, or no memory or filled space is at hand. Errors: ErrNoSpace, ErrFull, ErrTooLarge,
// ErrClosed, ErrFailed; the record is not accepted then.
func (w *WAL) Append(kind uint8, size int, fill func(dst []byte), sub *Sub, mark int64) (Ref, error) {
	return w.add(kind, size, fill, sub, mark, false)
}

// AppendDeferred is Append for a record that need not be durable soon: it does not start a commit but goes with the next one, which
// another Append, a Sync, a full buffer, Close, or the Seal that is due of an idle log starts: whoever needs it durable calls Sync. So
// records that would each take a block of their own on a quick disk are packed. LastSeq does not count it until then.
func (w *WAL) AppendDeferred(kind uint8, size int, fill func(dst []byte)) (Ref, error) {
	return w.add(kind, size, fill, nil, 0, true)
}

func (w *WAL) add(kind uint8, size int, fill func(dst []byte), sub *Sub, mark int64, deferred bool) (Ref, error) {
	if kind < FirstUserKind {
		return Ref{}, fmt.Errorf("append kind %d: kinds below %d are the log's own: %w", kind, FirstUserKind, ErrOptions)
	}
	if size < 0 || int64(size) > w.MaxRecord() {
		return Ref{}, fmt.Errorf("append %d bytes: %w", size, ErrTooLarge)
	}
	need := frameHeaderSize + size
	w.mu.Lock()
	c := w.open
	for c == nil || cap(c.buf)-len(c.buf) < need || w.pending+int64(need) > w.o.MaxPendingBytes {
		if err := w.makeRoom(need); err != nil {
			w.mu.Unlock()
			return Ref{}, err
		}
		c = w.open
		if c != nil && len(c.buf) == commitHeaderSize {
			break // just opened for this record
		}
	}
	at := len(c.buf)
	c.buf = c.buf[:at+need]
	frame := c.buf[at:]
	payload := frame[frameHeaderSize:]
	if size > 0 {
		fill(payload)
	}
	putFrameHeader(frame, kind, size, crc(payload))
	c.sum = crc32.Update(c.sum, castagnoli, frame[:frameHeaderSize])
	c.frames++
	c.bytes += int64(need)
	w.pending += int64(need)
	w.records++
	if sub != nil {
		c.subscribe(sub, mark)
	}
	ref := Ref{Seq: c.seq, Off: uint32(at + frameHeaderSize), Len: uint32(size)}
	if c.frames == 1 {
		c.defers = deferred
	}
	if !deferred {
		c.defers = false
		w.wakeCommitter()
	}
	w.mu.Unlock()
	return ref, nil
}

// MaxRecord is the size of the largest record that fits into a slot.
func (w *WAL) MaxRecord() int64 {
	return w.o.SlotBytes - 2*blockSize - rollRoom(3) - commitHeaderSize - frameHeaderSize
}

// subscribe notes sub's mark, once per commit.
func (c *commit) subscribe(sub *Sub, mark int64) {
	if sub.seq == c.seq && sub.place < len(c.subs) && c.subs[sub.place].sub == sub {
		if m := &c.subs[sub.place]; mark > m.mark {
			m.mark = mark
		}
		return
	}
	sub.seq, sub.place = c.seq, len(c.subs)
	c.subs = append(c.subs, subMark{sub, mark})
}

// makeRoom does one step towards an open commit with room for a frame of need bytes: it seals the open one, opens a
// new one, or waits. The caller looks again. mu is held, and released while waiting.
func (w *WAL) makeRoom(need int) error {
	if w.failed != nil {
		return w.failed
	}
	if w.closing {
		return ErrClosed
	}
	if w.pending > 0 && w.pending+int64(need) > w.o.MaxPendingBytes {
		w.startDeferred()
		w.wait()
		return nil
	}
	if w.open != nil {
		w.sealOpen()
		w.wakeCommitter()
	}
	size := alignUp(commitHeaderSize + int64(need))
	a := w.active()
	if a.end+size > a.dataEnd(a.size) {
		return w.roll(size)
	}
	if limit := a.filled; a.end+size > a.dataEnd(limit) {
		if w.noSpace && a.short && len(w.free)+len(w.retired) > 0 {
			return w.roll(size) // early: this slot cannot grow, others need not
		}
		return w.waitFilled(a, &w.wantActive, a.end+size+(limit-a.dataEnd(limit)))
	}
	_, err := w.openCommit(size)
	return err
}

// openCommit places the next commit, of at least size bytes, at the end of the active slot. It returns nil without an
// error after having waited for memory.
func (w *WAL) openCommit(size int64) (*commit, error) {
	a := w.active()
	ch := w.ring.tail(size)
	if ch == nil {
		var err error
		if ch, err = w.ring.grow(size, w.durable.Load()); err != nil {
			return nil, err
		}
	}
	if ch == nil {
		w.wait()
		return nil, nil
	}
	c := w.newCommit(ch, a)
	limit := min(int64(len(ch.mem)-ch.used), a.dataEnd(min(a.size, a.filled))-a.end)
	c.buf = ch.mem[ch.used : ch.used+commitHeaderSize : int64(ch.used)+max(limit, size)]
	ch.place(c.seq)
	a.positions = append(a.positions, uint32(a.end/blockSize))
	w.nextSeq++
	w.open = c
	return c, nil
}

func (w *WAL) newCommit(ch *chunk, s *slot) *commit {
	c := &commit{}
	if n := len(w.spare); n > 0 {
		c, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	*c = commit{seq: w.nextSeq, slot: s, pos: s.end, ch: ch, subs: c.subs[:0]}
	return c
}

// sealOpen ends the open commit: its length is fixed, and with it the place of the next one.
func (w *WAL) sealOpen() {
	c := w.open
	size := alignUp(int64(len(c.buf)))
	if half := w.o.ZeroStep / 2; c.slot.end/half != (c.slot.end+size)/half {
		poke(w.kickFill) // to stay ahead of the writer
	}
	c.slot.end += size
	c.ch.used += int(size)
	w.open = nil
	w.queue = append(w.queue, c)
}

// wakeCommitter tells the commit goroutine, if it sleeps, that there is work.
func (w *WAL) wakeCommitter() {
	if w.idle {
		w.idle = false
		poke(w.kick)
	}
}

// startDeferred lets a commit of deferred records begin.
func (w *WAL) startDeferred() {
	if w.open != nil && w.open.defers {
		w.open.defers = false
		w.wakeCommitter()
	}
}

// waitFilled waits until the filler has made progress towards *want = position in slot s, nil for one that is to be
// made.
func (w *WAL) waitFilled(s *slot, want *int64, position int64) error {
	*want = max(*want, position)
	poke(w.kickFill)
	if w.noSpace && (s == nil || s.short) {
		return ErrNoSpace
	}
	w.wait()
	return nil
}

// roll closes the active slot with a Roll commit and enters the next one, which must be ready for a commit of size
// bytes.
func (w *WAL) roll(size int64) error {
	if len(w.free) == 0 {
		switch {
		case len(w.retired) > 0: // needs no space
			poke(w.kickFill)
			w.wait()
			return nil
		case w.files >= w.maxSlots():
			return ErrFull
		}
		return w.waitFilled(nil, &w.wantNext, blockSize)
	}
	ready := blockSize + size + rollRoom(3) + blockSize
	if w.o.Reserve > 0 {
		ready = w.o.SlotBytes // torn commits are told from damage by zeros, so all of it must be zero
	}
	// Any will do; the first is the one that the filler works on.
	i := max(0, slices.IndexFunc(w.free, func(s *slot) bool { return s.filled >= ready }))
	next := w.free[i]
	if next.filled < ready {
		return w.waitFilled(next, &w.wantNext, ready)
	}
	a := w.active()
	payload := rollPayloadSize(len(a.positions) + 1)
	rollSize := alignUp(commitHeaderSize + frameHeaderSize + int64(payload))
	if a.end+rollSize > a.filled {
		return w.waitFilled(a, &w.wantActive, a.end+rollSize)
	}
	c, err := w.openCommit(rollSize)
	if c == nil || err != nil {
		return err
	}
	w.free = slices.Delete(w.free, i, i+1)
	next.enter(a.gen+1, w.nextSeq, c.pos, w.o.bugs.salt())
	r := rollPayload{Slot: uint32(next.number), Salt: next.salt, FirstSeq: next.firstSeq, Index: a.positions}
	c.own(kindRoll, payload, r.encode)
	c.next = next
	w.sealOpen()
	w.slots = append(w.slots, next)
	w.wantActive, w.wantNext = w.wantNext, 0
	poke(w.kickFill)
	w.wakeCommitter()
	return nil
}

// own appends a frame of the log itself, which is counted nowhere.
func (c *commit) own(kind byte, size int, fill func([]byte)) {
	at := len(c.buf)
	c.buf = c.buf[:at+frameHeaderSize+size]
	frame := c.buf[at:]
	fill(frame[frameHeaderSize:])
	putFrameHeader(frame, kind, size, crc(frame[frameHeaderSize:]))
	c.sum = crc32.Update(c.sum, castagnoli, frame[:frameHeaderSize])
	c.frames++
}
