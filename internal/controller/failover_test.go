package controller

import (
	"strconv"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
)

func TestFencingOneByOne(t *testing.T) {
	c, log := trio(t, "2")
	fence(t, c, log, 3)
	wantPartition(t, "3 went", theOne(log), 1, []int32{1, 2}, nil)
	if p := theOne(log); p.LeaderEpoch != 0 || p.PartitionEpoch != 1 {
		t.Errorf("a follower went: %+v", p)
	}
	fence(t, c, log, 1)
	wantPartition(t, "1 went", theOne(log), 2, []int32{2}, []int32{1})
	fence(t, c, log, 2)
	wantPartition(t, "2 went", theOne(log), metadata.NoLeader, nil, []int32{1, 2})
	unfence(t, c, log, 3)
	wantPartition(t, "3 is back and has missed records", theOne(log), metadata.NoLeader, nil, []int32{1, 2})
	unfence(t, c, log, 1)
	wantPartition(t, "1 is back", theOne(log), 1, []int32{1}, []int32{2})
	if p := theOne(log); p.LeaderEpoch != 3 || p.UncleanEpoch != 0 {
		t.Errorf("after three elections: %+v", p)
	}
}

// With a minimum of one the last member may have acknowledged alone: it stays in the ISR, and nobody else leads.
func TestTheLastOfOneStays(t *testing.T) {
	c, log := trio(t, "1")
	fence(t, c, log, 3, 2, 1)
	wantPartition(t, "all went", theOne(log), metadata.NoLeader, []int32{1}, nil)
	unfence(t, c, log, 2)
	wantPartition(t, "2 is back", theOne(log), metadata.NoLeader, []int32{1}, nil)
	if err := restart(t, c, 1, 1, true); err != nil {
		t.Fatal(err)
	}
	unfence(t, c, log, 1)
	wantPartition(t, "1 is back", theOne(log), 1, []int32{1}, nil)
}

// All nodes end at once and come back: whoever registers keeps its place in the ISR, and the partition is led again.
func TestAllRestart(t *testing.T) {
	for _, minISR := range []string{"1", "2"} {
		c, log := trio(t, minISR)
		for id := range int32(3) {
			if err := restart(t, c, id+1, byte(id+1), true); err != nil {
				t.Fatal(err)
			}
		}
		p := theOne(log)
		wantPartition(t, "registered", p, 3, []int32{1, 2, 3}, nil) // the last that seemed to be in service waits for itself
		before := p.LeaderEpoch
		unfence(t, c, log, 2)
		wantPartition(t, "2 in service", theOne(log), 2, []int32{1, 2, 3}, nil)
		unfence(t, c, log, 1, 3)
		wantPartition(t, "all in service", theOne(log), 2, []int32{1, 2, 3}, nil)
		if p := theOne(log); p.LeaderEpoch <= before {
			t.Errorf("leader epoch %d after %d", p.LeaderEpoch, before)
		}
	}
}

// A broker that registered and died before it was in service must not keep the eligible replicas from leading.
func TestFencingWhoIsFenced(t *testing.T) {
	c, log := trio(t, "2")
	if err := restart(t, c, 1, 1, true); err != nil {
		t.Fatal(err)
	}
	fence(t, c, log, 2, 3)
	wantPartition(t, "1 has registered, 2 and 3 have gone", theOne(log), metadata.NoLeader, []int32{1}, []int32{3})
	fence(t, c, log, 1)
	wantPartition(t, "1 has gone too", theOne(log), metadata.NoLeader, nil, []int32{1, 3})
	unfence(t, c, log, 3)
	wantPartition(t, "3 is back", theOne(log), 3, []int32{3}, []int32{1})
}

func TestLostDisk(t *testing.T) {
	c, log := trio(t, "2")
	expect(t, "another disk in service", restart(t, c, 3, 9, true), ErrDuplicateBroker)
	fence(t, c, log, 3, 1)
	wantPartition(t, "3 and 1 went", theOne(log), 2, []int32{2}, []int32{1})
	expect(t, "1 has another disk", restart(t, c, 1, 9, false), nil)
	wantPartition(t, "1 is empty", theOne(log), 2, []int32{2}, nil)
	fence(t, c, log, 2)
	wantPartition(t, "2 went", theOne(log), metadata.NoLeader, nil, []int32{2})
	expect(t, "2 is back", restart(t, c, 2, 2, false), nil)
	wantPartition(t, "2 is back", theOne(log), 2, []int32{2}, nil)

	c, log = trio(t, "1")
	fence(t, c, log, 3, 2, 1)
	expect(t, "the last one has another disk", restart(t, c, 1, 9, false), nil)
	wantPartition(t, "all is lost", theOne(log), metadata.NoLeader, nil, nil)
	results, err := c.ElectLeaders(t.Context(), ElectUnclean, []TopicPartition{{"t", 0}})
	if err != nil || results[0].Err != nil {
		t.Fatal(results, err)
	}
	if p := theOne(log); p.Leader != 1 || p.UncleanEpoch != p.LeaderEpoch || p.LeaderEpoch == 0 {
		t.Errorf("after an unclean election: %+v", p)
	}
}

func TestNewIncarnationNewEpoch(t *testing.T) {
	c, log := trio(t, "2")
	expect(t, "the leader restarts unnoticed", restart(t, c, 1, 1, false), nil)
	wantPartition(t, "it leads", theOne(log), 1, []int32{1, 2, 3}, nil)
	if p := theOne(log); p.LeaderEpoch != 1 {
		t.Errorf("a new incarnation goes on with leader epoch %d", p.LeaderEpoch)
	}
}

func TestResign(t *testing.T) {
	c, log := trio(t, "2")
	mustCreate(t, c, topic("one", 3, 1))
	expect(t, "resign", c.ResignBroker(t.Context(), 1, epochOfBroker(log, 1)), nil)
	wantPartition(t, "1 resigned", theOne(log), 2, []int32{2, 3}, nil)
	for n, p := range log.Image().Topic("one").Partitions {
		wantPartition(t, "one-"+strconv.Itoa(n), p, p.Replicas[0], p.Replicas, nil) // nobody else can
	}
	expect(t, "resign", c.ResignBroker(t.Context(), 2, epochOfBroker(log, 2)), nil)
	wantPartition(t, "2 resigned: two are needed", theOne(log), 3, []int32{2, 3}, nil)
	expect(t, "again", c.ResignBroker(t.Context(), 2, epochOfBroker(log, 2)), nil)
	fence(t, c, log, 3)
	wantPartition(t, "3 went: 2 is not elected while it stops", theOne(log), metadata.NoLeader, []int32{2}, []int32{3})
	expect(t, "2 is back", restart(t, c, 2, 2, false), nil)
	wantPartition(t, "2 is back", theOne(log), 2, []int32{2}, []int32{3})
}

// Lowering the minimum with an eligible replica outside would let the one in the ISR acknowledge alone and die, and then the other lead.
func TestMinISRChange(t *testing.T) {
	for _, r := range []metadata.Resource{{Type: metadata.ResourceTopic, Name: "t"}, {Type: metadata.ResourceBroker}} {
		c, log := trio(t, "2")
		lower := []ResourceChanges{{r, []ConfigChange{{"min.insync.replicas", OpSet, str("1")}}}}
		fence(t, c, log, 3, 2)
		wantPartition(t, "before", theOne(log), 1, []int32{1}, []int32{2})
		results, err := c.IncrementalAlterConfigs(t.Context(), lower, false)
		if err != nil || results[0] != nil {
			t.Fatal(results, err)
		}
		wantPartition(t, "after", theOne(log), 1, []int32{1}, nil)
		fence(t, c, log, 1)
		unfence(t, c, log, 2)
		wantPartition(t, "1 went, 2 is back", theOne(log), metadata.NoLeader, []int32{1}, nil)

		c, log = trio(t, "2")
		fence(t, c, log, 3, 2, 1)
		if results, err = c.IncrementalAlterConfigs(t.Context(), lower, false); err != nil {
			t.Fatal(err)
		}
		expect(t, "an empty ISR", results[0], ErrInvalidConfig)
	}
	c, log := trio(t, "2")
	for name, r := range map[string]ResourceChanges{
		"removed from the cluster": {metadata.Resource{Type: metadata.ResourceBroker}, []ConfigChange{{"min.insync.replicas", OpDelete, nil}}},
		"set for one broker":       {metadata.Resource{Type: metadata.ResourceBroker, Name: "1"}, []ConfigChange{{"min.insync.replicas", OpSet, str("1")}}},
	} {
		results, err := c.IncrementalAlterConfigs(t.Context(), []ResourceChanges{r}, false)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, name, results[0], ErrInvalidConfig)
	}
	if MinISR(log.Image(), "t", 3) != 2 || MinISR(log.Image(), "t", 1) != 1 {
		t.Error("MinISR")
	}
}

// A failover that is too large for one proposal is done in several, leaders first.
func TestLargeFailover(t *testing.T) {
	c, log := cluster(t, 3, nil)
	for i := range 3 {
		mustCreate(t, c, topic("large-"+strconv.Itoa(i), 6000, 3))
	}
	before := len(log.events)
	fence(t, c, log, 1)
	for tp := range log.Image().Topics() {
		for n, p := range tp.Partitions {
			if p.InISR(1) || p.Leader == 1 || p.Leader == metadata.NoLeader {
				t.Fatalf("%s-%d is %+v", tp.Name, n, p)
			}
		}
	}
	if _, fenced := log.events[before].(*metadata.BrokerFenced); !fenced || len(log.events)-before != 18001 {
		t.Errorf("%d events, the first %T", len(log.events)-before, log.events[before])
	}
	if n := fitting(log.events[before:]); n == 18001 || n < 5000 {
		t.Errorf("%d events in the first proposal", n)
	}
}

func TestRebalance(t *testing.T) {
	c, log := trio(t, "2")
	now := c.now()
	later := now
	c.static = map[string]string{}
	c.now = func() time.Time { return later }
	var back settling
	round := func(want int) {
		t.Helper()
		if n, err := c.rebalance(t.Context(), &back); n != want || err != nil {
			t.Errorf("%d moved, want %d: %v", n, want, err)
		}
	}
	fence(t, c, log, 1)
	round(0)
	expect(t, "1 is back", restart(t, c, 1, 1, false), nil)
	later = later.Add(settledAfter)
	round(0) // seen in service only now
	later = later.Add(settledAfter)
	round(0) // not in sync
	expect(t, "1 has caught up", change(t, c, log, proposal(log, 1, 2, 3)), nil)
	round(1)
	wantPartition(t, "given back", theOne(log), 1, []int32{1, 2, 3}, nil)
	round(0)
	fence(t, c, log, 1)
	expect(t, "1 is back", restart(t, c, 1, 1, false), nil)
	expect(t, "1 has caught up", change(t, c, log, proposal(log, 1, 2, 3)), nil)
	round(0) // another incarnation
	c.static["auto.leader.rebalance.enable"] = "false"
	later = later.Add(2 * settledAfter)
	round(0)
	delete(c.static, "auto.leader.rebalance.enable")
	expect(t, "1 is about to end", c.ResignBroker(t.Context(), 1, epochOfBroker(log, 1)), nil)
	round(0)
}
