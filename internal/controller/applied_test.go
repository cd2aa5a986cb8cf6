package controller

import (
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
			a.missing([]int32{2}, i+1)
			time.Sleep(time.Millisecond)
			a.report(2, i, time.Now())
		}
		if _, lags := a.lagging[2]; lags {
			t.Error("a broker that is a millisecond behind is skipped for good")
		}
	})
}
