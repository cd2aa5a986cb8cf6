package group

import (
	"container/heap"
	"time"
)

// timer is one point in time at which fire is called. Moving it to later leaves it where it is in the heap (a heartbeat costs nothing);
// it is put in its new place when the old time has come.
type timer struct {
	due  time.Time // when to fire
	at   time.Time // its key in the heap, never after due
	slot int       // its place in the heap plus one; 0: not armed
	fire func()
}

func (t *timer) armed() bool { return t.slot != 0 }

// timers holds the armed timers of one machine.
type timers struct{ queue timerQueue }

// set arms x, or moves it.
func (ts *timers) set(x *timer, due time.Time) {
	x.due = due
	switch {
	case x.slot == 0:
		x.at = due
		heap.Push(&ts.queue, x)
	case due.Before(x.at):
		x.at = due
		heap.Fix(&ts.queue, x.slot-1)
	}
}

// cancel disarms x.
func (ts *timers) cancel(x *timer) {
	if x.slot != 0 {
		heap.Remove(&ts.queue, x.slot-1)
	}
}

// next gives the time at which pop may have something.
func (ts *timers) next() (at time.Time, ok bool) {
	if len(ts.queue) == 0 {
		return time.Time{}, false
	}
	return ts.queue[0].at, true
}

// pop disarms and returns a timer that is due at now, or nil.
func (ts *timers) pop(now time.Time) *timer {
	for len(ts.queue) > 0 && !ts.queue[0].at.After(now) {
		x := ts.queue[0]
		if x.due.After(now) {
			x.at = x.due
			heap.Fix(&ts.queue, 0)
			continue
		}
		heap.Pop(&ts.queue)
		return x
	}
	return nil
}

type timerQueue []*timer

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q timerQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].slot, q[j].slot = i+1, j+1
}

// Push and Pop are for container/heap.
func (q *timerQueue) Push(x any) {
	t := x.(*timer)
	*q = append(*q, t)
	t.slot = len(*q)
}

// Pop removes the last element.
func (q *timerQueue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	t.slot = 0
	return t
}
