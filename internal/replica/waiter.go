package replica

import (
	"sync"
)

// Waiter waits for a record to be committed. It is embedded in what the caller keeps per request, so that waiting allocates nothing.
// From Await until Done is called it belongs to the replica.
type Waiter struct {
	// Done is told how the wait ended: nil for committed. It must not block, and may be called before Await returns.
	Done Done
	// Index is for the caller: which of its partitions this is.
	Index int
	// InCommit is set when Done is called on the WAL's completion goroutine: partition.Store.OnTold follows when all waiters of the
	// commit have been called.
	InCommit bool

	end        int64 // committed when the watermark reaches it
	deadlineMs int64 // Unix milliseconds
	prev, next *Waiter
}

// Done is told about the end of a wait. It is an interface rather than a function, because a bound method would be allocated each time.
type Done interface {
	Committed(w *Waiter, err error)
}

// DoneFunc makes a function a Done.
type DoneFunc func(w *Waiter, err error)

// Committed calls f.
func (f DoneFunc) Committed(w *Waiter, err error) { f(w, err) }

// waitQueue holds waiters in ascending order of their ends.
type waitQueue struct {
	first, last *Waiter
}

// add puts w in its place. Appends come nearly in order, so that is at or near the end.
func (q *waitQueue) add(w *Waiter) {
	after := q.last
	for after != nil && after.end > w.end {
		after = after.prev
	}
	w.prev = after
	if after == nil {
		w.next, q.first = q.first, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		q.last = w
	} else {
		w.next.prev = w
	}
}

// takeUpTo removes the waiters whose end is reached and returns them as a list linked by next.
func (q *waitQueue) takeUpTo(end int64) *Waiter {
	head := q.first
	if head == nil || head.end > end {
		return nil
	}
	w := head
	for w.next != nil && w.next.end <= end {
		w = w.next
	}
	q.first = w.next
	if q.first == nil {
		q.last = nil
	} else {
		q.first.prev = nil
	}
	w.next = nil
	return head
}

// takeAll removes all waiters.
func (q *waitQueue) takeAll() *Waiter {
	head := q.first
	*q = waitQueue{}
	return head
}

// takeExpired removes the waiters whose deadline has passed.
func (q *waitQueue) takeExpired(nowMs int64) *Waiter {
	var head, tail *Waiter
	for w := q.first; w != nil; {
		next := w.next
		if w.deadlineMs <= nowMs {
			q.unlink(w)
			w.next = nil
			if tail == nil {
				head = w
			} else {
				tail.next = w
			}
			tail = w
		}
		w = next
	}
	return head
}

func (q *waitQueue) unlink(w *Waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
}

// finish calls the waiters of a list. A waiter may be reused by its owner as soon as it is called.
func finish(w *Waiter, err error) { finishIn(w, err, false) }

func finishIn(w *Waiter, err error, inCommit bool) {
	for w != nil {
		next := w.next
		w.prev, w.next, w.InCommit = nil, nil, inCommit
		w.Done.Committed(w, err)
		w = next
	}
}

// FetchWaiter is woken when one of the partitions it watches may have something new: data below the high watermark, another role, or
// the end of the partition. One waiter serves one fetch at a time.
type FetchWaiter struct {
	// C gets a token when something happened; it holds one at most.
	C       chan struct{}
	watches []fetchWatch
	queued  bool // in commitWakes.waiters; guarded by its mu
}

// fetchWatch is one partition watched by a waiter, linked into the replica's list.
type fetchWatch struct {
	w          *FetchWaiter
	r          *Replica
	prev, next *fetchWatch
}

// NewFetchWaiter makes a waiter that watches nothing.
func NewFetchWaiter() *FetchWaiter { return &FetchWaiter{C: make(chan struct{}, 1)} }

// Watch begins to watch replicas; nil ones are left out. What happened before is not told: look at the replicas after Watch and before
// waiting on C.
func (w *FetchWaiter) Watch(replicas []*Replica) {
	if cap(w.watches) < len(replicas) {
		w.watches = make([]fetchWatch, 0, len(replicas))
	}
	w.watches = w.watches[:0]
	for _, r := range replicas {
		if r == nil {
			continue
		}
		w.watches = append(w.watches, fetchWatch{w: w, r: r})
		r.watch(&w.watches[len(w.watches)-1])
	}
}

// Stop ends the watching and takes a token that may be left.
func (w *FetchWaiter) Stop() {
	for i := range w.watches {
		w.watches[i].r.unwatch(&w.watches[i])
	}
	clear(w.watches)
	w.watches = w.watches[:0]
	select {
	case <-w.C:
	default:
	}
}

func (w *FetchWaiter) wake() {
	select {
	case w.C <- struct{}{}:
	default:
	}
}

// commitWakes are the fetches to be woken when all partitions of a commit have moved on, so that one that watches many of them is woken
// once and finds everything.
type commitWakes struct {
	mu      sync.Mutex // guards waiters; after Replica.mu in the lock order
	waiters []*FetchWaiter
}

func (c *commitWakes) add(w *FetchWaiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !w.queued {
		w.queued = true
		c.waiters = append(c.waiters, w)
	}
}

func (c *commitWakes) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range c.waiters {
		w.queued = false
		w.wake()
		c.waiters[i] = nil
	}
	c.waiters = c.waiters[:0]
}

// OnCommitted sets the one function that is called after each commit of the WAL and each ack of a follower, when all waiters of it have been
// called, so that what they caused (responses to clients) can leave together. It must not block for long, and may be called by several
// goroutines at once.
func (s *Set) OnCommitted(fn func()) { s.told.Store(&fn) }

// committed tells that all waiters of a commit, or of an ack, have been called.
func (s *Set) committed() {
	s.wakes.flush()
	if fn := s.told.Load(); fn != nil {
		(*fn)()
	}
}
