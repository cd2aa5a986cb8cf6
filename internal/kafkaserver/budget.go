package kafkaserver

import (
	"context"
	"sync"
)

// byteBudget bounds bytes held by all connections together. Taking is free of locks' contention in practice: the fast path holds the
// mutex for a few instructions. Waiters are served in order, so that a large one is not starved by small ones.
type byteBudget struct {
	limit int64

	mu      sync.Mutex // guards the rest
	used    int64
	waiters []budgetWaiter // bounded by the number of connections
}

type budgetWaiter struct {
	n     int64
	ready chan struct{}
}

// newBudget makes a budget of limit bytes.
func newBudget(limit int64) *byteBudget { return &byteBudget{limit: limit} }

// try takes n bytes when they are free and nobody waits before.
func (b *byteBudget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiters) > 0 || b.used+n > b.limit && b.used > 0 {
		return false
	}
	b.used += n
	return true
}

// take waits until n bytes are free. More than the whole budget is given to one alone, when nothing else is out.
func (b *byteBudget) take(ctx context.Context, n int64) error {
	if b.try(n) {
		return nil
	}
	w := budgetWaiter{n: n, ready: make(chan struct{})}
	b.mu.Lock()
	b.waiters = append(b.waiters, w)
	b.wakeLocked()
	b.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waiters {
		if b.waiters[i].ready == w.ready {
			b.waiters = append(b.waiters[:i], b.waiters[i+1:]...)
			b.wakeLocked()
			return ctx.Err()
		}
	}
	// It was given in the same moment: hand it back.
	b.used -= n
	b.wakeLocked()
	return ctx.Err()
}

// give returns n bytes.
func (b *byteBudget) give(n int64) {
	b.mu.Lock()
	b.used -= n
	if len(b.waiters) > 0 {
		b.wakeLocked()
	}
	b.mu.Unlock()
}

func (b *byteBudget) wakeLocked() {
	for len(b.waiters) > 0 {
		w := b.waiters[0]
		if b.used+w.n > b.limit && b.used > 0 {
			return
		}
		b.used += w.n
		b.waiters = append(b.waiters[:0], b.waiters[1:]...)
		close(w.ready)
	}
}

// roomy reports whether so much is free that what is not needed now may be kept.
func (b *byteBudget) roomy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiters) == 0 && b.used <= b.limit/2
}

// inUse is for metrics and tests.
func (b *byteBudget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
