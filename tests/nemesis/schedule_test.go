package nemesis

import (
	"context"
	"reflect"
	"testing"
	"time"
)

func TestScheduleIsSeeded(t *testing.T) {
	take := func(seed uint64) (all []Fault) {
		s := NewSchedule(seed, DefaultLimits)
		for range 3 * len(kinds) {
			all = append(all, s.Next())
		}
		return all
	}
	one := take(1)
	if !reflect.DeepEqual(one, take(1)) {
		t.Error("the same seed gives other faults")
	}
	if reflect.DeepEqual(one, take(2)) {
		t.Error("another seed gives the same faults")
	}
	times := map[string]int{}
	for _, f := range one {
		times[f.Kind()]++
		if f.Before > DefaultLimits.Before || f.Hold > max(DefaultLimits.Stopped, DefaultLimits.Down) {
			t.Errorf("%s: %v before, %v long", f.Kind(), f.Before, f.Hold)
		}
	}
	for _, k := range kinds {
		if times[k.Kind()]%3 != 0 || times[k.Kind()] == 0 {
			t.Errorf("%s comes %d times in three rounds through all kinds", k.Kind(), times[k.Kind()])
		}
	}
}

func TestProgressFindsGaps(t *testing.T) {
	p := NewProgress()
	begin := time.Now()
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	for _, ms := range []int{10, 20, 130, 140, 200} {
		p.acks = append(p.acks, ack{at(ms - 5), at(ms)})
	}
	for _, tc := range []struct{ from, to, want int }{
		{0, 200, 110}, {0, 205, 110}, {0, 500, 300}, {135, 205, 60}, {25, 100, 75}, {-200, 15, 210},
	} {
		if got := p.LongestGap(at(tc.from), at(tc.to)); got != time.Duration(tc.want)*time.Millisecond {
			t.Errorf("from %d to %d: %v, not %d ms", tc.from, tc.to, got, tc.want)
		}
	}
	if got, err := p.AwaitAsked(context.Background(), at(125)); err != nil || !got.Equal(at(140)) {
		t.Errorf("the first answer to what was asked after 125 is that at 140, not %v, %v", got.Sub(begin), err)
	}
	soon, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if got, err := p.AwaitAsked(soon, at(196)); err == nil {
		t.Errorf("nothing was asked after 196, and %v is told", got.Sub(begin))
	}
	if p.Forget(at(100)); p.Count() != 5 || len(p.acks) != 3 {
		t.Errorf("%d counted, %d left", p.Count(), len(p.acks))
	}
	if got, err := p.AwaitAsked(context.Background(), at(0)); err != nil || !got.Equal(at(130)) {
		t.Errorf("after what is forgotten, the first is that at 130, not %v, %v", got.Sub(begin), err)
	}
}
