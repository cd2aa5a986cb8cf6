package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

func TestRegisterBroker(t *testing.T) {
	c, log := cluster(t, 1, map[string]string{"min.insync.replicas": "2"})
	if v := log.Image().Config(metadata.ResourceBroker, "")["min.insync.replicas"]; v != "2" {
		t.Errorf("the first broker's min.insync.replicas is %q in the cluster", v)
	}
	mustCreate(t, c, topic("t", 1, 1))
	r := Registration{BrokerID: 1, Incarnation: uuid.New(), DiskID: uuid.UUID{1}}
	first, err := c.RegisterBroker(t.Context(), r)
	if err != nil || first <= 0 || log.Image().Broker(1).Epoch != first {
		t.Fatalf("epoch %d, %v", first, err)
	}
	if p := log.Image().Topic("t").Partitions[0]; p.LeaderEpoch != 1 || p.Leader != 1 {
		t.Errorf("after a restart the partition is %+v", p)
	}
	if again, err := c.RegisterBroker(t.Context(), r); again != first || err != nil {
		t.Errorf("the same incarnation got epoch %d, %v", again, err)
	}
	r.Incarnation, r.DiskID = uuid.New(), uuid.UUID{9}
	_, err = c.RegisterBroker(t.Context(), r)
	expect(t, "another disk under a live id", err, ErrDuplicateBroker)
}

func TestFencingMovesLeaders(t *testing.T) {
	c, log := cluster(t, 3, nil)
	mustCreate(t, c, topic("t", 3, 3), topic("one", 1, 1))
	only := log.Image().Topic("one").Partitions[0].Leader
	epoch := log.Image().Broker(only).Epoch
	expect(t, "a stale epoch", c.FenceBroker(t.Context(), only, epoch+1), ErrStaleBrokerEpoch)
	expect(t, "fence", c.FenceBroker(t.Context(), only, epoch), nil)
	for n, p := range log.Image().Topic("t").Partitions {
		if p.Leader == only || p.Leader == metadata.NoLeader {
			t.Errorf("partition %d is led by %d", n, p.Leader)
		}
	}
	if p := log.Image().Topic("one").Partitions[0]; p.Leader != metadata.NoLeader || !slices.Equal(p.ISR, []int32{only}) {
		t.Errorf("the only replica is gone, and the partition is %+v", p)
	}
	expect(t, "fence again", c.FenceBroker(t.Context(), only, epoch), nil)
	expect(t, "unfence", c.UnfenceBroker(t.Context(), only, epoch), nil)
	if p := log.Image().Topic("one").Partitions[0]; p.Leader != only || p.LeaderEpoch != 2 {
		t.Errorf("the only replica is back, and the partition is %+v", p)
	}
	expect(t, "unregister with replicas", c.UnregisterBroker(t.Context(), only), ErrBrokerHoldsReplicas)
	expect(t, "unregister nobody", c.UnregisterBroker(t.Context(), 99), ErrUnknownBroker)
}

func TestElectLeaders(t *testing.T) {
	c, log := cluster(t, 3, map[string]string{"min.insync.replicas": "1"}) // no eligible leader replicas
	n := topic("t", Default, Default)
	n.Assignment = []Assignment{{0, []int32{1, 2}}, {1, []int32{2, 3}}, {2, []int32{3}}}
	n.Assignment[2].Replicas = []int32{3, 1}
	mustCreate(t, c, n)
	elect := func(kind Election, p int32) error {
		results, err := c.ElectLeaders(t.Context(), kind, []TopicPartition{{"t", p}})
		if err != nil || len(results) != 1 {
			t.Fatal(results, err)
		}
		return results[0].Err
	}
	expect(t, "not needed", elect(ElectPreferred, 0), ErrElectionNotNeeded)
	expect(t, "unclean not needed", elect(ElectUnclean, 0), ErrElectionNotNeeded)
	expect(t, "unknown partition", elect(ElectPreferred, 9), ErrUnknownTopic)
	expect(t, "unknown kind", elect(7, 0), ErrInvalidRequest)

	one := log.Image().Broker(1).Epoch
	expect(t, "fence", c.FenceBroker(t.Context(), 1, one), nil) // 2 leads partition 0 now, the ISR is 2
	expect(t, "preferred is down", elect(ElectPreferred, 0), ErrPreferredLeaderNotUp)
	expect(t, "unfence", c.UnfenceBroker(t.Context(), 1, one), nil)
	expect(t, "preferred is not in sync", elect(ElectPreferred, 0), ErrPreferredLeaderNotUp)
	im := log.Image()
	p := im.Topic("t").Partitions[0]
	apply(t, log, &metadata.UpdateIsr{Name: "t", TopicID: im.Topic("t").ID, Partition: 0, ISR: []int32{2, 1},
		BrokerEpochs: []int64{im.Broker(2).Epoch, one}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch + 1})
	results, err := c.ElectLeaders(t.Context(), ElectPreferred, nil)
	if err != nil || len(results) != 1 || results[0].Partition != 0 || results[0].Err != nil {
		t.Errorf("all that need it: %+v, %v", results, err)
	}
	if p := log.Image().Topic("t").Partitions[0]; p.Leader != 1 {
		t.Errorf("the preferred leader does not lead: %+v", p)
	}

	// Partition 1: 2 and then 3 go; 2 comes back, but has missed records.
	for _, id := range []int32{2, 3} {
		expect(t, "fence", c.FenceBroker(t.Context(), id, log.Image().Broker(id).Epoch), nil)
	}
	expect(t, "nobody is up", elect(ElectUnclean, 1), ErrEligibleLeadersNotUp)
	expect(t, "unfence", c.UnfenceBroker(t.Context(), 2, log.Image().Broker(2).Epoch), nil)
	if p := log.Image().Topic("t").Partitions[1]; p.Leader != metadata.NoLeader {
		t.Fatalf("a replica outside the ISR was elected by itself: %+v", p)
	}
	expect(t, "unclean", elect(ElectUnclean, 1), nil)
	if p := log.Image().Topic("t").Partitions[1]; p.Leader != 2 || !slices.Equal(p.ISR, []int32{2}) {
		t.Errorf("after an unclean election: %+v", p)
	}
}

func TestComingBackWithoutFence(t *testing.T) {
	c, log := cluster(t, 2, nil)
	mustCreate(t, c, topic("t", 2, 1))
	expect(t, "fence", c.FenceBroker(t.Context(), 2, log.Image().Broker(2).Epoch), nil)
	if _, err := c.RegisterBroker(t.Context(), Registration{BrokerID: 2, Incarnation: uuid.New(), DiskID: uuid.UUID{2}}); err != nil {
		t.Fatal(err)
	}
	for n, p := range log.Image().Topic("t").Partitions {
		if p.Leader != p.Replicas[0] {
			t.Errorf("partition %d has no leader after its broker came back: %+v", n, p)
		}
	}
}

func TestOldTombstonesGo(t *testing.T) {
	c, log := cluster(t, 1, nil)
	c.limits.Tombstones = 10
	now := int64(1_000_000_000)
	c.now = func() time.Time { return time.UnixMilli(now) }
	churn := func(topics int) {
		for range topics {
			mustCreate(t, c, topic("t", 1, 1))
			if results, err := c.DeleteTopics(t.Context(), []TopicRef{{Name: "t"}}); err != nil || results[0].Err != nil {
				t.Fatal(results, err)
			}
		}
	}
	step := func(want int) {
		t.Helper()
		if n, err := c.purgeOld(t.Context()); n != want || err != nil {
			t.Errorf("%d forgotten, want %d: %v", n, want, err)
		}
	}
	churn(3)
	step(0)
	now += time.Hour.Milliseconds()
	step(0)
	now++
	step(3)
	churn(6)
	now += time.Minute.Milliseconds() + 1
	step(6)
	churn(10)
	mustCreate(t, c, topic("t", 1, 1))
	results, err := c.DeleteTopics(t.Context(), []TopicRef{{Name: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "deleting beyond the bound", results[0].Err, ErrInvalidRequest)
	if log.Image().TombstoneCount() != 10 {
		t.Errorf("%d tombstones", log.Image().TombstoneCount())
	}
}

func apply(t *testing.T, log *memoryLog, events ...metadata.Event) {
	t.Helper()
	if _, err := log.Propose(t.Context(), func(*metadata.Image) ([]metadata.Event, error) { return events, nil }); err != nil {
		t.Fatal(err)
	}
}

func TestProducerIDs(t *testing.T) {
	c, log := cluster(t, 1, nil)
	epoch := log.Image().Broker(1).Epoch
	var last int64
	for range 3 {
		first, next, err := c.AllocateProducerIDs(t.Context(), 1, epoch, 1000)
		if err != nil || first != last || next != first+1000 {
			t.Fatalf("[%d, %d), %v", first, next, err)
		}
		last = next
	}
	_, _, err := c.AllocateProducerIDs(t.Context(), 1, epoch+1, 1000)
	expect(t, "an earlier incarnation", err, ErrStaleBrokerEpoch)
	_, _, err = c.AllocateProducerIDs(t.Context(), 1, epoch, 0)
	expect(t, "none", err, ErrProducerIDsExhausted)
}

func BenchmarkCreateTopic(b *testing.B) {
	c, _ := cluster(b, 3, nil)
	c.limits.Partitions = 1 << 30
	names := make([]byte, 0, 32)
	for i := 0; b.Loop(); i++ {
		names = append(names[:0], "topic-"...)
		for n := i; n > 0; n /= 10 {
			names = append(names, byte('0'+n%10))
		}
		if _, err := c.CreateTopics(b.Context(), []NewTopic{topic(string(names)+"x", 1, 1)}, false); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRegisteringFencedMovesLeaders(t *testing.T) {
	c, log := cluster(t, 3, nil)
	mustCreate(t, c, topic("three", 3, 3), topic("one", 3, 1))
	epoch, err := c.RegisterBroker(t.Context(), Registration{BrokerID: 2, Incarnation: uuid.New(), DiskID: uuid.UUID{2}, Fenced: true})
	if err != nil || !log.Image().Broker(2).Fenced {
		t.Fatal(err)
	}
	for n, p := range log.Image().Topic("three").Partitions {
		if p.Leader == 2 || p.Leader == metadata.NoLeader {
			t.Errorf("three-%d is led by %d", n, p.Leader)
		}
	}
	for n, p := range log.Image().Topic("one").Partitions { // nobody else has the data: it waits for this broker
		if p.Leader != p.Replicas[0] {
			t.Errorf("one-%d is led by %d, its replica is %d", n, p.Leader, p.Replicas[0])
		}
	}
	expect(t, "unfence", c.UnfenceBroker(t.Context(), 2, epoch), nil)
}
