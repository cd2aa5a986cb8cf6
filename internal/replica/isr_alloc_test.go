package replica

import "testing"

// The ISRs of all that a node leads are looked at ten times a second: a look that finds nothing to change allocates nothing.
func TestLookAtISRAllocatesNothing(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	r := n.replica(1, id)
	if err := ended(t, n.produce(r, "a", true)); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.set.nowMs()
	if per := testing.AllocsPerRun(100, func() { r.leading.Propose(now) }); per != 0 {
		t.Errorf("%v allocations", per)
	}
}
