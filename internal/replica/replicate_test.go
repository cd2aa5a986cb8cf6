package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/peer"
)

func ended(t *testing.T, c <-chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("a wait never ends")
		return nil
	}
}

// What is acknowledged with acks=all is on the disks of all in-sync replicas, verbatim, and all know that it is committed.
func TestReplicates(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	for i := range 200 {
		if err := ended(t, n.produce(leader, fmt.Sprint(i), true)); err != nil {
			t.Fatal(err)
		}
		for node := int32(1); node <= 3; node++ {
			if end := n.replica(node, id).End(); end < int64(i+1) {
				t.Fatalf("record %d is acknowledged, node %d has %d", i, node, end)
			}
		}
	}
	n.equal(id, 200, 1, 2, 3)
}

// A follower that was away leaves the ISR, gets what it missed, and joins again.
func TestFollowerComesBack(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	if err := ended(t, n.produce(leader, "a", true)); err != nil {
		t.Fatal(err)
	}
	n.stop(3)
	done := n.produce(leader, "b", true)
	n.until("the ISR is without node 3", func() bool { return !slices.Contains(n.isr("t"), 3) })
	if err := ended(t, done); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := ended(t, n.produce(leader, fmt.Sprint(i), true)); err != nil {
			t.Fatal(err)
		}
	}
	n.start(3)
	n.until("node 3 is in the ISR", func() bool { return slices.Contains(n.isr("t"), 3) })
	n.equal(id, 52, 1, 2, 3)
}

// Records of a deposed leader that nobody else has are cut off when it follows again, and what is acknowledged stays.
func TestDivergedTailIsCut(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	old := n.replica(1, id)
	if err := ended(t, n.produce(old, "kept", true)); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.cut[1] = true
	n.nodes[1].lag = true // it goes on leading
	streams := slices.Clone(n.open)
	n.mu.Unlock()
	for _, s := range streams {
		if s.owner == 1 || s.hello.Member.NodeID == 1 {
			_ = s.Close()
		}
	}
	var lost []<-chan error
	for i := range 5 {
		lost = append(lost, n.produce(old, fmt.Sprint("lost", i), true))
	}
	n.lead("t", 2, 2, 3)
	leader := n.replica(2, id)
	n.until("node 2 leads", leader.Leads)
	for i := range 3 {
		if err := ended(t, n.produce(leader, fmt.Sprint("new", i), true)); err != nil {
			t.Fatal(err)
		}
	}
	n.mu.Lock()
	n.cut[1] = false
	n.nodes[1].lag = false
	n.show(n.nodes[1])
	n.mu.Unlock()
	for _, c := range lost {
		if err := ended(t, c); err == nil {
			t.Error("a record that only a deposed leader has is acknowledged")
		}
	}
	n.until("node 1 is in the ISR", func() bool { return slices.Contains(n.isr("t"), 1) })
	n.equal(id, 4, 1, 2, 3)
}

// A follower whose metadata is behind refuses, and is pushed to when it has caught up.
func TestFollowerWithOldMetadata(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	if err := ended(t, n.produce(n.replica(1, id), "a", true)); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.nodes[3].lag = true
	n.mu.Unlock()
	n.lead("t", 2, 2, 1, 3)
	leader := n.replica(2, id)
	done := n.produce(leader, "b", true)
	select {
	case err := <-done:
		t.Fatalf("acknowledged (%v) while node 3 does not know of the epoch", err)
	case <-time.After(100 * time.Millisecond):
	}
	n.mu.Lock()
	n.nodes[3].lag = false
	n.show(n.nodes[3])
	n.mu.Unlock()
	if err := ended(t, done); err != nil {
		t.Fatal(err)
	}
	n.equal(id, 2, 1, 2, 3)
}

// With too few in sync nothing is acknowledged with acks=all, before or after the append.
func TestTooFewInSync(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	n.stop(3)
	n.stop(2)
	done := n.produce(leader, "a", true)
	if err := ended(t, done); !errors.Is(err, ErrNotEnoughReplicasAfterAppend) {
		t.Errorf("after the append: %v", err)
	}
	if err := ended(t, n.produce(leader, "b", true)); !errors.Is(err, ErrNotEnoughReplicas) {
		t.Errorf("before the append: %v", err)
	}
	if hw := leader.HighWatermark(); hw != 0 {
		t.Errorf("the high watermark is %d with one of three in sync", hw)
	}
	n.start(2)
	n.until("the ISR has two", func() bool { return len(n.isr("t")) == 2 })
	n.equal(id, 1, 1, 2)
}

// A follower that lacks what its leader has deleted begins anew at the log start.
func TestFollowerBehindTheLogStart(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	if err := ended(t, n.produce(leader, "a", true)); err != nil {
		t.Fatal(err)
	}
	n.stop(3)
	n.until("the ISR is without node 3", func() bool { return !slices.Contains(n.isr("t"), 3) })
	for i := range 20 {
		if err := ended(t, n.produce(leader, fmt.Sprint(i), true)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := leader.AdvanceStart(15); err != nil {
		t.Fatal(err)
	}
	n.start(3)
	n.until("node 3 is in the ISR", func() bool { return slices.Contains(n.isr("t"), 3) })
	n.equal(id, 21, 1, 2, 3)
	n.until("node 2 follows the log start", func() bool { return n.replica(2, id).Start() == 15 })
	if start := n.replica(3, id).Start(); start != 15 {
		t.Errorf("node 3 begins at %d", start)
	}
}

// A new leader goes on from where the old one was, restarts included; what was acknowledged is there.
func TestLeadersChange(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	end := int64(0)
	for round := range 12 {
		leader := int32(round%3 + 1)
		n.lead("t", leader, leader, leader%3+1, (leader+1)%3+1)
		r := n.replica(leader, id)
		n.until("it leads", r.Leads)
		for i := range 5 {
			if err := ended(t, n.produce(r, fmt.Sprint(round, i), true)); err != nil {
				t.Fatal(round, i, err)
			}
			end++
		}
		away := leader%3 + 1
		n.stop(away)
		if err := ended(t, n.produce(r, "without one", true)); err != nil {
			t.Fatal(round, err)
		}
		end++
		n.start(away)
		n.until("all are in sync", func() bool { return len(n.isr("t")) == 3 })
	}
	n.equal(id, end, 1, 2, 3)
}

// A follower that lacks much is pushed to over a stream of its own, and comes back to the live one.
func TestCatchUpHasItsOwnStream(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	n.stop(3)
	n.until("the ISR is without node 3", func() bool { return !slices.Contains(n.isr("t"), 3) })
	big := strings.Repeat("x", 256<<10)
	end := int64(0)
	for range 40 {
		if err := ended(t, n.produce(leader, big, true)); err != nil {
			t.Fatal(err)
		}
		end++
	}
	n.start(3)
	seen := false
	n.until("node 3 is in the ISR", func() bool {
		if l := linkTo(leader.links.Load(), 3); l != nil && l.lane.Load().class == peer.ClassCatchUp {
			seen = true
		}
		return slices.Contains(n.isr("t"), 3)
	})
	if !seen {
		t.Error("it was pushed to over the live stream")
	}
	if err := ended(t, n.produce(leader, "live", true)); err != nil {
		t.Fatal(err)
	}
	if class := linkTo(leader.links.Load(), 3).lane.Load().class; class != peer.ClassLive {
		t.Errorf("it stays on the %v stream", class)
	}
	n.equal(id, end+1, 1, 2, 3)
}

// A leader that stays one under a new epoch, without having followed in between, goes on pushing.
func TestNewEpochOfTheSameLeader(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	end := int64(0)
	for range 5 {
		if err := ended(t, n.produce(leader, "a", true)); err != nil {
			t.Fatal(err)
		}
		end++
		n.lead("t", 1, 1, 2, 3)
		n.until("node 1 leads", leader.Leads)
	}
	n.equal(id, end, 1, 2, 3)
}
