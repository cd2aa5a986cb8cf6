package controller

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApplied()
		waits := func(offset int64, want time.Duration) {
			t.Helper()
			start := time.Now()
			a.await(t.Context(), []int32{2, 3}, offset)
			if took := time.Since(start); took != want {
				t.Errorf("offset %d: waited %v, want %v", offset, took, want)
			}
		}
		report := func(broker int32, offset int64) { a.report(broker, offset, time.Now()) }
		report(2, 10)
		report(3, 9)
		go func() {
			time.Sleep(7 * time.Millisecond)
			report(3, 10)
		}()
		waits(10, 7*time.Millisecond)
		report(2, 20)
		waits(20, ShownWithin) // 3 is too slow
		report(2, 30)
		waits(30, 0) // and skipped from now on
		time.Sleep(2 * ShownWithin)
		report(3, 20)
		report(2, 31)
		waits(31, 0) // it has come nearer, not there
		report(3, 31)
		report(2, 32)
		go func() {
			time.Sleep(3 * time.Millisecond)
			report(3, 32)
		}()
		waits(32, 3*time.Millisecond) // it counts again
		a.reset(2)
		waits(32, ShownWithin)
	})
}

func TestAwaitAppliedUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApplied()
		a.await(t.Context(), []int32{2}, 1) // it is slow
		for i := int64(1); i <= 20; i++ {   // a broker that is a little behind all the time has caught up nevertheless
			a.await(t.Context(), nil, i+1)
			a.leave(a.enter([]int32{2}, i+1), false)
			time.Sleep(time.Millisecond)
			a.report(2, i, time.Now())
		}
		if _, lags := a.lagging[2]; lags {
			t.Error("a broker that is a millisecond behind is skipped for good")
		}
	})
}

// Each of many waits ends when its own offset is shown, or when the only broker that is missing turns out to be slow.
func TestAwaitAppliedEndsEachWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApplied()
		a.report(2, 100, time.Now())
		start := time.Now()
		took := make([]time.Duration, 10)
		var wg sync.WaitGroup
		for i := range took {
			wg.Go(func() {
				a.await(t.Context(), []int32{2, 3}, int64(i))
				took[i] = time.Since(start)
			})
		}
		time.Sleep(10 * time.Millisecond)
		a.report(3, 6, time.Now())
		wg.Go(func() { // begins later, and is over as soon as the others have waited for long enough
			a.await(t.Context(), []int32{3}, 50)
			if d := time.Since(start); d != ShownWithin {
				t.Errorf("waited until %v for a broker that was known to be slow at %v", d, ShownWithin)
			}
		})
		wg.Wait()
		for i, d := range took {
			want := 10 * time.Millisecond
			switch {
			case i == 0:
				want = 0
			case i > 6:
				want = ShownWithin
			}
			if d != want {
				t.Errorf("offset %d: waited %v, want %v", i, d, want)
			}
		}
		if len(a.waiters) != 0 {
			t.Errorf("%d waits are left", len(a.waiters))
		}
	})
}
