package replica

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// A partition of which a follower can take no more (its log is damaged, or as here the batch does not fit into its WAL) leaves the ISR there.
// The stream, which all partitions of the two nodes share, goes on.
func TestOnePartitionDoesNotStopTheStream(t *testing.T) {
	n := newNetwork(t, 3)
	n.stop(3)
	n.nodes[3].fs, n.nodes[3].slot = vfs.NewMem(), 256<<10
	n.start(3)
	bad, good := n.topic("bad", 7, 1, 2, 3), n.topic("good", 8, 1, 2, 3)
	for _, r := range []*Replica{n.replica(1, bad), n.replica(1, good)} {
		if err := ended(t, n.produce(r, "a", true)); err != nil {
			t.Fatal(err)
		}
	}
	n.mu.Lock()
	opened := len(n.open)
	n.mu.Unlock()
	done := n.produce(n.replica(1, bad), strings.Repeat("x", 400<<10), true)
	n.until("the ISR of the one is without node 3", func() bool { return !slices.Contains(n.isr("bad"), 3) })
	if err := ended(t, done); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(n.isr("good"), 3) {
		t.Error("the other one has left the ISR too")
	}
	time.Sleep(200 * time.Millisecond)
	if err := ended(t, n.produce(n.replica(1, good), "b", true)); err != nil {
		t.Fatal(err)
	}
	n.equal(good, 2, 1, 2, 3)
	n.mu.Lock()
	defer n.mu.Unlock()
	if again := len(n.open) - opened; again > 1 { // catch-up streams
		t.Errorf("%d streams were opened meanwhile", again)
	}
}
