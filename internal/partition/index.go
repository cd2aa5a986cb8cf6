package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"
	"sync"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
)

// Index files are lists of fixed entries, big endian, sorted.
//
//	.index      {offset - base 4, position 4}: a batch that begins there, one for every index.interval.bytes and one for the first
//	.timeindex  {largest time so far 8, offset - base 4}: one for each entry of .index, for the same batch
//
// They are synced when the segment is sealed. Before, a crash may leave anything in them: prepare keeps the part that makes sense and
// rebuilds the rest from the segment's synced bytes.
const (
	indexEntry = 8
	timeEntry  = 12
)

var scanBuffers = sync.Pool{New: func() any { b := make([]byte, scanBlock); return &b }}

func getScanBuffer() *[]byte  { return scanBuffers.Get().(*[]byte) }
func putScanBuffer(b *[]byte) { scanBuffers.Put(b) }

// indexWriter collects entries for batches as they are written.
type indexWriter struct {
	some  bool
	since int64 // bytes since the last entry
	maxTs int64 // of all batches so far
	offs  []byte
	times []byte
}

func (w *indexWriter) add(base, segBase, position, ts, size, interval int64) {
	w.maxTs = max(w.maxTs, ts)
	if w.since += size; w.some && w.since-size < interval {
		return
	}
	w.some, w.since = true, size
	w.offs = binary.BigEndian.AppendUint32(w.offs, uint32(base-segBase))
	w.offs = binary.BigEndian.AppendUint32(w.offs, uint32(position))
	w.times = binary.BigEndian.AppendUint64(w.times, uint64(w.maxTs))
	w.times = binary.BigEndian.AppendUint32(w.times, uint32(base-segBase))
}

// flush writes the collected entries.
func (w *indexWriter) flush(h *segmentFiles) error {
	if len(w.offs) == 0 {
		return nil
	}
	s := h.seg
	if _, err := h.index.WriteAt(w.offs, s.entries.Load()*indexEntry); err != nil {
		return fmt.Errorf("write index of %s: %w", s.path, err)
	}
	if _, err := h.time.WriteAt(w.times, s.entries.Load()*timeEntry); err != nil {
		return fmt.Errorf("write time index of %s: %w", s.path, err)
	}
	s.entries.Add(int64(len(w.offs) / indexEntry))
	w.offs, w.times = w.offs[:0], w.times[:0]
	return nil
}

// prepare checks the indexes against the synced bytes of the segment, once after a start, and completes them.
func (h *segmentFiles) prepare(interval int64) error {
	s := h.seg
	if s.prepared.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prepared.Load() {
		return nil
	}
	size := s.size.Load()
	offs, times, err := h.readIndexes(size)
	if err != nil {
		return err
	}
	w := indexWriter{maxTs: noMaxTs}
	from := int64(0)
	if len(offs) > 0 {
		from = int64(binary.BigEndian.Uint32(offs[len(offs)-4:]))
		w.maxTs = int64(binary.BigEndian.Uint64(times[len(times)-timeEntry:]))
	}
	if err := h.complete(&w, offs, from, size, interval); err != nil {
		if len(offs) == 0 {
			return err
		}
		// The index may be at fault, not the segment: do without it.
		offs, times, w = nil, nil, indexWriter{maxTs: noMaxTs}
		if err := h.complete(&w, nil, 0, size, interval); err != nil {
			return err
		}
	}
	if err := errors.Join(h.index.Truncate(int64(len(offs))), h.time.Truncate(int64(len(times)))); err != nil {
		return fmt.Errorf("cut indexes of %s: %w", s.path, err)
	}
	s.entries.Store(int64(len(offs) / indexEntry))
	if err := w.flush(h); err != nil && !isNoSpace(err) {
		return err
	}
	// On a full disk the entries that could not be written are missed: lookups scan from the last one.
	w.offs, w.times = nil, nil
	s.maxTs.Store(w.maxTs)
	s.w = w
	s.prepared.Store(true)
	return nil
}

// complete scans from the last index entry on and adds what is missing.
func (h *segmentFiles) complete(w *indexWriter, offs []byte, from, size, interval int64) error {
	first, wrong := true, false
	err := h.scan(from, size, func(hdr *recordbatch.Header, pos int64) bool {
		if first && len(offs) > 0 {
			first = false
			if hdr.BaseOffset-h.seg.base != int64(binary.BigEndian.Uint32(offs[len(offs)-indexEntry:])) {
				wrong = true
				return false
			}
			w.some, w.since = true, int64(hdr.Size())
			w.maxTs = max(w.maxTs, hdr.MaxTimestamp)
			return true
		}
		w.add(hdr.BaseOffset, h.seg.base, pos, hdr.MaxTimestamp, int64(hdr.Size()), interval)
		return true
	})
	if wrong {
		return fmt.Errorf("check index of %s: %w", h.seg.path, ErrCorrupt)
	}
	return err
}

// readIndexes returns the leading parts of both index files that are in order and lie in the segment's size bytes.
func (h *segmentFiles) readIndexes(size int64) (offs, times []byte, err error) {
	if offs, err = readWhole(h.index, indexEntry); err != nil {
		return nil, nil, err
	}
	if times, err = readWhole(h.time, timeEntry); err != nil {
		return nil, nil, err
	}
	be := binary.BigEndian
	n, last, lastPos, lastTs := 0, int64(-1), int64(-1), int64(noMaxTs)
	for ; n < min(len(offs)/indexEntry, len(times)/timeEntry); n++ {
		rel, pos := int64(be.Uint32(offs[n*indexEntry:])), int64(be.Uint32(offs[n*indexEntry+4:]))
		ts, timeRel := int64(be.Uint64(times[n*timeEntry:])), int64(be.Uint32(times[n*timeEntry+8:]))
		if rel <= last || pos <= lastPos || pos >= size || n == 0 && pos != 0 || ts < lastTs || timeRel != rel {
			break
		}
		last, lastPos, lastTs = rel, pos, ts
	}
	return offs[:n*indexEntry], times[:n*timeEntry], nil
}

func readWhole(f vfs.File, unit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	size -= size % unit
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if int64(n) < size {
		return nil, fmt.Errorf("read index %s: %w", f.Name(), err)
	}
	return b, nil
}

// lookupOffset returns the position of a batch at or before offset.
func (h *segmentFiles) lookupOffset(offset int64) (int64, error) {
	rel := offset - h.seg.base
	size := h.seg.size.Load()
	var buf [indexEntry]byte
	var rerr error
	n := int(h.seg.entries.Load())
	i := sort.Search(n, func(i int) bool {
		if _, err := h.index.ReadAt(buf[:], int64(i)*indexEntry); err != nil {
			rerr = err
			return true
		}
		return int64(binary.BigEndian.Uint32(buf[:])) > rel || int64(binary.BigEndian.Uint32(buf[4:])) >= size
	})
	if rerr != nil {
		return 0, fmt.Errorf("read index of %s: %w: %w", h.seg.path, ErrCorrupt, rerr)
	}
	if i == 0 {
		return 0, nil
	}
	if _, err := h.index.ReadAt(buf[:], int64(i-1)*indexEntry); err != nil {
		return 0, fmt.Errorf("read index of %s: %w: %w", h.seg.path, ErrCorrupt, err)
	}
	return int64(binary.BigEndian.Uint32(buf[4:])), nil
}

// lookupTime returns a position before which all batches are older than ts; the first batch with a time >= ts, if the segment has one,
// is found by a scan from there.
func (h *segmentFiles) lookupTime(ts int64) (int64, error) {
	var buf [timeEntry]byte
	var rerr error
	i := sort.Search(int(h.seg.entries.Load()), func(i int) bool {
		if _, err := h.time.ReadAt(buf[:], int64(i)*timeEntry); err != nil {
			rerr = err
			return true
		}
		return int64(binary.BigEndian.Uint64(buf[:])) >= ts
	})
	if rerr == nil && i == 0 {
		return 0, nil
	}
	if rerr == nil {
		_, rerr = h.index.ReadAt(buf[:indexEntry], int64(i-1)*indexEntry)
	}
	if rerr != nil {
		return 0, fmt.Errorf("read time index of %s: %w: %w", h.seg.path, ErrCorrupt, rerr)
	}
	return int64(binary.BigEndian.Uint32(buf[4:])), nil
}
