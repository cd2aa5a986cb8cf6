package replica

import (
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
)

// The race: an append has passed the check of the role, then the leader is isolated, and the record becomes durable meanwhile. When the
// node leads again in the same epoch, the record is committed without waiting for another one.
func TestDurableWhileIsolated(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	r := n.replica(1, id)
	if err := ended(t, n.produce(r, "a", true)); err != nil {
		t.Fatal(err)
	}
	r.set.SetIsolated(true)
	b := recordbatch.NewBuilder()
	b.Append(1, nil, []byte("b"))
	raw, err := b.Build(recordbatch.None)
	if err != nil {
		t.Fatal(err)
	}
	info, err := recordbatch.Validate(raw, recordbatch.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.log.Append(raw, partition.AppendOptions{Info: info, LeaderEpoch: r.LeaderEpoch(), NowMs: 1}); err != nil {
		t.Fatal(err)
	}
	n.until("it is durable", func() bool { return r.log.DurableEnd() == 2 })
	time.Sleep(50 * time.Millisecond) // the hook runs a little after the end has moved
	r.set.SetIsolated(false)
	n.equal(id, 2, 1, 2, 3)
}

// The metadata that a node recovers may be older than what it knew before: how far it was committed is known from the leader only.
func TestRecoversWithOlderMetadata(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	if err := ended(t, n.produce(n.replica(1, id), "a", true)); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	before := n.im
	n.mu.Unlock()
	n.lead("t", 2, 2, 1, 3)
	leader := n.replica(2, id)
	n.until("node 2 leads", leader.Leads)
	if err := ended(t, n.produce(leader, "b", true)); err != nil {
		t.Fatal(err)
	}
	n.stop(3)
	n.nodes[3].recovers = before
	n.start(3)
	n.until("all are in sync", func() bool { return len(n.isr("t")) == 3 })
	n.equal(id, 2, 1, 2, 3)
}
