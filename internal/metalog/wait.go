package metalog

import (
	"context"
	"slices"
	"sync"
)

// waitable is an offset that only rises, for which others wait. mu guards all.
type waitable struct {
	mu      sync.Mutex
	value   int64
	closed  bool
	waiters []offsetWaiter // one per waiting caller
}

type offsetWaiter struct {
	at int64
	ch chan struct{}
}

func (w *waitable) get() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.value
}

func (w *waitable) set(v int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v <= w.value {
		return
	}
	w.value = v
	w.waiters = slices.DeleteFunc(w.waiters, func(x offsetWaiter) bool {
		if x.at <= v {
			close(x.ch)
			return true
		}
		return false
	})
}

func (w *waitable) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, x := range w.waiters {
		close(x.ch)
	}
	w.waiters = nil
}

// wait returns when the value is at or above at.
func (w *waitable) wait(ctx context.Context, at int64) error {
	w.mu.Lock()
	if w.value >= at {
		w.mu.Unlock()
		return nil
	}
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	ch := make(chan struct{})
	w.waiters = append(w.waiters, offsetWaiter{at, ch})
	w.mu.Unlock()
	select {
	case <-ch:
		if w.get() < at {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
		w.mu.Lock()
		w.waiters = slices.DeleteFunc(w.waiters, func(x offsetWaiter) bool { return x.ch == ch })
		w.mu.Unlock()
		return ctx.Err()
	}
}
