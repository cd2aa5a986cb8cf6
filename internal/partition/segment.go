package partition

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
)

const (
	logSuffix   = ".log"
	indexSuffix = ".index"
	timeSuffix  = ".timeindex"

	// maxSegmentBytes keeps positions in 32 bits.
	maxSegmentBytes = math.MaxInt32
	// scanBlock is how much is read at a time when headers are walked, walkBlock where few are expected.
	scanBlock = 64 << 10
	walkBlock = 4 << 10
)

// errSegmentGone: the file was removed by retention.
var errSegmentGone = errors.New("partition: segment removed")

// segment is one file of a log with its two indexes. Only the last of a log grows, by the maintenance.
type segment struct {
	path string // without suffix
	base int64

	end   atomic.Int64 // exclusive; of the last segment: of its synced part
	size  atomic.Int64 // bytes; of the last segment: synced
	maxTs atomic.Int64 // largest batch time; noMaxTs until prepared
	hint  atomic.Pointer[readHint]

	mu       sync.Mutex   // held by prepare
	prepared atomic.Bool  // the indexes were checked against the file since the start
	entries  atomic.Int64 // valid entries of both indexes

	w indexWriter // used by the maintenance only
}

const noMaxTs = math.MinInt64

// readHint is where the last read ended, so that the next of the same consumer needs no search.
type readHint struct{ offset, position int64 }

func newSegment(dir string, base int64) *segment {
	s := &segment{path: filepath.Join(dir, fmt.Sprintf("%020d", base)), base: base}
	s.maxTs.Store(noMaxTs)
	s.w.maxTs = noMaxTs
	return s
}

// segmentOf returns the index of the segment whose base is the last <= offset; -1 if none.
func segmentOf(segs []*segment, offset int64) int {
	return sort.Search(len(segs), func(i int) bool { return segs[i].base > offset }) - 1
}

// dir is the directory of the partition's segments.
func (l *Log) dir() string {
	return filepath.Join(l.store.topicsDir, l.id.Topic.String(), strconv.Itoa(int(l.id.Partition)))
}

// segments returns the list of segments, oldest first; it is read from the directory when first needed.
func (l *Log) segments() ([]*segment, error) {
	if p := l.segs.Load(); p != nil {
		return *p, nil
	}
	l.segMu.Lock()
	defer l.segMu.Unlock()
	if p := l.segs.Load(); p != nil {
		return *p, nil
	}
	for range readAttempts {
		l.mu.Lock()
		start, segEnd, active, gen, err := l.start.Load(), l.segEnd.Load(), l.active, l.viewGen, l.usable()
		l.mu.Unlock()
		if err != nil {
			return nil, err
		}
		segs, err := l.listSegments(start, segEnd, active)
		l.mu.Lock()
		same := gen == l.viewGen
		if same && err == nil {
			l.segs.Store(&segs)
		}
		l.mu.Unlock()
		if !same { // the list is of before a Reset
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open segments of %s: %w", l.id, err)
		}
		return segs, nil
	}
	return nil, fmt.Errorf("open segments of %s: the log kept changing", l.id)
}

// listSegments reads the directory, removes what lies above the synced end, and cuts the last segment.
func (l *Log) listSegments(start, segEnd int64, active activeMark) ([]*segment, error) {
	bases, err := segmentBases(l.store.fs, l.dir())
	if err != nil {
		return nil, err
	}
	n := sort.Search(len(bases), func(i int) bool { return bases[i] > active.base })
	if n < len(bases) && !l.store.bugs.noCut {
		// What made them useless must be durable first.
		if err := l.store.syncWAL(); err != nil {
			return nil, err
		}
		for _, base := range bases[n:] {
			if err := removeSegment(l.store.fs, newSegment(l.dir(), base).path); err != nil {
				return nil, err
			}
		}
	}
	var segs []*segment
	for _, base := range bases[:n] {
		segs = append(segs, newSegment(l.dir(), base))
	}
	if active.base < 0 {
		if start < segEnd {
			return nil, fmt.Errorf("log starts at %d, no segment is named for it: %w", start, ErrCorrupt)
		}
		return nil, nil
	}
	if n := len(segs); n == 0 || segs[n-1].base != active.base || segs[0].base > start {
		return nil, fmt.Errorf("segments do not reach from %d to %d: %w", start, active.base, ErrCorrupt)
	}
	for i, s := range segs {
		info, err := l.store.fs.Stat(s.path + logSuffix)
		if err != nil {
			return nil, err
		}
		s.size.Store(info.Size())
		if i+1 < len(segs) {
			s.end.Store(segs[i+1].base)
		}
	}
	last := segs[len(segs)-1]
	last.end.Store(segEnd)
	if l.store.bugs.noCut {
		return segs, nil
	}
	return segs, cutSegment(l.store.fs, last, active.bytes)
}

// cutSegment removes what was written to a segment after its last synced end.
func cutSegment(fsys vfs.FS, s *segment, size int64) error {
	was := s.size.Swap(size)
	if was < size {
		return fmt.Errorf("segment %s has %d bytes, %d were synced: %w", s.path, was, size, ErrCorrupt)
	}
	if was == size {
		return nil
	}
	f, err := fsys.OpenFile(s.path+logSuffix, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	return errors.Join(err, f.Close())
}

// segmentBases lists the base offsets of the segment files in dir, in order. A missing directory has none.
func segmentBases(fsys vfs.FS, dir string) ([]int64, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), logSuffix)
		if !ok {
			continue
		}
		base, err := strconv.ParseInt(name, 10, 64)
		if err != nil || len(name) != 20 || base < 0 {
			continue
		}
		bases = append(bases, base)
	}
	return bases, nil // ReadDir sorts by name, and names have one length
}

// removeSegment deletes the files of a segment, the log last, so that an interrupted removal is found again.
func removeSegment(fsys vfs.FS, path string) error {
	for _, suffix := range []string{timeSuffix, indexSuffix, logSuffix} {
		if err := fsys.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// scan walks the batch headers in [from, to) of the segment, positions of batches both, and calls fn for each until it returns false.
func (h *segmentFiles) scan(from, to int64, fn func(hdr *recordbatch.Header, position int64) bool) error {
	return h.scanBy(scanBlock, from, to, fn)
}

// scanBy is scan with reads of at most size bytes.
func (h *segmentFiles) scanBy(size, from, to int64, fn func(hdr *recordbatch.Header, position int64) bool) error {
	buf := getScanBuffer()
	defer putScanBuffer(buf)
	var block []byte
	var blockAt int64
	next := int64(-1)
	for pos := from; pos < to; {
		if pos < blockAt || pos+recordbatch.HeaderSize > blockAt+int64(len(block)) {
			if to-pos < recordbatch.HeaderSize {
				return fmt.Errorf("read segment %s at position %d of %d: %w", h.seg.path, pos, to, ErrCorrupt)
			}
			block, blockAt = (*buf)[:min(size, to-pos)], pos
			if err := h.readAt(block, pos); err != nil {
				return err
			}
		}
		hdr, err := recordbatch.ParseHeader(block[pos-blockAt:])
		if err != nil || hdr.BaseOffset < next || hdr.BaseOffset < h.seg.base || pos+int64(hdr.Size()) > to {
			return fmt.Errorf("read segment %s at position %d: %w", h.seg.path, pos, ErrCorrupt)
		}
		if !fn(&hdr, pos) {
			return nil
		}
		next = hdr.LastOffset() + 1
		pos += int64(hdr.Size())
	}
	return nil
}

func (h *segmentFiles) readAt(p []byte, pos int64) error {
	n, err := h.log.ReadAt(p, pos)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read segment %s at position %d: %w: %w", h.seg.path, pos, ErrCorrupt, err)
}

// locate finds the first batch whose last offset is >= offset; position -1 if there is none.
func (h *segmentFiles) locate(offset int64) (hdr recordbatch.Header, position int64, err error) {
	from, to := int64(-1), h.seg.size.Load()
	if hint := h.seg.hint.Load(); hint != nil && hint.offset == offset && hint.position < to {
		from = hint.position
	} else if from, err = h.lookupOffset(offset); err != nil {
		return hdr, -1, err
	}
	position = -1
	err = h.scanBy(walkBlock, from, to, func(x *recordbatch.Header, pos int64) bool {
		if x.LastOffset() < offset {
			return true
		}
		hdr, position = *x, pos
		return false
	})
	return hdr, position, err
}

// readSegment is Read within one segment.
func (l *Log) readSegment(s *segment, dst []byte, from, limit int64, maxBytes int, minOne bool) ([]byte, error) {
	h, err := l.store.files.open(s)
	if err != nil {
		return dst, err
	}
	defer l.store.files.release(h)
	first, pos, err := h.locate(from)
	if err != nil {
		return dst, err
	}
	if pos < 0 || first.BaseOffset > from { // offsets have no gaps until there is compaction
		return dst, fmt.Errorf("segment %s has no batch with offset %d: %w", s.path, from, ErrCorrupt)
	}
	if first.LastOffset() >= limit {
		return dst, nil
	}
	n := int64(maxBytes)
	if int64(first.Size()) > n {
		if !minOne {
			return dst, nil
		}
		n = int64(first.Size())
	}
	if int64(first.Size()) > n/2 {
		n = int64(first.Size()) // a second one hardly fits: read nothing in vain
	}
	n = min(n, s.size.Load()-pos)
	begin := len(dst)
	dst = grow(dst, int(n))
	if err := h.readAt(dst[begin:], pos); err != nil {
		return dst[:begin], err
	}
	at, next := begin, from
	for at < len(dst) {
		if len(dst)-at < recordbatch.HeaderSize {
			break
		}
		hdr, err := recordbatch.ParseHeader(dst[at:])
		if err != nil || at > begin && hdr.BaseOffset < next {
			if at > begin {
				break // what is before is good; the next read finds this
			}
			return dst[:begin], fmt.Errorf("read segment %s at position %d: %w", s.path, pos, ErrCorrupt)
		}
		if at+hdr.Size() > len(dst) || hdr.LastOffset() >= limit {
			break
		}
		if _, err := recordbatch.VerifyCRC(dst[at:]); err != nil { // the memory is warm: this costs next to nothing
			if at > begin {
				break // as above
			}
			return dst[:begin], fmt.Errorf("read segment %s at position %d: %w: %w", s.path, pos, ErrCorrupt, err)
		}
		at += hdr.Size()
		next = hdr.LastOffset() + 1
	}
	s.hint.Store(&readHint{offset: next, position: pos + int64(at-begin)})
	return dst[:at], nil
}

// grow extends b by n bytes of any content.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b[:len(b)+n]
	}
	out := make([]byte, len(b)+n, max(len(b)+n, 2*cap(b)))
	copy(out, b)
	return out
}
