package bench

import "sync/atomic"

// ring is a queue between exactly one goroutine that puts and one that gets, without locks. It holds free records: the goroutine that
// finishes records puts them back, the one that sends takes them.
type ring[T any] struct {
	items      []T
	mask       uint64
	_          [64]byte
	head       atomic.Uint64 // next to get; written by the getter
	_          [64]byte
	tail       atomic.Uint64 // next to put; written by the putter
	_          [64]byte
	wake       chan struct{}
	getterIdle atomic.Bool
}

// newRing makes a ring for at least n items.
func newRing[T any](n int) *ring[T] {
	size := 1
	for size < n {
		size *= 2
	}
	return &ring[T]{items: make([]T, size), mask: uint64(size - 1), wake: make(chan struct{}, 1)}
}

// put adds an item; false when the ring is full.
func (r *ring[T]) put(v T) bool {
	t := r.tail.Load()
	if t-r.head.Load() > r.mask {
		return false
	}
	r.items[t&r.mask] = v
	r.tail.Store(t + 1)
	if r.getterIdle.Load() {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// get takes an item if there is one.
func (r *ring[T]) get() (T, bool) {
	var zero T
	h := r.head.Load()
	if h == r.tail.Load() {
		return zero, false
	}
	v := r.items[h&r.mask]
	r.head.Store(h + 1)
	return v, true
}

// wait blocks until an item can be got or stop is closed.
func (r *ring[T]) wait(stop <-chan struct{}) (T, bool) {
	for {
		if v, ok := r.get(); ok {
			return v, true
		}
		r.getterIdle.Store(true)
		if v, ok := r.get(); ok { // put between the first look and the mark
			r.getterIdle.Store(false)
			return v, true
		}
		select {
		case <-r.wake:
			r.getterIdle.Store(false)
		case <-stop:
			r.getterIdle.Store(false)
			var zero T
			return zero, false
		}
	}
}
