package replica

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The queue against a model: whatever the order of ends and deadlines, what is taken is what should be, in ascending order, and nothing
// is lost or taken twice.
func TestWaitQueue(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var q waitQueue
		model := map[*Waiter]bool{}
		for range 300 {
			switch r.IntN(6) {
			default:
				w := &Waiter{end: r.Int64N(100), deadlineMs: r.Int64N(100)}
				q.add(w)
				model[w] = true
			case 4:
				end := r.Int64N(100)
				checkTaken(t, q.takeUpTo(end), model, func(w *Waiter) bool { return w.end <= end })
			case 5:
				now := r.Int64N(100)
				checkTaken(t, q.takeExpired(now), model, func(w *Waiter) bool { return w.deadlineMs <= now })
			}
			checkQueue(t, &q, model)
		}
		checkTaken(t, q.takeAll(), model, func(*Waiter) bool { return true })
		checkQueue(t, &q, model)
	}
}

func checkTaken(t *testing.T, head *Waiter, model map[*Waiter]bool, should func(*Waiter) bool) {
	t.Helper()
	n := 0
	for w := head; w != nil; w = w.next {
		if !model[w] || !should(w) {
			t.Fatalf("took a waiter with end %d, deadline %d", w.end, w.deadlineMs)
		}
		if w.next != nil && w.next.end < w.end {
			t.Fatal("taken out of order")
		}
		delete(model, w)
		n++
	}
	for w := range model {
		if should(w) {
			t.Fatalf("left a waiter with end %d, deadline %d", w.end, w.deadlineMs)
		}
	}
}

func checkQueue(t *testing.T, q *waitQueue, model map[*Waiter]bool) {
	t.Helper()
	var ends []int64
	var last *Waiter
	for w := q.first; w != nil; w = w.next {
		if w.prev != last || !model[w] {
			t.Fatal("links are broken")
		}
		ends = append(ends, w.end)
		last = w
	}
	if q.last != last || len(ends) != len(model) || !slices.IsSorted(ends) {
		t.Fatalf("%d queued, %d expected, sorted %v", len(ends), len(model), slices.IsSorted(ends))
	}
}

// A fetch that watches many partitions is woken once when a commit has moved them all, not before.
func TestOneWakeUpPerCommit(t *testing.T) {
	var wakes commitWakes
	a, b := NewFetchWaiter(), NewFetchWaiter()
	for range 2 { // a commit leaves nothing behind
		for range 12 {
			wakes.add(a)
		}
		wakes.add(b)
		if len(wakes.waiters) != 2 || len(a.C)+len(b.C) != 0 {
			t.Fatalf("%d waiters, tokens %d and %d before the end of the commit", len(wakes.waiters), len(a.C), len(b.C))
		}
		wakes.flush()
		if len(a.C) != 1 || len(b.C) != 1 || len(wakes.waiters) != 0 {
			t.Fatalf("%d waiters, tokens %d and %d after the commit", len(wakes.waiters), len(a.C), len(b.C))
		}
		<-a.C
		<-b.C
	}
}
