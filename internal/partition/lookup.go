package partition

import (
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

const (
	// maxCounted is where Size stops.
	maxCounted = 64 << 20
	// viewStep is how many entries of the view are looked at under one hold of the lock.
	viewStep = 8192
)

// Size is about the bytes of batches in [from, limit), for fetch.min.bytes; it stops counting at 64 MiB.
func (l *Log) Size(from, limit int64) int64 { return l.SizeUpTo(from, limit, maxCounted) }

// SizeUpTo is Size for one who wants to know no more than whether there are enough bytes.
func (l *Log) SizeUpTo(from, limit, enough int64) int64 {
	enough = min(enough, maxCounted)
	var n int64
	if segEnd := l.segEnd.Load(); from < segEnd {
		segs, err := l.segments()
		if err != nil {
			return 1 // something is there: whoever reads it gets the error, who were told 0 would wait for ever
		}
		for i := max(segmentOf(segs, from), 0); i < len(segs) && segs[i].base < limit && n < enough; i++ {
			n += segs[i].size.Load()
		}
		from = segEnd
	}
	for n < enough && from < limit {
		size, next := l.viewSize(from, limit, enough-n)
		if next == from {
			break
		}
		n, from = n+size, next
	}
	return min(n, maxCounted)
}

func (l *Log) viewSize(from, limit, enough int64) (bytes, next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = from
	i := l.find(from)
	if i < len(l.view) && l.view[i].carried() {
		bytes = l.carriedBytes
	}
	for n := 0; i < len(l.view) && n < viewStep && bytes < enough && l.view[i].last() < limit; i, n = i+1, n+1 {
		bytes += l.view[i].size()
		next = l.view[i].last() + 1
	}
	return bytes, next
}

var noTimeOffset = TimeOffset{Offset: -1, TimestampMs: -1, LeaderEpoch: -1}

// OffsetForTime finds the first record with a time >= tsMs.
func (l *Log) OffsetForTime(tsMs int64) (TimeOffset, error) {
	return l.searchTime(func(maxTs int64) bool { return maxTs >= tsMs }, tsMs)
}

// MaxTimestamp finds the first record with the largest time.
func (l *Log) MaxTimestamp() (TimeOffset, error) {
	for range readAttempts {
		segEnd, start := l.segEnd.Load(), l.Start()
		largest, err := l.largestTime(start)
		if segEnd != l.segEnd.Load() || start != l.Start() {
			continue // what went wrong, if anything did, may be due to that
		}
		if err != nil {
			return noTimeOffset, err
		}
		if largest == noMaxTs {
			return noTimeOffset, nil
		}
		return l.OffsetForTime(largest)
	}
	return noTimeOffset, fmt.Errorf("search %s for the largest time: batches kept moving", l.id)
}

// largestTime is the largest max timestamp of the batches from the log start on; noMaxTs if there are none.
func (l *Log) largestTime(start int64) (int64, error) {
	largest := int64(noMaxTs)
	segs, err := l.segments()
	if err != nil {
		return 0, err
	}
	for i, s := range segs {
		if s.end.Load() <= start {
			continue
		}
		ts, err := l.segmentMaxTs(s)
		if err != nil {
			return 0, err
		}
		if i == 0 || s.base < start { // its largest time may lie below the start
			if ts, err = l.scanMaxTs(s, start); err != nil {
				return 0, err
			}
		}
		largest = max(largest, ts)
	}
	l.eachView(start, func(e *entry) bool {
		largest = max(largest, e.maxTs)
		return true
	})
	return largest, nil
}

// scanMaxTs returns the largest batch time in a segment from offset start on.
func (l *Log) scanMaxTs(s *segment, start int64) (int64, error) {
	h, err := l.store.files.open(s)
	if err != nil {
		return 0, fmt.Errorf("find times of %s: %w", l.id, err)
	}
	defer l.store.files.release(h)
	if start <= s.base {
		return s.maxTs.Load(), nil
	}
	pos, err := h.lookupOffset(start)
	if err != nil {
		return 0, err
	}
	largest := int64(noMaxTs)
	err = h.scan(pos, s.size.Load(), func(hdr *recordbatch.Header, _ int64) bool {
		if hdr.LastOffset() >= start {
			largest = max(largest, hdr.MaxTimestamp)
		}
		return true
	})
	return largest, err
}

// segmentMaxTs returns the largest batch time in a segment.
func (l *Log) segmentMaxTs(s *segment) (int64, error) {
	if s.prepared.Load() {
		return s.maxTs.Load(), nil
	}
	h, err := l.store.files.open(s)
	if err != nil {
		return 0, fmt.Errorf("find times of %s: %w", l.id, err)
	}
	defer l.store.files.release(h)
	return s.maxTs.Load(), nil
}

// eachView calls fn for the view's entries from offset from on, without holding the lock for long, until fn returns false.
func (l *Log) eachView(from int64, fn func(e *entry) bool) {
	for {
		l.mu.Lock()
		i := l.find(from)
		some := append([]entry(nil), l.view[i:min(len(l.view), i+viewStep)]...)
		l.mu.Unlock()
		if len(some) == 0 {
			return
		}
		for i := range some {
			if !fn(&some[i]) {
				return
			}
		}
		from = some[len(some)-1].last() + 1
	}
}

// searchTime finds the first batch, from the log start on, whose max timestamp satisfies want, and in it the first record with a time
// >= tsMs. If the batch has none (its header promised too much), the search goes on behind it.
func (l *Log) searchTime(want func(maxTs int64) bool, tsMs int64) (TimeOffset, error) {
	from := l.Start()
	for range readAttempts * readAttempts {
		base, err := l.findTime(from, want, tsMs)
		if err != nil || base < 0 {
			return noTimeOffset, err
		}
		batch, err := l.Read(nil, base, l.End(), 1, true)
		if err != nil {
			if from = l.Start(); from > base {
				continue
			}
			return noTimeOffset, fmt.Errorf("search %s for time %d: %w", l.id, tsMs, err)
		}
		hdr, err := recordbatch.ParseHeader(batch)
		if err != nil {
			return noTimeOffset, fmt.Errorf("search %s for time %d: %w: %w", l.id, tsMs, ErrCorrupt, err)
		}
		for r, err := range recordbatch.Records(batch, 0) {
			if err != nil {
				return noTimeOffset, fmt.Errorf("search %s for time %d: %w", l.id, tsMs, err)
			}
			if r.Timestamp >= tsMs && r.Offset >= from {
				return TimeOffset{Offset: r.Offset, TimestampMs: r.Timestamp, LeaderEpoch: hdr.LeaderEpoch}, nil
			}
		}
		from = hdr.LastOffset() + 1
	}
	return noTimeOffset, nil
}

// findTime returns an offset in the first batch from offset from on that satisfies want; -1 if there is none.
func (l *Log) findTime(from int64, want func(maxTs int64) bool, tsMs int64) (int64, error) {
	for range readAttempts {
		segEnd := l.segEnd.Load()
		at, err := l.findTimeOnce(from, want, tsMs)
		switch {
		case errors.Is(err, errMoved): // retention was quicker
			from = max(from, l.Start())
		case err != nil || l.segEnd.Load() == segEnd:
			return at, err
		}
	}
	return -1, fmt.Errorf("search %s for time %d: batches kept moving", l.id, tsMs)
}

func (l *Log) findTimeOnce(from int64, want func(maxTs int64) bool, tsMs int64) (int64, error) {
	if from < l.segEnd.Load() {
		segs, err := l.segments()
		if err != nil {
			return -1, err
		}
		for i := max(segmentOf(segs, from), 0); i < len(segs); i++ {
			ts, err := l.segmentMaxTs(segs[i])
			if err != nil {
				return -1, l.segmentError(segs, from, err)
			}
			if !want(ts) {
				continue
			}
			at, err := l.findTimeInSegment(segs[i], from, want, tsMs)
			if err != nil {
				return -1, l.segmentError(segs, from, err)
			}
			if at >= 0 {
				return at, nil
			}
		}
	}
	found := int64(-1)
	l.eachView(from, func(e *entry) bool {
		if want(e.maxTs) {
			found = max(e.base, from)
			return false
		}
		return true
	})
	return found, nil
}

func (l *Log) findTimeInSegment(s *segment, from int64, want func(maxTs int64) bool, tsMs int64) (int64, error) {
	h, err := l.store.files.open(s)
	if err != nil {
		return -1, err
	}
	defer l.store.files.release(h)
	pos, err := h.lookupTime(tsMs)
	if err != nil {
		return -1, err
	}
	if from > s.base {
		p, err := h.lookupOffset(from)
		if err != nil {
			return -1, err
		}
		pos = max(pos, p)
	}
	found := int64(-1)
	err = h.scan(pos, s.size.Load(), func(hdr *recordbatch.Header, _ int64) bool {
		if hdr.LastOffset() >= from && want(hdr.MaxTimestamp) {
			found = max(hdr.BaseOffset, from)
			return false
		}
		return true
	})
	return found, err
}

// SegmentInfos lists the pieces of the log, oldest first: segment files, then what is in the WAL only.
func (l *Log) SegmentInfos() ([]SegmentInfo, error) {
	segs, err := l.segments()
	if err != nil {
		return nil, err
	}
	out := make([]SegmentInfo, 0, len(segs)+1)
	for _, s := range segs {
		if end := s.end.Load(); end > l.Start() {
			out = append(out, SegmentInfo{BaseOffset: s.base, EndOffset: end, Bytes: s.size.Load()})
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.view) > 0 || len(out) == 0 {
		out = append(out, SegmentInfo{BaseOffset: l.segEnd.Load(), EndOffset: l.end.Load(), Bytes: l.viewBytes + l.carriedBytes, InWAL: true})
	}
	return out, nil
}
