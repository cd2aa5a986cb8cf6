package controller

import (
	"context"
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
	wanted  int64 // the largest offset that anybody waited for
	changed chan struct{}
}

// lag is how a broker that is too slow is measured: it has caught up when it shows what was wanted at a time soon after that time.
type lag struct {
	offset int64
	since  time.Time
}

func newApplied() *applied {
	return &applied{offsets: map[int32]int64{}, lagging: map[int32]lag{}, changed: make(chan struct{})}
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
	close(a.changed)
	a.changed = make(chan struct{})
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
	if len(brokers) == 0 {
		return
	}
	var timer *time.Timer
	for {
		missing, changed := a.missing(brokers, offset)
		if len(missing) == 0 {
			return
		}
		if timer == nil {
			timer = time.NewTimer(ShownWithin)
			defer timer.Stop()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		case <-timer.C:
			a.slow(missing, offset)
			return
		}
	}
}

func (a *applied) missing(brokers []int32, offset int64) (missing []int32, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = max(a.wanted, offset)
	for _, id := range brokers {
		if _, lags := a.lagging[id]; !lags && a.offsets[id] < offset {
			missing = append(missing, id)
		}
	}
	return missing, a.changed
}

// slow marks brokers that did not show an offset in time.
func (a *applied) slow(brokers []int32, offset int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range brokers {
		if _, lags := a.lagging[id]; !lags && a.offsets[id] < offset {
			a.lagging[id] = lag{a.wanted, time.Now()}
		}
	}
}
