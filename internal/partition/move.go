package partition

import (
	"fmt"
	"sort"
)

// A batch above the high watermark cannot go to a segment. To free the WAL slot that holds it, it is written to the WAL once more, as a
// Move record, and the view then refers to that. So it stays one record that is read by itself, however long it has to wait, and whatever
// the size of all of them together. The next State, which is durable before the slot is recycled, refers to the Moves as it does to Appends.

// needed is the number of view entries up to and including the last one that a State written now must not refer to, because it is carried
// already or in a commit up to sequence last. The caller holds mu.
func (l *Log) needed(last uint64) int {
	k := l.find(l.movedEnd)
	m := k + sort.Search(len(l.view)-k, func(i int) bool { return l.view[k+i].seq > last && !l.view[k+i].carried() })
	if m > k {
		return m
	}
	for k > 0 && l.view[k-1].seq > last && !l.view[k-1].carried() {
		k--
	}
	return k
}

// oldestRef is the oldest WAL sequence that view entries from index n on refer to; seq if that is older. The caller holds mu.
func (l *Log) oldestRef(n int, seq uint64) uint64 {
	for ; n < len(l.view); n++ {
		seq = min(seq, l.view[n].seq)
		if l.view[n].base >= l.movedEnd || l.store.bugs.oldestAssumed {
			break
		}
	}
	return seq
}

// moveTail writes all batches of the view that are in commits up to sequence last, which is durable, to the WAL once more. Store.maint
// is held.
func (s *Store) moveTail(l *Log, last uint64) error {
	l.mu.Lock()
	some := append([]entry(nil), l.view[:l.needed(last)]...)
	l.mu.Unlock()
	buf := s.takeBuffer()
	defer func() { s.buffer = buf[:0] }()
	for i := range some {
		e := &some[i]
		if e.carried() || e.seq > last {
			continue
		}
		var err error
		if buf, err = l.fetch(buf[:0], some[i:i+1], e.base); err != nil {
			return fmt.Errorf("move batch %d of %s: %w", e.base, l.id, err)
		}
		if s.bugs.meanwhile != nil {
			s.bugs.meanwhile(l)
		}
		if !s.fitsWAL(len(buf), 0) {
			return fmt.Errorf("move batch %d of %s: %w", e.base, l.id, ErrWALFull)
		}
		if err := l.moveBatch(e, buf); err != nil {
			return err
		}
	}
	return nil
}

// moveBatch writes one batch once more, if it is still there.
func (l *Log) moveBatch(e *entry, batch []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	i := l.find(e.base)
	if here := i < len(l.view) && l.view[i] == *e; !here && !l.store.bugs.moveUnchecked {
		return nil
	}
	l.fillPrefix = prefix{id: l.id, epoch: e.epoch, offset: e.base}
	l.fillBatch = batch
	ref, err := l.store.wal.AppendDeferred(kindMove, prefixSize+len(batch), l.fill)
	l.fillBatch = nil
	if err != nil {
		return fmt.Errorf("move batch %d of %s: %w", e.base, l.id, mapWALError(err))
	}
	if i < len(l.view) && l.view[i].base == e.base {
		l.view[i].seq, l.view[i].off, l.view[i].len = ref.Seq, ref.Off, ref.Len
	}
	l.movedEnd = max(l.movedEnd, e.last()+1)
	return nil
}
