package wal

import (
	"fmt"
	"slices"
)

// Read appends the payload of ref to dst: from memory when the commit is still there, else from the file, verified.
// Errors: ErrNotFound when the commit is gone or is not there, ErrCorrupt when its bytes are damaged, ErrClosed; dst
// is returned unchanged then.
func (w *WAL) Read(ref Ref, dst []byte) ([]byte, error) {
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return dst, ErrClosed
	}
	if ch, at := w.ring.find(ref.Seq); ch != nil {
		ch.pins.Add(1)
		w.mu.Unlock()
		defer w.unpinChunk(ch)
		from := uint64(at) + uint64(ref.Off)
		if to := from + uint64(ref.Len); ref.Off >= commitHeaderSize+frameHeaderSize && to <= uint64(len(ch.mem)) {
			if h, ok := getFrameHeader(ch.mem[from-frameHeaderSize:]); ok && h.Len == ref.Len {
				return append(dst, ch.mem[from:to]...), nil
			}
		}
		return dst, fmt.Errorf("read commit %d at %d: %w", ref.Seq, ref.Off, ErrNotFound)
	}
	s, pos := w.findSlot(ref.Seq)
	if s == nil {
		w.mu.Unlock()
		return dst, fmt.Errorf("read commit %d: %w", ref.Seq, ErrNotFound)
	}
	s.pins.Add(1)
	w.mu.Unlock()
	defer w.unpinSlot(s)
	return readFrame(s, pos, ref, dst)
}

// findSlot returns the slot of a commit and the commit's position in it; mu is held.
func (w *WAL) findSlot(seq uint64) (*slot, int64) {
	i, found := slices.BinarySearchFunc(w.slots, seq, func(s *slot, seq uint64) int {
		switch {
		case seq < s.firstSeq:
			return 1
		case seq > s.lastSeq() || len(s.positions) == 0:
			return -1
		}
		return 0
	})
	if !found {
		return nil, 0
	}
	s := w.slots[i]
	pos, ok := s.position(seq)
	if !ok {
		return nil, 0
	}
	return s, pos
}

// readFrame reads one frame from the file and checks it.
func readFrame(s *slot, pos int64, ref Ref, dst []byte) ([]byte, error) {
	from := pos + int64(ref.Off) - frameHeaderSize
	if ref.Off < commitHeaderSize+frameHeaderSize || from+frameHeaderSize+int64(ref.Len) > s.size {
		return dst, fmt.Errorf("read commit %d at %d: %w", ref.Seq, ref.Off, ErrNotFound)
	}
	// The header is read together with the payload, onto the last bytes before it, which are put back. Where there are too few it goes
	// before the payload, which then is moved.
	base := len(dst)
	place := base - frameHeaderSize
	var saved [frameHeaderSize]byte
	if place < 0 {
		place = base
	}
	copy(saved[:], dst[place:])
	end := place + frameHeaderSize + int(ref.Len)
	out := slices.Grow(dst, end-base)[:end]
	frame := out[place:]
	n, err := s.f.ReadAt(frame, from)
	h, ok := getFrameHeader(frame)
	ok = n == len(frame) && ok && h.Len == ref.Len && crc(frame[frameHeaderSize:]) == h.CRC
	if place < base {
		copy(frame, saved[:])
	} else {
		out = out[:base+copy(frame, frame[frameHeaderSize:])]
	}
	switch {
	case n < len(frame):
		return dst, fmt.Errorf("read commit %d from %s at %d: %w", ref.Seq, s.path, from, err)
	case !ok:
		return dst, fmt.Errorf("read commit %d from %s at %d: %w", ref.Seq, s.path, from, ErrCorrupt)
	}
	return out, nil
}

func (w *WAL) unpinChunk(c *chunk) {
	c.pins.Add(-1)
	// Whoever found the chunk pinned has set waiting before it looked.
	if w.ring.waiting.Load() {
		w.mu.Lock()
		w.wake()
		w.mu.Unlock()
	}
}

func (w *WAL) unpinSlot(s *slot) {
	if s.pins.Add(-1) > 0 {
		return
	}
	w.mu.Lock()
	if len(w.retired) > 0 {
		poke(w.kickFill)
	}
	w.wake()
	w.mu.Unlock()
}
