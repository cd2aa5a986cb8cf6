package replica

import "testing"

// A leader whose metadata was behind may see in one step that another one led and that it leads again. Its followers are pushed to in the new
// epoch, over the streams that are there.
func TestLeadsAgainInOneStep(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	r := n.replica(1, id)
	if err := ended(t, n.produce(r, "a", true)); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.nodes[1].lag = true
	n.mu.Unlock()
	n.lead("t", 2, 1, 2, 3)
	n.lead("t", 1, 1, 2, 3)
	n.mu.Lock()
	n.nodes[1].lag = false
	n.show(n.nodes[1])
	n.mu.Unlock()
	if err := ended(t, n.produce(r, "b", true)); err != nil {
		t.Fatal(err)
	}
	if len(n.isr("t")) != 3 {
		t.Errorf("the ISR is %v", n.isr("t"))
	}
	n.equal(id, 2, 1, 2, 3)
}
