package partition

import (
	"errors"
	"fmt"
	"time"
)

const (
	// clockJump is how far wall and monotonic clock may drift apart between two looks before time retention pauses.
	clockJump = 30 * time.Second
	// clockPause is how long it pauses after a jump, so that a wrong clock can be put right before it deletes anything.
	clockPause = time.Hour
)

// clockWatch compares the wall clock with the monotonic one. Guarded by Store.maint.
type clockWatch struct {
	last   time.Time
	paused time.Time // until then
}

func (c *clockWatch) start(now time.Time) { c.last = now }

// look looks at the clocks and returns by how much the wall clock jumped since the last look, 0 if it did not.
func (c *clockWatch) look(now time.Time) (jump time.Duration) {
	jump = wallJump(now, c.last, now.Sub(c.last))
	c.last = now
	if jump.Abs() < clockJump {
		return 0
	}
	c.paused = now.Add(clockPause)
	return jump
}

// wallJump is how much further the wall clock moved between two readings than the monotonic one did.
func wallJump(now, last time.Time, monotonic time.Duration) time.Duration {
	return now.Round(0).Sub(last.Round(0)) - monotonic
}

// piece is a part of a log that retention deletes as a whole: a segment, or a segment's worth of what is in the WAL only.
type piece struct {
	end   int64 // exclusive
	bytes int64
	maxTs int64
	open  bool // the last piece: size retention spares it
}

// applyRetention deletes old pieces of all logs and forgets old producers.
func (s *Store) applyRetention() error {
	s.maint.Lock()
	now := s.opts.Now()
	if jump := s.clock.look(now); jump != 0 {
		s.logger.Warn("the clock jumped: retention by time pauses", "jump", jump, "until", s.clock.paused)
	}
	byTime := !now.Before(s.clock.paused)
	s.maint.Unlock()
	for _, l := range s.All() {
		if err := s.retain(l, now.UnixMilli(), byTime); err != nil {
			s.logger.Warn("retention failed", "partition", l.id.String(), "err", err)
		}
	}
	return s.cleanPending()
}

// retain applies retention to one log.
func (s *Store) retain(l *Log, nowMs int64, byTime bool) error {
	l.mu.Lock()
	cfg, idle := *l.cfg, len(l.view) == 0 && l.active.base < 0
	err := l.usable()
	if l.producers != nil && err == nil && byTime && cfg.ProducerExpirationMs > 0 {
		l.producers.expire(nowMs - cfg.ProducerExpirationMs)
	}
	l.mu.Unlock()
	if err != nil || idle || l.noRetention.Load() || !cfg.Delete || cfg.RetentionBytes < 0 && cfg.RetentionMs < 0 {
		return err
	}
	s.maint.Lock()
	defer s.maint.Unlock()
	pieces, err := l.pieces(cfg.SegmentBytes)
	if err != nil {
		return err
	}
	start := expired(pieces, &cfg, l.hw.Load(), nowMs, byTime)
	if l.noRetention.Load() {
		return nil
	}
	moved, err := l.advanceStart(start)
	if err != nil || !moved {
		return err
	}
	s.logger.Info("retention moved the log start", "partition", l.id.String(), "start", start)
	s.mu.Lock()
	s.clean = append(s.clean, l)
	s.mu.Unlock()
	return nil
}

// expired returns the offset up to which pieces may go; 0 if none.
func expired(pieces []piece, cfg *LogConfig, hw, nowMs int64, byTime bool) int64 {
	var total, start int64
	for i := range pieces {
		total += pieces[i].bytes
	}
	for i := range pieces {
		p := &pieces[i]
		old := byTime && cfg.RetentionMs >= 0 && nowMs-p.maxTs > cfg.RetentionMs && p.maxTs >= 0 // records without a time do not age
		big := cfg.RetentionBytes >= 0 && !p.open && total-p.bytes >= cfg.RetentionBytes
		if p.end > hw || !old && !big {
			break
		}
		total -= p.bytes
		start = p.end
	}
	return start
}

// pieces lists the parts of the log. Store.maint is held.
func (l *Log) pieces(segmentBytes int64) ([]piece, error) {
	segs, err := l.segments()
	if err != nil {
		return nil, err
	}
	var out []piece
	start := l.Start()
	for _, seg := range segs {
		if seg.end.Load() <= start {
			continue
		}
		ts, err := l.segmentMaxTs(seg)
		if err != nil {
			return nil, err
		}
		out = append(out, piece{end: seg.end.Load(), bytes: seg.size.Load(), maxTs: ts})
	}
	l.mu.Lock()
	carried := l.carriedBytes
	l.mu.Unlock()
	last := piece{maxTs: noMaxTs, bytes: carried, open: true}
	l.eachView(max(start, l.segEnd.Load()), func(e *entry) bool {
		if last.bytes+e.size() > segmentBytes && last.end > 0 {
			last.open = false
			out = append(out, last)
			last = piece{maxTs: noMaxTs, open: true}
		}
		last.end = e.last() + 1
		last.bytes += e.size()
		last.maxTs = max(last.maxTs, e.maxTs)
		return true
	})
	if last.end > 0 {
		out = append(out, last)
	} else if n := len(out); n > 0 {
		out[n-1].open = true
	}
	return out, nil
}

// cleanPending removes segments below the start of logs that asked for it.
func (s *Store) cleanPending() error {
	s.mu.Lock()
	logs := s.clean
	s.clean = nil
	s.mu.Unlock()
	var errs []error
	for _, l := range logs {
		s.maint.Lock()
		errs = append(errs, s.cleanLog(l))
		s.maint.Unlock()
	}
	return errors.Join(errs...)
}

// cleanLog removes the segments of a log that lie below its start, after making the start durable. Store.maint is held.
func (s *Store) cleanLog(l *Log) error {
	l.mu.Lock()
	dirty, start, active, gen, gone := l.dirty, l.start.Load(), l.active, l.viewGen, l.usable()
	stale := l.stale
	l.dirty, l.stale = false, nil
	l.mu.Unlock()
	for _, seg := range stale {
		s.files.forget(seg)
	}
	if !dirty || gone != nil {
		return nil
	}
	if _, err := l.segments(); err != nil {
		return err
	}
	segs := l.segs.Load()
	if segs == nil || len(*segs) == 0 { // nil: a Reset came just now
		return nil
	}
	if !s.bugs.inferLogStart {
		if err := s.syncWAL(); err != nil {
			return fmt.Errorf("clean %s: %w", l.id, err)
		}
	}
	n := 0
	for n < len(*segs) && ((*segs)[n].end.Load() <= start && n+1 < len(*segs) || active.base < 0) {
		n++
	}
	if n == 0 {
		return nil
	}
	rest := append([]*segment(nil), (*segs)[n:]...)
	if !l.replaceSegments(segs, &rest, gen) {
		return nil
	}
	for _, seg := range (*segs)[:n] {
		s.files.forget(seg)
		if err := removeSegment(s.fs, seg.path); err != nil {
			return fmt.Errorf("clean %s: %w", l.id, err)
		}
	}
	return nil
}

// replaceSegments changes the list of segments, unless the log changed since its viewGen was gen; then it is dirty again.
func (l *Log) replaceSegments(was, rest *[]*segment, gen uint32) bool {
	l.segMu.Lock()
	defer l.segMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.viewGen != gen {
		return false
	}
	return l.segs.CompareAndSwap(was, rest)
}
