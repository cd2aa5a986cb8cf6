package wal

import "fmt"

// scanSlot verifies the commits of a slot and hands out their records. Damage with valid commits behind it is
// reported on the way.
func (r *recovery) scanSlot(f, next *slotFile) (tail, error) {
	rd := r.reader(f)
	defer func() { r.buf = rd.buf }()
	if t, ok, err := r.useIndex(f, next, rd); ok || err != nil {
		return t, err
	}
	t := tail{pos: blockSize, seq: f.firstSeq}
	for t.pos+blockSize <= f.size {
		v, h, data, why, err := f.examine(rd, t.pos, t.seq)
		if err != nil {
			return t, err
		}
		if v == commitValid {
			if err := r.accept(f, &t, h, data); err != nil || t.rolled {
				return t, err
			}
			continue
		}
		at, later, found, possible, err := f.findLater(rd, t.pos, t.seq)
		switch {
		case err != nil:
			return t, err
		case !found && rd.end < f.needed(t.pos, v, h):
			t.v, t.why = commitBad, fmt.Sprintf("file ends at %d, inside the space that was filled for commits", rd.end)
			return t, nil
		case !found:
			return r.endOf(f, rd, t, v, why)
		case !possible:
			t.v, t.why = commitBad, fmt.Sprintf("commit %d where %d is the next", later.Seq, t.seq)
			return t, nil
		}
		if why == "" {
			why = "commit missing"
		}
		fault := Fault{FromSeq: t.seq, ToSeq: later.Seq - 1, Slot: f.number, Position: t.pos, Why: why}
		if err := r.addFault(fault); err != nil {
			return t, err
		}
		f.positions = append(f.positions, make([]uint32, later.Seq-t.seq)...)
		t.pos, t.seq, f.end = at, later.Seq, at
	}
	t.v = commitNone
	return t, nil
}

// needed is how long the file has been for certain, when no commit follows pos: commits are placed on filled space only,
// and there is always room behind the last one for the Roll. A shorter file has lost its end, maybe commits with it.
func (f *slotFile) needed(pos int64, v verdict, h commitHeader) int64 {
	switch {
	case v == commitTorn:
		return pos + h.size()
	case len(f.positions) > 0 || f.prevRoll != 0:
		return pos + blockSize
	}
	return 0 // a slot that no Roll leads to begins with nothing but its header
}

// endOf describes the end of a slot behind which no commit follows.
func (r *recovery) endOf(f *slotFile, rd *reader, t tail, v verdict, why string) (tail, error) {
	t.v, t.why = v, why
	if !f.zeroed || v == commitBad {
		return t, nil
	}
	dirty, err := f.lastNonZero(rd, t.pos)
	if err != nil {
		return t, err
	}
	if dirty > t.pos {
		t.dirty = dirty
		if v == commitNone {
			t.v, t.why = commitTorn, "commit header missing"
		}
	}
	return t, nil
}

// accept takes a valid commit into the index and replays its records.
func (r *recovery) accept(f *slotFile, t *tail, h commitHeader, data []byte) error {
	f.positions = append(f.positions, uint32(t.pos/blockSize))
	r.last = lastCommit{s: f, pos: t.pos, size: h.size()}
	r.rec.LastMark, r.rec.Clean = h.Mark, false
	r.rec.Bytes += h.size()
	err := eachFrame(h, data, func(kind byte, off int, payload []byte) error {
		switch {
		case kind >= FirstUserKind:
			if h.Seq < r.w.o.ReplayFrom {
				return nil
			}
			r.rec.Records++
			return r.replay(Record{Kind: kind, Ref: Ref{h.Seq, uint32(off), uint32(len(payload))}, Payload: payload})
		case kind == kindSeal:
			r.last.seal, r.rec.Clean = true, len(payload) == 1 && payload[0] == 1
		case kind == kindRoll:
			roll, ok := decodeRollPayload(payload)
			if !ok || roll.FirstSeq != h.Seq+1 {
				return fmt.Errorf("%s at %d: Roll makes no sense: %w", f.path, t.pos, ErrCorrupt)
			}
			t.rolled, t.roll = true, roll
		default:
			return fmt.Errorf("%s at %d: frame of kind %d: %w", f.path, t.pos, kind, ErrVersion)
		}
		return nil
	})
	t.pos += h.size()
	t.seq++
	f.end, f.rolled = t.pos, t.rolled
	return err
}

// useIndex takes the positions of a sealed slot from its Roll commit when none of its records are wanted.
func (r *recovery) useIndex(f, next *slotFile, rd *reader) (t tail, ok bool, err error) {
	if next == nil || next.prevRoll < blockSize || next.prevRoll%blockSize != 0 || int64(next.prevRoll)+blockSize > f.size ||
		next.firstSeq > r.w.o.ReplayFrom || next.gen != f.gen+1 {
		return t, false, nil
	}
	pos := int64(next.prevRoll)
	v, h, data, _, err := f.examine(rd, pos, next.firstSeq-1)
	if err != nil || v != commitValid {
		return t, false, err
	}
	t = tail{pos: pos, seq: h.Seq}
	found := false
	err = eachFrame(h, data, func(kind byte, _ int, payload []byte) error {
		if kind == kindRoll {
			t.roll, found = decodeRollPayload(payload)
		}
		return nil
	})
	n := uint64(len(t.roll.Index))
	if err != nil || !found || h.Frames != 1 || n != h.Seq-f.firstSeq+1 || int64(t.roll.Index[n-1])*blockSize != pos {
		return t, false, err
	}
	if err := r.accept(f, &t, h, data); err != nil {
		return t, false, err
	}
	f.positions = t.roll.Index
	return t, true, nil
}
