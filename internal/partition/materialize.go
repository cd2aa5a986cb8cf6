package partition

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

const (
	// writeBytes is how much is written to a segment at a time.
	writeBytes = 512 << 10
	// writeAlign is what the place in the file where such a write ends is a multiple of: no page is written twice, and the kernel can take
	// large ones.
	writeAlign = 64 << 10
	// materializeStep is how many entries of the view are copied under one hold of the lock.
	materializeStep = 4096
)

// errAbandoned: the log changed in a way that makes what was written useless.
var errAbandoned = errors.New("partition: log changed under what was written")

// materializer moves the batches of one log from the WAL to its segments. Store.maint is held for all of its life.
type materializer struct {
	l       *Log
	segs    []*segment
	known   int           // how many of segs were published before
	h       *segmentFiles // of the last segment
	cfg     LogConfig
	buf     []byte
	at      int64 // position of buf in the file
	created []*segment
	done    []segmentEnd // segments sealed on the way
	next    int64        // offset after the last batch written
	firstTs int64        // of the last segment's first batch; noMaxTs when empty
	gen     uint32       // the log's viewGen at the beginning
}

// segmentEnd is what a segment will be once it is published.
type segmentEnd struct {
	seg  *segment
	size int64
	end  int64
}

// materialize writes what the log has below its high watermark to segments, syncs it, and takes it out of the view. Store.maint is held.
func (s *Store) materialize(l *Log) error {
	if err := s.cleanLog(l); err != nil {
		return err
	}
	if s.noSpace.Load() {
		return fmt.Errorf("materialize %s: %w", l.id, ErrNoSpace)
	}
	segs, err := l.segments()
	if err != nil {
		return err
	}
	m := &materializer{l: l, segs: segs[:len(segs):len(segs)], known: len(segs), buf: s.takeBuffer()}
	defer func() { s.buffer = m.buf[:0] }()
	l.mu.Lock()
	m.gen = l.viewGen
	active, dirty := l.active, l.dirty
	m.cfg, m.next = *l.cfg, l.segEnd.Load()
	bound := min(l.hw.Load(), l.durable.Load())
	err = l.usable()
	l.mu.Unlock()
	if s.bugs.aboveHighWatermark {
		bound = l.durable.Load()
	}
	if err != nil || m.next >= bound || dirty { // dirty again: segs may be of before a Reset
		return err
	}
	from := m.next
	err = m.openLast(active)
	for err == nil {
		var n int
		if n, err = m.step(bound); n == 0 {
			break
		}
	}
	if err == nil && m.next > from {
		err = m.finish()
	}
	if s.bugs.meanwhile != nil {
		s.bugs.meanwhile(l)
	}
	if err == nil && m.next > from {
		err = m.publish()
	}
	if m.h != nil {
		s.files.release(m.h)
	}
	if err != nil {
		return m.abandon(err)
	}
	return nil
}

func (s *Store) takeBuffer() []byte {
	if s.buffer == nil {
		s.buffer = make([]byte, 0, writeBytes+128<<10)
	}
	return s.buffer[:0]
}

// openLast opens the segment to go on with, if there is one.
func (m *materializer) openLast(active activeMark) (err error) {
	m.firstTs = noMaxTs
	if active.base < 0 {
		return nil
	}
	last := m.segs[len(m.segs)-1]
	if m.h, err = m.l.store.files.open(last); err != nil {
		return err
	}
	m.at = last.size.Load()
	err = m.h.scan(0, m.at, func(hdr *recordbatch.Header, _ int64) bool {
		m.firstTs = hdr.MaxTimestamp
		return false
	})
	return err
}

// step writes some batches from m.next on that end below bound, and returns their number.
func (m *materializer) step(bound int64) (int, error) {
	l := m.l
	l.mu.Lock()
	if err := l.usable(); err != nil {
		l.mu.Unlock()
		return 0, err
	}
	if l.viewGen != m.gen { // nothing of after a Reset may touch the files of before
		l.mu.Unlock()
		return 0, errAbandoned
	}
	i := l.find(m.next)
	some := append([]entry(nil), l.view[i:min(len(l.view), i+materializeStep)]...)
	l.mu.Unlock()
	n := 0
	for n < len(some) && some[n].last() < bound {
		run := n + 1
		for some[n].carried() && run < len(some) && some[run].carried() && some[run].last() < bound {
			run++
		}
		before := len(m.buf)
		var err error
		if m.buf, err = l.fetch(m.buf, some[n:run], m.next); err != nil {
			return 0, fmt.Errorf("materialize %s at %d: %w", l.id, some[n].base, err)
		}
		if err := m.place(before); err != nil {
			return 0, err
		}
		n = run
	}
	return n, nil
}

// place gives the batches in buf from index i on their place in the last segment, or in a new one.
func (m *materializer) place(i int) error {
	for i < len(m.buf) {
		hdr, err := recordbatch.ParseHeader(m.buf[i:])
		if err != nil {
			return fmt.Errorf("materialize %s at %d: %w: %w", m.l.id, m.next, ErrCorrupt, err)
		}
		size := hdr.Size()
		if m.mustRoll(&hdr, m.at+int64(i)) {
			rest := append([]byte(nil), m.buf[i:]...)
			m.buf = m.buf[:i]
			if err := m.roll(hdr.BaseOffset); err != nil {
				return err
			}
			m.buf, i = append(m.buf[:0], rest...), 0
		}
		if m.firstTs == noMaxTs {
			m.firstTs = hdr.MaxTimestamp
		}
		seg := m.h.seg
		seg.w.add(hdr.BaseOffset, seg.base, m.at+int64(i), hdr.MaxTimestamp, int64(size), m.cfg.IndexIntervalBytes)
		m.next = hdr.LastOffset() + 1
		i += size
	}
	if n := len(m.buf); n >= writeBytes {
		return m.write(n - int((m.at+int64(n))%writeAlign))
	}
	return nil
}

func (m *materializer) mustRoll(hdr *recordbatch.Header, position int64) bool {
	if m.h == nil {
		return true
	}
	if position == 0 {
		return false
	}
	return position+int64(hdr.Size()) > min(m.cfg.SegmentBytes, maxSegmentBytes) ||
		hdr.LastOffset()-m.h.seg.base > math.MaxInt32 ||
		m.cfg.SegmentMs > 0 && m.firstTs >= 0 && hdr.MaxTimestamp-m.firstTs > m.cfg.SegmentMs
}

// write puts the first n bytes of buf into the file and starts their way to the disk.
func (m *materializer) write(n int) error {
	if n == 0 {
		return nil
	}
	path := m.h.seg.path
	if _, err := m.h.log.WriteAt(m.buf[:n], m.at); err != nil {
		return fmt.Errorf("write segment %s: %w", path, err)
	}
	if err := m.h.log.SyncRange(m.at, int64(n)); err != nil {
		return fmt.Errorf("write back segment %s: %w", path, err)
	}
	m.at += int64(n)
	m.buf = m.buf[:copy(m.buf, m.buf[n:])]
	return m.h.seg.w.flush(m.h)
}

// roll seals the last segment and creates the next one at offset base.
func (m *materializer) roll(base int64) error {
	s := m.l.store
	if m.h != nil {
		if err := m.finish(); err != nil {
			return err
		}
		if err := errors.Join(m.h.index.Sync(), m.h.time.Sync()); err != nil {
			return fmt.Errorf("sync indexes of %s: %w", m.h.seg.path, err)
		}
		m.done = append(m.done, segmentEnd{seg: m.h.seg, size: m.at, end: base})
		s.files.release(m.h)
		m.h = nil
	}
	dir := m.l.dir()
	first := len(m.segs) == 0
	if first {
		if err := m.emptyDir(dir); err != nil {
			return err
		}
	}
	seg := newSegment(dir, base)
	m.created = append(m.created, seg)
	h, err := s.files.create(seg)
	if err != nil {
		return err
	}
	m.h, m.at, m.firstTs = h, 0, noMaxTs
	m.segs = append(m.segs, seg)
	dirs := []string{dir}
	if first {
		dirs = append(dirs, filepath.Dir(dir), s.topicsDir, s.opts.Dir)
	}
	for _, d := range dirs {
		if err := s.fs.SyncDir(d); err != nil {
			return fmt.Errorf("sync directory %s: %w", d, err)
		}
	}
	return nil
}

// emptyDir makes the partition's directory and removes what an earlier residency may have left in it.
func (m *materializer) emptyDir(dir string) error {
	fsys := m.l.store.fs
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make directory of %s: %w", m.l.id, err)
	}
	bases, err := segmentBases(fsys, dir)
	if err != nil {
		return fmt.Errorf("list directory of %s: %w", m.l.id, err)
	}
	for _, base := range bases {
		if err := removeSegment(fsys, newSegment(dir, base).path); err != nil {
			return fmt.Errorf("empty directory of %s: %w", m.l.id, err)
		}
	}
	return nil
}

// finish writes and syncs the last segment.
func (m *materializer) finish() error {
	if err := m.write(len(m.buf)); err != nil {
		return err
	}
	if m.l.store.bugs.stateBeforeSync {
		return nil
	}
	if err := m.h.log.Sync(); err != nil {
		return fmt.Errorf("sync segment %s: %w", m.h.seg.path, err)
	}
	return nil
}

// publish lets readers find the batches in segments, then takes them out of the view.
func (m *materializer) publish() error {
	l := m.l
	l.segMu.Lock()
	defer l.segMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if l.viewGen != m.gen {
		return errAbandoned
	}
	for _, d := range append(m.done, segmentEnd{seg: m.h.seg, size: m.at, end: m.next}) {
		d.seg.size.Store(d.size)
		d.seg.end.Store(d.end)
		d.seg.maxTs.Store(d.seg.w.maxTs)
	}
	l.segs.Store(&m.segs)
	l.active = activeMark{base: m.h.seg.base, bytes: m.at}
	l.segEnd.Store(m.next)
	l.dropViewFront(l.find(m.next))
	return nil
}

// abandon removes what was written and not published; the batches are still in the WAL.
func (m *materializer) abandon(cause error) error {
	s := m.l.store
	for _, seg := range m.created {
		s.files.forget(seg)
		if err := removeSegment(s.fs, seg.path); err != nil {
			s.logger.Warn("cannot remove an unfinished segment", "segment", seg.path, "err", err)
		}
	}
	if n := m.known; n > 0 {
		last := m.segs[n-1]
		if h, err := s.files.acquire(last, os.O_RDWR); err == nil {
			if err := h.log.Truncate(last.size.Load()); err != nil {
				s.logger.Warn("cannot cut an unfinished segment", "segment", last.path, "err", err)
			}
			s.files.release(h)
		}
		last.w = indexWriter{maxTs: noMaxTs}
		last.prepared.Store(false)
	}
	if errors.Is(cause, errAbandoned) {
		return nil
	}
	return cause
}
