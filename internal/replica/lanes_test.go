package replica

import (
	"slices"
	"testing"

	"github.com/chronik-io/chronik/internal/peer"
)

// The race: a part is under way on the live stream, the follower is moved to the catch-up stream, and then the refusal of that part comes,
// followed by the ack of its frame. The ack says nothing of what was refused, whichever stream the follower is on by then.
func TestRefusalOnTheStreamThatWasLeft(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	r := n.replica(1, id)
	n.stop(3)
	n.until("the ISR is without node 3", func() bool { return !slices.Contains(n.isr("t"), 3) })
	for range 5 {
		if err := ended(t, n.produce(r, "a", true)); err != nil {
			t.Fatal(err)
		}
	}
	l := linkTo(r.links.Load(), 3)
	live, catchUp := r.set.sender(3, peer.ClassLive), r.set.sender(3, peer.ClassCatchUp)
	x := &session{brokerEpoch: n.im.Broker(3).Epoch}
	live.begin(x)
	r.mu.Lock()
	r.leading.follower(3).next = 0
	r.mu.Unlock()
	seq := live.frame(x)
	if frame, _ := r.appendPush(nil, l, live, x); len(frame) <= pushHead {
		t.Fatal("nothing is pushed")
	}
	r.mu.Lock()
	live.detach(r)
	catchUp.attach(l, r.set.nowMs())
	r.mu.Unlock()

	live.refused(x, seq, r.id, Refusal{NotReady: true}, r.set.nowMs())
	if _, err := live.acked(x, seq, nil, r.set.nowMs()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if match := r.leading.follower(3).match; match > 0 { // it may have said before it stopped that it has nothing
		t.Errorf("the leader takes it that node 3 has all up to %d: it has refused that", match)
	}
}
