package partition

import (
	"container/heap"
	"fmt"
)

const (
	// minCarryBytes is the least that a tail may have to ride in a State, however many partitions there are.
	minCarryBytes = 512
	// stateAttempts bounds how often a State is built anew because the log changed while its batches were read.
	stateAttempts = 8
)

// recycleOldest frees the oldest WAL slot, if it is sealed: every partition that needs something in it is written to segments or
// restated behind it first, in as few commits as the disk's speed and other appends allow. It reports whether a slot was freed.
func (s *Store) recycleOldest() (bool, error) {
	slots := s.wal.Slots()
	if len(slots) < 2 || !slots[0].Sealed {
		return false, nil
	}
	last := slots[0].LastSeq
	for !s.bugs.recycleWithoutState {
		l := s.neediest(last)
		if l == nil {
			break
		}
		if err := s.releaseOne(l, last); err != nil {
			return false, fmt.Errorf("recycle WAL up to %d: %w", last, err)
		}
	}
	if err := s.syncWAL(); err != nil {
		return false, err
	}
	if err := s.wal.Recycle(last); err != nil {
		return false, fmt.Errorf("recycle WAL up to %d: %w", last, err)
	}
	return true, nil
}

// neediest returns the log that needs the oldest WAL sequence, if that is at most last.
func (s *Store) neediest(last uint64) *Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byNeed) == 0 || s.byNeed[0].oldest > last {
		return nil
	}
	return s.byNeed[0]
}

func (s *Store) releaseOne(l *Log, last uint64) error {
	s.maint.Lock()
	defer s.maint.Unlock()
	if s.Get(l.id) != l { // dropped meanwhile
		return nil
	}
	return s.release(l, last)
}

// release makes l independent of WAL records up to sequence last: what is below the high watermark goes to segments, a small rest is
// carried in a State, a larger one moved. Store.maint is held.
func (s *Store) release(l *Log, last uint64) error {
	if limit := s.carryLimit(); l.tailBytes(last) > limit {
		switch err := s.materialize(l); {
		case isDamage(err): // one partition must not stop the node
			l.setDamaged(err)
		case err != nil:
			return err
		}
		if l.tailBytes(last) > limit {
			if err := s.moveTail(l, last); err != nil {
				return fmt.Errorf("release %s: %w", l.id, err)
			}
		}
	}
	for range stateAttempts {
		done, err := s.writeState(l, last)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("release %s: the log kept changing", l.id)
}

// carryLimit is how many bytes of a tail may ride in a State: less with many partitions, so that States stay a small part of the WAL.
func (s *Store) carryLimit() int64 {
	s.mu.Lock()
	n := int64(len(s.logs))
	s.mu.Unlock()
	return max(minCarryBytes, min(s.opts.CarryBytes, s.wal.Usage().MaxBytes/stateShare/max(n, 1)))
}

// tailBytes is the size of the batches that a State written now would have to carry to be free of WAL records up to sequence last.
func (l *Log) tailBytes(last uint64) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.carriedBytes
	for i := range l.view[:l.needed(last)] {
		n += l.view[i].size()
	}
	return n
}

// writeState reads the batches that the State has to carry, then builds and enqueues it under the lock, if they are still what the log
// holds; false means that the log changed meanwhile. Store.maint is held.
func (s *Store) writeState(l *Log, last uint64) (bool, error) {
	entries := l.toCarry(last, s.carryLimit(), s.wal.DurableSeq())
	var carried []byte
	for i := 0; i < len(entries); {
		n := i + 1
		for entries[i].carried() && n < len(entries) && entries[n].carried() {
			n++
		}
		var err error
		if carried, err = l.fetch(carried, entries[i:n], entries[i].base); err != nil {
			return false, fmt.Errorf("carry batch %d of %s: %w", entries[i].base, l.id, err)
		}
		i = n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return false, err
	}
	if len(l.view) < len(entries) {
		return false, nil
	}
	for i := range entries {
		if l.view[i] != entries[i] {
			return false, nil
		}
	}
	return true, s.enqueueState(l, len(entries), carried)
}

// toCarry copies the entries at the front of the view that a State must carry because they are at or below sequence last. A tail that is
// small as a whole is carried whole, as far as it is durable, so that an idle log needs no State again soon.
func (l *Log) toCarry(last uint64, limit int64, durableSeq uint64) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	must, bytes := l.needed(last), l.carriedBytes
	for i := range l.view[:must] {
		bytes += l.view[i].size()
	}
	n := must
	for ; n < len(l.view) && l.view[n].seq <= durableSeq; n++ {
		if bytes += l.view[n].size(); bytes > limit {
			n = must
			break
		}
	}
	return append([]entry(nil), l.view[:n]...)
}

// enqueueState builds the State whose first n view entries are carried, enqueues it, and points these entries into it. The caller holds
// l.mu: no other record of the log comes between the content and its place in the WAL.
func (s *Store) enqueueState(l *Log, n int, carried []byte) error {
	st := state{residency: l.residency, leaderEpoch: l.leaderEpoch, start: l.start.Load(), end: l.end.Load(), hw: l.hw.Load(),
		segEnd: l.segEnd.Load(), active: l.active, keepFrom: l.end.Load(), epochs: l.epochs, carried: carried}
	if n < len(l.view) {
		st.keepFrom = l.view[n].base
	}
	if !s.bugs.forgetProducers {
		st.producers = l.producers.encode()
	}
	payload := st.encode(l.id)
	if s.bugs.stateBuiltApart {
		l.mu.Unlock()
		s.bugs.betweenBuildAndEnqueue()
		l.mu.Lock()
		n = min(n, len(l.view))
	}
	ref, err := s.wal.AppendDeferred(kindState, len(payload), func(dst []byte) { copy(dst, payload) })
	if err != nil {
		return fmt.Errorf("write state of %s: %w", l.id, mapWALError(err))
	}
	for i := range l.view[:n] {
		e := &l.view[i]
		before := e.size()
		if e.base >= l.countFrom {
			l.addUncommitted(-before)
		}
		e.seq, e.off, e.len, e.delta = ref.Seq, ref.Off, ref.Len, e.delta|inState
		l.viewBytes -= before
		s.viewBytes.Add(-before)
	}
	l.carriedBytes = int64(len(carried))
	oldest := l.oldestRef(n, ref.Seq)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.oldest = oldest
	if l.heapIndex >= 0 {
		heap.Fix(&s.byNeed, l.heapIndex)
	}
	return nil
}
