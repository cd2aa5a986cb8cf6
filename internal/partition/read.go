package partition

import (
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/wal"
)

const (
	// readAttempts bounds how often a read starts over because batches moved from the WAL to a segment, or below the log start, meanwhile.
	readAttempts = 16
	// readEntries is how many batches of the view one step of a read takes under the lock.
	readEntries = 64
	// MaxReadBytes bounds one Read, whatever the caller asks for, except for a first batch that is larger.
	MaxReadBytes = 64 << 20
)

// errMoved: what the read looked for is now elsewhere; start over.
var errMoved = errors.New("partition: moved")

// Read appends whole batches to dst: the first contains from, all end below limit (a high watermark), all fit into maxBytes, except
// the first if minOne. Nothing is appended when from is the end or limit. It may return less than there is: a read does not go on from
// segments into the WAL. ErrOutOfRange, ErrCorrupt.
func (l *Log) Read(dst []byte, from, limit int64, maxBytes int, minOne bool) ([]byte, error) {
	maxBytes = min(maxBytes, MaxReadBytes)
	for range readAttempts {
		out, err := l.readOnce(dst, from, limit, maxBytes, minOne)
		if !errors.Is(err, errMoved) {
			return out, err
		}
	}
	return dst, fmt.Errorf("read %s at %d: batches kept moving", l.id, from)
}

func (l *Log) readOnce(dst []byte, from, limit int64, maxBytes int, minOne bool) ([]byte, error) {
	if start, end := l.Start(), l.End(); from < start || from > end {
		return dst, fmt.Errorf("read %s at %d, log is %d to %d: %w", l.id, from, start, end, ErrOutOfRange)
	}
	if from >= limit {
		return dst, nil
	}
	if from < l.segEnd.Load() {
		return l.readSegments(dst, from, min(limit, l.segEnd.Load()), maxBytes, minOne)
	}
	return l.readView(dst, from, limit, maxBytes, minOne)
}

// readView reads from the WAL. Entries are copied under the lock and their bytes read without it.
func (l *Log) readView(dst []byte, from, limit int64, maxBytes int, minOne bool) ([]byte, error) {
	var some [readEntries]entry
	begin := len(dst)
	for {
		batch, err := l.pick(some[:0], from, limit, maxBytes-(len(dst)-begin), minOne && len(dst) == begin)
		if err != nil {
			if len(dst) > begin && !errors.Is(err, ErrDropped) {
				return dst, nil
			}
			return dst[:begin], err
		}
		if len(batch) == 0 {
			return dst, nil
		}
		dst, err = l.fetch(dst, batch, from)
		if err != nil {
			if errors.Is(err, wal.ErrNotFound) {
				if len(dst) > begin { // some whole batches are there already
					return dst, nil
				}
				return dst, errMoved
			}
			return dst[:begin], fmt.Errorf("read %s at %d: %w", l.id, from, err)
		}
		if batch[0].carried() && len(dst)-begin > maxBytes {
			return l.trim(dst, begin, maxBytes, minOne), nil
		}
		from = batch[len(batch)-1].last() + 1
		if from >= limit {
			return dst, nil
		}
	}
}

// pick copies entries of the batches to read next: either all carried in one State, or none.
func (l *Log) pick(some []entry, from, limit int64, maxBytes int, minOne bool) ([]entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	if from < l.segEnd.Load() || from < l.start.Load() {
		return nil, errMoved
	}
	for i := l.find(from); i < len(l.view) && len(some) < cap(some); i++ {
		e := l.view[i]
		if e.last() >= limit || len(some) > 0 && some[0].carried() != e.carried() {
			break
		}
		if maxBytes -= int(e.size()); maxBytes < 0 && !(minOne && len(some) == 0) {
			break
		}
		some = append(some, e)
	}
	return some, nil
}

// fetch appends the bytes of the batches named by entries.
func (l *Log) fetch(dst []byte, entries []entry, from int64) ([]byte, error) {
	if entries[0].carried() {
		return l.fetchCarried(dst, entries)
	}
	for i := range entries {
		e := &entries[i]
		n := len(dst)
		var err error
		if dst, err = l.readPayload(dst, e); err != nil {
			return dst, err
		}
		if err := l.checkBatch(dst[n:], e); err != nil {
			return dst[:n], err
		}
	}
	return dst, nil
}

// readPayload appends the batch of a WAL record to dst. The record's prefix is made to land on the last bytes of dst, which are put back
// after that: so the batch needs no second copy.
func (l *Log) readPayload(dst []byte, e *entry) ([]byte, error) {
	if e.len < prefixSize+recordbatch.HeaderSize {
		return dst, fmt.Errorf("read batch %d of %s: %w", e.base, l.id, ErrCorrupt)
	}
	n := len(dst)
	if n < prefixSize {
		out, err := l.store.wal.Read(e.ref(), dst)
		if err != nil {
			return dst, mapWALError(err)
		}
		return append(out[:n], out[n+prefixSize:]...), nil
	}
	var saved [prefixSize]byte
	copy(saved[:], dst[n-prefixSize:])
	out, err := l.store.wal.Read(e.ref(), dst[:n-prefixSize])
	if err != nil {
		copy(dst[n-prefixSize:], saved[:])
		return dst, mapWALError(err)
	}
	copy(out[n-prefixSize:], saved[:])
	return out, nil
}

func (l *Log) checkBatch(b []byte, e *entry) error {
	h, err := recordbatch.ParseHeader(b)
	if err != nil || h.Size() != len(b) || h.BaseOffset != e.base || h.LastOffset() != e.last() {
		return fmt.Errorf("read batch %d of %s: %w", e.base, l.id, ErrCorrupt)
	}
	return nil
}

// fetchCarried appends batches that are inside one State record.
func (l *Log) fetchCarried(dst []byte, entries []entry) ([]byte, error) {
	buf, err := l.store.wal.Read(entries[0].ref(), nil)
	if err != nil {
		return dst, mapWALError(err)
	}
	p, rest, err := parsePrefix(buf)
	if err != nil {
		return dst, err
	}
	st, _, err := decodeState(p, rest)
	if err != nil {
		return dst, err
	}
	b := st.carried
	for i := range entries {
		e := &entries[i]
		for {
			h, err := recordbatch.ParseHeader(b)
			if err != nil || h.Size() > len(b) || h.BaseOffset > e.base {
				return dst, fmt.Errorf("read carried batch %d of %s: %w", e.base, l.id, ErrCorrupt)
			}
			if h.BaseOffset == e.base {
				dst = append(dst, b[:h.Size()]...)
				b = b[h.Size():]
				break
			}
			b = b[h.Size():]
		}
	}
	return dst, nil
}

// trim cuts dst to whole batches of at most maxBytes from begin on, the first one excepted if minOne.
func (l *Log) trim(dst []byte, begin, maxBytes int, minOne bool) []byte {
	at := begin
	for at < len(dst) {
		h, err := recordbatch.ParseHeader(dst[at:])
		if err != nil {
			break
		}
		if next := at + h.Size(); next-begin <= maxBytes || minOne && at == begin {
			at = next
			continue
		}
		break
	}
	return dst[:at]
}

// readSegments reads from the segment that holds from.
func (l *Log) readSegments(dst []byte, from, limit int64, maxBytes int, minOne bool) ([]byte, error) {
	segs, err := l.segments()
	if err != nil {
		return dst, err
	}
	i := segmentOf(segs, from)
	if i < 0 {
		err = fmt.Errorf("no segment holds it: %w", ErrCorrupt)
	} else if dst, err = l.readSegment(segs[i], dst, from, limit, maxBytes, minOne); err == nil {
		return dst, nil
	}
	return dst, l.segmentError(segs, from, err)
}

// segmentError tells what it means that reading segs at from failed.
func (l *Log) segmentError(segs []*segment, from int64, err error) error {
	if now := l.segs.Load(); l.Start() > from || l.segEnd.Load() <= from || now == nil || !slices.Equal(*now, segs) {
		return errMoved // what went wrong may be due to that
	}
	if errors.Is(err, errSegmentGone) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("read %s at %d: %w", l.id, from, err)
}
