package partition

import (
	"context"
	"errors"
	"time"
)

const (
	// tick is the longest the maintenance sleeps.
	tick = 100 * time.Millisecond
	// spaceInterval is between two looks at the disk's free space.
	spaceInterval = time.Second
	// recyclePercent of the WAL is kept; above it the oldest slots are recycled.
	recyclePercent = 50
)

// Run materialises, recycles and applies retention until ctx ends. It returns nil then.
func (s *Store) Run(ctx context.Context) error {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	var spaceAt, complainedAt time.Time
	retentionAt := time.Now().Add(s.opts.RetentionInterval)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wake:
		}
		now := time.Now()
		if now.Sub(spaceAt) >= spaceInterval {
			s.checkSpace()
			spaceAt = now
		}
		err := s.maintain(now.After(retentionAt))
		if now.After(retentionAt) {
			retentionAt = now.Add(s.opts.RetentionInterval)
		}
		if err != nil {
			if errors.Is(err, ErrDropped) {
				return nil
			}
			if s.failed(err); now.Sub(complainedAt) > 10*time.Second {
				s.logger.Warn("maintenance of partitions did not finish", "err", err)
				complainedAt = now
			}
		}
		timer.Reset(tick)
	}
}

// failed judges an error of the maintenance: a full disk is waited out, damage and a full WAL are for others to solve, and after
// anything else the state of the disk is unknown.
func (s *Store) failed(err error) {
	switch {
	case isNoSpace(err), errors.Is(err, ErrNoSpace):
		if !s.noSpace.Swap(true) {
			s.logger.Error("disk is full: appends are refused until there is space", "err", err)
		}
	case isDamage(err), errors.Is(err, ErrWALFull):
	default:
		s.fatal(err)
	}
}

// isDamage tells whether an error concerns the data of one partition only.
func isDamage(err error) bool { return errors.Is(err, ErrCorrupt) || errors.Is(err, errSegmentGone) }

// maintain does one round of everything that is due.
func (s *Store) maintain(retention bool) error {
	var errs []error
	errs = append(errs, s.cleanPending())
	if retention {
		errs = append(errs, s.applyRetention())
	}
	errs = append(errs, s.materializeReady(), s.recycle())
	return errors.Join(errs...)
}

// materializeReady writes the larger tails to segments once a slot's worth of them has come together, or the index grows too large.
func (s *Store) materializeReady() error {
	index := s.viewEntries.Load() * entryBytes
	if s.uncommitted.Load() >= s.opts.WAL.SlotBytes {
		s.countAllUncommitted()
	}
	if s.viewBytes.Load()-s.uncommitted.Load() < s.opts.WAL.SlotBytes && index < s.opts.MaxIndexBytes/2 {
		return nil
	}
	s.mu.Lock()
	logs := s.ready
	s.ready = nil
	s.mu.Unlock()
	var corrupt error
	for i, l := range logs {
		err := s.materializeOne(l)
		if isDamage(err) { // it does not come back; the others go on
			l.setDamaged(err)
			corrupt = errors.Join(corrupt, err)
			continue
		}
		if err != nil {
			s.mu.Lock()
			s.ready = append(s.ready, logs[i:]...)
			s.mu.Unlock()
			return err
		}
	}
	if corrupt != nil {
		return corrupt
	}
	if s.viewEntries.Load()*entryBytes < s.opts.MaxIndexBytes {
		return nil
	}
	for _, l := range s.All() { // many small tails: all of them
		if err := s.materializeOne(l); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) materializeOne(l *Log) error {
	s.maint.Lock()
	defer s.maint.Unlock()
	l.mu.Lock()
	l.ready = false
	gone := l.usable()
	l.mu.Unlock()
	if gone != nil {
		return nil
	}
	err := s.materialize(l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.ready = true
	} else if l.viewBytes >= readyBytes { // grown, or held back by the high watermark
		l.ready = true
		s.addReady(l)
	}
	return err
}

// recycle frees the oldest slots while more of the WAL is in use than should be, each at most once in a round. When all but a slot's worth
// of it lies above high watermarks it rests: it would only copy that round and round.
func (s *Store) recycle() error {
	for range s.wal.Slots() {
		u := s.wal.Usage()
		if u.UsedBytes < u.MaxBytes/100*recyclePercent {
			return nil
		}
		if s.uncommitted.Load() > u.UsedBytes-s.opts.WAL.SlotBytes && s.UncommittedBytes() > u.UsedBytes-s.opts.WAL.SlotBytes {
			return nil
		}
		more, err := s.recycleOldest()
		if err != nil || !more {
			return err
		}
	}
	return nil
}
