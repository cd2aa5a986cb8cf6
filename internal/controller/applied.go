package controller

import (
	"context"
	"slices"
	"sync"
	"time"
)

// ShownWithin bounds how long an answer waits for brokers to show what it tells. A broker that takes longer is skipped until it has
// caught up.
const ShownWithin = 100 * time.Millisecond

// applied knows which metadata offset each broker shows, as the brokers report it.
type applied struct {
	mu      sync.Mutex // guards the rest
	offsets map[int32]int64
	lagging map[int32]lag
	wanted  int64     // the largest offset that anybody waited for
	waiters []*waiter // bound: admin requests under way
}

// waiter is somebody who waits until brokers show an offset. It is woken once, by whoever sees that they do: with many requests under
// way, waking all of them for every report costs more than the requests.
type waiter struct {
	brokers []int32
	offset  int64
	shown   chan struct{} // closed then
}

// lag is how a broker that is too slow is measured: it has caught up when it shows what was wanted at a time soon after that time.
type lag struct {
	offset int64
	since  time.Time
}

func newApplied() *applied {
	return &applied{offsets: map[int32]int64{}, lagging: map[int32]lag{}}
}

// report takes in what a broker shows. The number of brokers is bounded by who may register.
func (a *applied) report(broker int32, offset int64, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if offset <= a.offsets[broker] {
		return
	}
	a.offsets[broker] = offset
	if l, ok := a.lagging[broker]; ok && offset >= l.offset {
		if offset >= a.wanted || now.Sub(l.since) <= ShownWithin {
			delete(a.lagging, broker)
		} else {
			a.lagging[broker] = lag{a.wanted, now}
		}
	}
	a.wake()
}

// reset forgets a broker: another incarnation of it has an image of its own.
func (a *applied) reset(broker int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.offsets, broker)
	delete(a.lagging, broker)
}

// await returns when all the brokers show the offset, those that lag excepted; at the latest after ShownWithin.
func (a *applied) await(ctx context.Context, brokers []int32, offset int64) {
	w := a.enter(brokers, offset)
	if w == nil {
		return
	}
	timer := time.NewTimer(ShownWithin)
	defer timer.Stop()
	select {
	case <-w.shown:
	case <-ctx.Done():
		a.leave(w, false)
	case <-timer.C:
		a.leave(w, true)
	}
}

// enter adds somebody who waits; nil if nobody is missing.
func (a *applied) enter(brokers []int32, offset int64) *waiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = max(a.wanted, offset)
	w := &waiter{brokers: brokers, offset: offset}
	if a.shows(w) {
		return nil
	}
	w.shown = make(chan struct{})
	a.waiters = append(a.waiters, w)
	return w
}

// leave ends a wait. When it took too long, the brokers that are missing are marked as slow.
func (a *applied) leave(w *waiter, late bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.Index(a.waiters, w)
	if i < 0 {
		return // it was over already
	}
	a.waiters = slices.Delete(a.waiters, i, i+1)
	if late {
		a.slow(w)
	}
}

// shows reports whether nobody is missing.
func (a *applied) shows(w *waiter) bool {
	for _, id := range w.brokers {
		if _, lags := a.lagging[id]; !lags && a.offsets[id] < w.offset {
			return false
		}
	}
	return true
}

// slow marks brokers that did not show an offset in time. Whoever waits for nobody else goes on.
func (a *applied) slow(w *waiter) {
	for _, id := range w.brokers {
		if _, lags := a.lagging[id]; !lags && a.offsets[id] < w.offset {
			a.lagging[id] = lag{a.wanted, time.Now()}
		}
	}
	a.wake()
}

// wake ends the waits that are over, and leaves the others asleep.
func (a *applied) wake() {
	a.waiters = slices.DeleteFunc(a.waiters, func(w *waiter) bool {
		if !a.shows(w) {
			return false
		}
		close(w.shown)
		return true
	})
}
