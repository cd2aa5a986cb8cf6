package partition

import (
	"fmt"
	"time"
)

// countInterval is the least time between two counts over all logs.
const countInterval = 10 * time.Millisecond

// AdmitUncommitted tells whether a client append of n bytes is welcome, as far as the bytes above the high watermark are concerned: nil or
// ErrUncommitted. They cannot go to segments and have to be moved along in the WAL, so they are bounded: those of this log by
// MaxUncommittedBytes, one batch excepted, and those of all logs by MaxNodeUncommittedBytes, where a log that has little of its own is
// not refused for what the others have. Batches that follow their leader are counted but not refused: their leader bounds them.
func (l *Log) AdmitUncommitted(n int) error {
	s := l.store
	l.mu.Lock()
	l.countUncommitted()
	own := l.uncommitted
	l.mu.Unlock()
	if own == 0 {
		return nil
	}
	if own+int64(n) > s.opts.MaxUncommittedBytes {
		return fmt.Errorf("%d bytes of %s are not replicated: %w", own, l.id, ErrUncommitted)
	}
	limit := s.opts.MaxNodeUncommittedBytes
	if s.uncommitted.Load()+int64(n) <= limit {
		return nil
	}
	logs := s.countAllUncommitted()
	if all := s.uncommitted.Load(); all+int64(n) > limit && own+int64(n) > limit/int64(max(logs, 1)) {
		return fmt.Errorf("%d bytes of this node's partitions are not replicated: %w", all, ErrUncommitted)
	}
	return nil
}

// UncommittedBytes is about the size of what lies above the high watermarks of all logs.
func (s *Store) UncommittedBytes() int64 {
	s.countAllUncommitted()
	return s.uncommitted.Load()
}

// countUncommitted takes out of the count what the high watermark has passed since the last call. The caller holds mu.
func (l *Log) countUncommitted() {
	hw := l.hw.Load()
	if l.uncommitted == 0 || hw <= l.countFrom {
		return
	}
	var passed int64
	i := l.find(l.countFrom)
	for ; i < len(l.view) && l.view[i].last() < hw; i++ {
		if l.view[i].base >= l.countFrom {
			passed += l.view[i].size()
		}
	}
	next := l.end.Load()
	if i < len(l.view) {
		next = l.view[i].base
	}
	l.countFrom = max(l.countFrom, next)
	l.addUncommitted(-passed)
}

// addUncommitted changes the counts. The caller holds mu.
func (l *Log) addUncommitted(n int64) {
	if n != 0 {
		l.uncommitted += n
		l.store.uncommitted.Add(n)
	}
}

// countAllUncommitted brings the count of the node up to date, unless that was done just before, and returns the number of logs.
func (s *Store) countAllUncommitted() (logs int) {
	s.mu.Lock()
	logs = len(s.logs)
	now := time.Now()
	due := now.Sub(s.countedAt) >= countInterval
	if due {
		s.countedAt = now
	}
	s.mu.Unlock()
	if !due {
		return logs
	}
	for _, l := range s.All() {
		l.mu.Lock()
		l.countUncommitted()
		l.mu.Unlock()
	}
	return logs
}
