package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

// Extent is an exact run of whole batches: Bytes of them, the last one ending before offset End.
type Extent struct {
	Bytes int64
	End   int64 // exclusive; where the run began when there is nothing in it
}

// Extent finds without reading records how much there is to read: the batches that repeated calls of Read(.., End, ..) return from offset
// from on, within limit, maxBytes and minOne as in Read. Batches are kept verbatim, so the answer holds wherever they move to, until
// the log start passes from. It may be less than there is, and goes on from segments into the WAL. ErrOutOfRange, ErrCorrupt.
func (l *Log) Extent(from, limit int64, maxBytes int, minOne bool) (Extent, error) {
	left := int64(min(maxBytes, MaxReadBytes))
	all := Extent{End: from}
	for moved := 0; moved < readAttempts; {
		e, err := l.extentOnce(all.End, limit, left, minOne && all.Bytes == 0)
		switch {
		case errors.Is(err, errMoved):
			moved++
			continue
		case err != nil && all.Bytes > 0:
			return all, nil // whoever reads on from there is told
		case err != nil:
			return Extent{End: from}, err
		case e.Bytes == 0:
			return all, nil
		}
		all.Bytes, all.End, left = all.Bytes+e.Bytes, e.End, left-e.Bytes
		if left <= 0 {
			return all, nil
		}
	}
	if all.Bytes > 0 {
		return all, nil
	}
	return Extent{End: from}, fmt.Errorf("measure %s at %d: batches kept moving", l.id, from)
}

func (l *Log) extentOnce(from, limit, maxBytes int64, minOne bool) (Extent, error) {
	if start, end := l.Start(), l.End(); from < start || from > end {
		return Extent{}, fmt.Errorf("measure %s at %d, log is %d to %d: %w", l.id, from, start, end, ErrOutOfRange)
	}
	if from >= limit {
		return Extent{End: from}, nil
	}
	segEnd := l.segEnd.Load()
	if from >= segEnd {
		return l.viewExtent(from, limit, maxBytes, minOne)
	}
	segs, err := l.segments()
	if err != nil {
		return Extent{}, err
	}
	var e Extent
	i := segmentOf(segs, from)
	if i < 0 {
		err = fmt.Errorf("no segment holds it: %w", ErrCorrupt)
	} else if e, err = l.segmentExtent(segs[i], from, min(limit, segEnd), maxBytes, minOne); err == nil {
		return e, nil
	}
	return Extent{}, l.segmentError(segs, from, err)
}

// viewExtent measures what is in the WAL. The size of a carried batch is known only by reading the State that carries it; that is small.
func (l *Log) viewExtent(from, limit, maxBytes int64, minOne bool) (Extent, error) {
	e, carried, err := l.viewEntriesExtent(from, limit, maxBytes, minOne)
	if err != nil || !carried {
		return e, err
	}
	b, err := l.readOnce(nil, from, limit, int(maxBytes), minOne)
	if err != nil {
		return Extent{}, err
	}
	e = Extent{Bytes: int64(len(b)), End: from}
	for len(b) > 0 {
		h, err := recordbatch.ParseHeader(b)
		if err != nil || h.Size() > len(b) {
			return Extent{}, fmt.Errorf("measure %s at %d: %w", l.id, e.End, ErrCorrupt)
		}
		e.End = h.LastOffset() + 1
		b = b[h.Size():]
	}
	return e, nil
}

// viewEntriesExtent measures entries of the view, viewStep of them at most; carried is set when the first is carried in a State.
func (l *Log) viewEntriesExtent(from, limit, maxBytes int64, minOne bool) (e Extent, carried bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return Extent{}, false, err
	}
	if from < l.segEnd.Load() || from < l.start.Load() {
		return Extent{}, false, errMoved
	}
	e.End = from
	i := l.find(from)
	if i < len(l.view) && l.view[i].carried() {
		return e, true, nil
	}
	for n := 0; i < len(l.view) && n < viewStep; i, n = i+1, n+1 {
		v := &l.view[i]
		if v.carried() || v.last() >= limit || e.Bytes+v.size() > maxBytes && !(minOne && n == 0) {
			break
		}
		e.Bytes += v.size()
		e.End = v.last() + 1
	}
	return e, false, nil
}

// segmentExtent measures within one segment: up to the last batch that the index knows within the bounds, and from there on by walking.
func (l *Log) segmentExtent(s *segment, from, limit, maxBytes int64, minOne bool) (Extent, error) {
	h, err := l.store.files.open(s)
	if err != nil {
		return Extent{}, err
	}
	defer l.store.files.release(h)
	first, pos, err := h.locate(from)
	if err != nil {
		return Extent{}, err
	}
	if pos < 0 || first.BaseOffset > from {
		return Extent{}, fmt.Errorf("segment %s has no batch with offset %d: %w", s.path, from, ErrCorrupt)
	}
	none := Extent{End: from}
	if first.LastOffset() >= limit {
		return none, nil
	}
	if int64(first.Size()) > maxBytes {
		if !minOne {
			return none, nil
		}
		return Extent{Bytes: int64(first.Size()), End: first.LastOffset() + 1}, nil
	}
	stop := min(pos+maxBytes, s.size.Load())
	if at, base := h.lookupBefore(stop, limit); at > pos {
		if e, err := h.measure(pos, at, base, stop, limit); err == nil {
			return e, nil
		}
		// The index is wrong there; do without it.
	}
	return h.measure(pos, pos, first.BaseOffset, stop, limit)
}

// measure walks the batches from position at on, where one with offset base begins, up to stop and limit. What lies between pos and at
// is known to be whole batches.
func (h *segmentFiles) measure(pos, at, base, stop, limit int64) (Extent, error) {
	e := Extent{Bytes: at - pos, End: base}
	seen := false
	err := h.scanBy(walkBlock, at, h.seg.size.Load(), func(hdr *recordbatch.Header, p int64) bool {
		if !seen && hdr.BaseOffset != base {
			return false
		}
		seen = true
		if hdr.LastOffset() >= limit || p+int64(hdr.Size()) > stop {
			return false
		}
		e.Bytes += int64(hdr.Size())
		e.End = hdr.LastOffset() + 1
		return true
	})
	switch {
	case err == nil && !seen && at < h.seg.size.Load():
		return Extent{}, fmt.Errorf("measure segment %s at position %d: %w", h.seg.path, at, ErrCorrupt)
	case err != nil && (!seen || e.Bytes == 0):
		return Extent{}, err
	}
	return e, nil // what is before damage is good; the next read finds it
}

// lookupBefore returns the last batch in the index that begins at position stop or before and has no offset above limit; -1, -1 when
// there is none, or the index cannot be read.
func (h *segmentFiles) lookupBefore(stop, limit int64) (position, base int64) {
	var buf [indexEntry]byte
	failed := false
	read := func(i int) (offset, position int64) {
		if _, err := h.index.ReadAt(buf[:], int64(i)*indexEntry); err != nil {
			failed = true
		}
		return h.seg.base + int64(binary.BigEndian.Uint32(buf[:])), int64(binary.BigEndian.Uint32(buf[4:]))
	}
	i := sort.Search(int(h.seg.entries.Load()), func(i int) bool {
		offset, position := read(i)
		return failed || position > stop || offset > limit
	})
	if failed || i == 0 {
		return -1, -1
	}
	base, position = read(i - 1)
	if failed {
		return -1, -1
	}
	return position, base
}
