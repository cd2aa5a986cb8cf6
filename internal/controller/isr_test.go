package controller

import (
	"errors"
	"slices"
	"testing"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
)

// trio has brokers 1 to 3 and the topic "t" of one partition with replicas 1 2 3, all in sync, led by 1, and a minimum as given.
func trio(t testing.TB, minISR string) (*Controller, *memoryLog) {
	t.Helper()
	c, log := cluster(t, 3, map[string]string{"min.insync.replicas": minISR})
	n := topic("t", Default, Default)
	n.Assignment = []Assignment{{0, []int32{1, 2, 3}}}
	mustCreate(t, c, n)
	return c, log
}

func theOne(log *memoryLog) *metadata.Partition { return log.Image().Topic("t").Partitions[0] }

func epochOfBroker(log *memoryLog, id int32) int64 { return log.Image().Broker(id).Epoch }

// proposal is what the leader proposes with the image as it is.
func proposal(log *memoryLog, isr ...int32) IsrChange {
	im := log.Image()
	p := theOne(log)
	return IsrChange{TopicID: im.Topic("t").ID, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, ISR: isr, BrokerEpochs: brokerEpochs(im, isr)}
}

// change proposes as the leader and returns the result of the one change.
func change(t testing.TB, c *Controller, log *memoryLog, ch IsrChange) error {
	t.Helper()
	leader := theOne(log).Leader
	results, err := c.ChangeIsr(t.Context(), leader, epochOfBroker(log, leader), []IsrChange{ch})
	if err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	return results[0]
}

func fence(t testing.TB, c *Controller, log *memoryLog, ids ...int32) {
	t.Helper()
	for _, id := range ids {
		expect(t, "fence", c.FenceBroker(t.Context(), id, epochOfBroker(log, id)), nil)
	}
}

func unfence(t testing.TB, c *Controller, log *memoryLog, ids ...int32) {
	t.Helper()
	for _, id := range ids {
		expect(t, "unfence", c.UnfenceBroker(t.Context(), id, epochOfBroker(log, id)), nil)
	}
}

// restart registers a new incarnation, fenced as nodes of a cluster are at first.
func restart(t testing.TB, c *Controller, id int32, disk byte, fenced bool) error {
	t.Helper()
	_, err := c.RegisterBroker(t.Context(), Registration{BrokerID: id, Incarnation: uuid.New(), DiskID: uuid.UUID{disk}, Fenced: fenced})
	return err
}

func wantPartition(t testing.TB, what string, p *metadata.Partition, leader int32, isr, elr []int32) {
	t.Helper()
	same := func(a, b []int32) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	if p.Leader != leader || !same(p.ISR, isr) || !same(p.ELR, elr) {
		t.Errorf("%s: leader %d, ISR %v, ELR %v; want %d, %v, %v", what, p.Leader, p.ISR, p.ELR, leader, isr, elr)
	}
}

func TestDecideIsrRefuses(t *testing.T) {
	c, log := trio(t, "2")
	fence(t, c, log, 3)
	expect(t, "another topic", func() error { mustCreate(t, c, topic("gone", 1, 1)); return nil }(), nil)
	gone := log.Image().Topic("gone").ID
	if _, err := c.DeleteTopics(t.Context(), []TopicRef{{Name: "gone"}}); err != nil {
		t.Fatal(err)
	}
	im := log.Image()
	good := proposal(log, 1)
	tests := []struct {
		what  string
		from  int32
		epoch int64 // added to the broker's
		edit  func(c *IsrChange)
		want  error
	}{
		{"nothing wrong", 1, 0, func(*IsrChange) {}, nil},
		{"not the leader", 2, 0, func(c *IsrChange) {}, ErrStaleLeaderEpoch},
		{"an earlier incarnation", 1, -1, func(*IsrChange) {}, ErrStaleBrokerEpoch},
		{"a later incarnation", 1, 1, func(*IsrChange) {}, metalog.ErrNotController},
		{"leader epoch before", 1, 0, func(c *IsrChange) { c.LeaderEpoch-- }, ErrStaleLeaderEpoch},
		{"leader epoch ahead", 1, 0, func(c *IsrChange) { c.LeaderEpoch++ }, metalog.ErrNotController},
		{"partition epoch before", 1, 0, func(c *IsrChange) { c.PartitionEpoch-- }, ErrStalePartitionEpoch},
		{"partition epoch ahead", 1, 0, func(c *IsrChange) { c.PartitionEpoch++ }, metalog.ErrNotController},
		{"member of an earlier incarnation", 1, 0, func(c *IsrChange) {
			c.ISR, c.BrokerEpochs = []int32{1, 2}, []int64{epochOfBroker(log, 1), epochOfBroker(log, 2) - 1}
		}, ErrIneligibleReplica},
		{"member of a later incarnation", 1, 0, func(c *IsrChange) {
			c.ISR, c.BrokerEpochs = []int32{1, 2}, []int64{epochOfBroker(log, 1), epochOfBroker(log, 2) + 1}
		}, metalog.ErrNotController},
		{"fenced member", 1, 0, func(c *IsrChange) { c.ISR, c.BrokerEpochs = []int32{1, 2, 3}, brokerEpochs(im, []int32{1, 2, 3}) }, ErrIneligibleReplica},
		{"no replica", 1, 0, func(c *IsrChange) { c.ISR, c.BrokerEpochs = []int32{1, 9}, []int64{epochOfBroker(log, 1), 0} }, ErrInvalidRequest},
		{"twice", 1, 0, func(c *IsrChange) { c.ISR, c.BrokerEpochs = []int32{1, 1}, brokerEpochs(im, []int32{1, 1}) }, ErrInvalidRequest},
		{"without the leader", 1, 0, func(c *IsrChange) { c.ISR, c.BrokerEpochs = []int32{2}, brokerEpochs(im, []int32{2}) }, ErrInvalidRequest},
		{"epochs missing", 1, 0, func(c *IsrChange) { c.BrokerEpochs = nil }, ErrInvalidRequest},
		{"deleted topic", 1, 0, func(c *IsrChange) { c.TopicID = gone }, ErrUnknownTopicID},
		{"unknown topic", 1, 0, func(c *IsrChange) { c.TopicID = uuid.UUID{9} }, metalog.ErrNotController},
		{"unknown partition", 1, 0, func(c *IsrChange) { c.Partition = 7 }, metalog.ErrNotController},
	}
	for _, tt := range tests {
		ch := good
		tt.edit(&ch)
		ev, err := DecideIsr(im, tt.from, epochOfBroker(log, tt.from)+tt.epoch, &ch, 2)
		expect(t, tt.what, err, tt.want)
		if err != nil && !isRefusal(err) != errors.Is(err, metalog.ErrNotController) {
			t.Errorf("%s: %v is neither a refusal nor of the log", tt.what, err)
		}
		if (ev == nil) != (err != nil) && tt.what != "fenced member" {
			t.Errorf("%s: event %+v with %v", tt.what, ev, err)
		}
	}
}

// A refusal because a member is fenced must not be undone by a late copy: the leader has stopped to count on that member, so accepting the
// copy would let a replica without acknowledged records lead.
func TestRefusalIsDefinite(t *testing.T) {
	c, log := trio(t, "1")
	fence(t, c, log, 2, 3)
	late := proposal(log, 1, 2)
	expect(t, "fenced member", change(t, c, log, late), ErrIneligibleReplica)
	unfence(t, c, log, 2)
	expect(t, "a late copy", change(t, c, log, late), ErrStalePartitionEpoch)
	wantPartition(t, "after it", theOne(log), 1, []int32{1}, nil)
	expect(t, "measured again", change(t, c, log, proposal(log, 1, 2)), nil)
	wantPartition(t, "after that", theOne(log), 1, []int32{1, 2}, nil)

	expect(t, "resign", c.ResignBroker(t.Context(), 3, epochOfBroker(log, 3)), nil)
	unfence(t, c, log, 3)
	expect(t, "a stopping member", change(t, c, log, proposal(log, 1, 2, 3)), ErrIneligibleReplica)
}

func TestIsrAndEligibleReplicas(t *testing.T) {
	c, log := trio(t, "2")
	expect(t, "shrink to two", change(t, c, log, proposal(log, 1, 2)), nil)
	wantPartition(t, "two", theOne(log), 1, []int32{1, 2}, nil)
	expect(t, "shrink to one", change(t, c, log, proposal(log, 1)), nil)
	wantPartition(t, "one", theOne(log), 1, []int32{1}, []int32{2}) // 3 missed what 1 and 2 acknowledged
	fence(t, c, log, 1)
	wantPartition(t, "the leader goes too", theOne(log), 2, []int32{2}, []int32{1})
	expect(t, "3 catches up", change(t, c, log, proposal(log, 2, 3)), nil)
	wantPartition(t, "enough", theOne(log), 2, []int32{2, 3}, nil)
}

// One proposal with results of its own for each change; the log's errors are the request's.
func TestChangeIsrBatch(t *testing.T) {
	c, log := trio(t, "2")
	good, stale := proposal(log, 1, 2), proposal(log, 1)
	results, err := c.ChangeIsr(t.Context(), 1, epochOfBroker(log, 1), []IsrChange{good, stale})
	if err != nil || len(results) != 2 || results[0] != nil {
		t.Fatal(results, err)
	}
	expect(t, "the second is behind the first", results[1], ErrStalePartitionEpoch)
	log.fail = metalog.ErrUnknownOutcome
	if results, err = c.ChangeIsr(t.Context(), 1, epochOfBroker(log, 1), []IsrChange{proposal(log, 1)}); !errors.Is(err, metalog.ErrUnknownOutcome) || results != nil {
		t.Errorf("%v, %v", results, err)
	}
}

// A leader with damaged data leaves the ISR, and another member leads in a new epoch, in one event; it is not eligible, even where too few
// stay in sync.
func TestLeaderResigns(t *testing.T) {
	for _, tt := range []struct {
		name        string
		isr         []int32 // before
		propose     []int32
		lost        []int32
		leader      int32
		elr         []int32
		want        error
		wantElected bool
	}{
		{name: "all in sync", propose: []int32{2, 3}, leader: 2, wantElected: true},
		{name: "too few stay", isr: []int32{1, 3}, propose: []int32{3}, leader: 3, elr: nil, wantElected: true},
		{name: "one is lost too", propose: []int32{3}, lost: []int32{2}, leader: 3, wantElected: true},
		{name: "with itself", propose: []int32{1, 2}, want: ErrInvalidRequest},
		{name: "not in the ISR", isr: []int32{1, 2}, propose: []int32{2, 3}, want: ErrInvalidRequest},
		{name: "nobody", propose: nil, want: ErrEligibleLeadersNotUp},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, log := trio(t, "2")
			if tt.isr != nil {
				expect(t, "shrink", change(t, c, log, proposal(log, tt.isr...)), nil)
			}
			before := *theOne(log)
			ch := proposal(log, tt.propose...)
			ch.Resign, ch.Lost = true, tt.lost
			expect(t, "resign", change(t, c, log, ch), tt.want)
			p := theOne(log)
			if !tt.wantElected {
				if p.PartitionEpoch != before.PartitionEpoch || p.Leader != 1 {
					t.Errorf("refused, and the partition is %+v", p)
				}
				return
			}
			if p.Leader != tt.leader || p.LeaderEpoch != before.LeaderEpoch+1 || !slices.Equal(p.ISR, tt.propose) || !slices.Equal(p.ELR, tt.elr) {
				t.Errorf("partition %+v", p)
			}
			expect(t, "the same again", change(t, c, log, ch), ErrStaleLeaderEpoch)
		})
	}
}

// A resignation that finds nobody in service is no definite refusal: sent again, verbatim, it holds once somebody is.
func TestResignationWaitsForSomebody(t *testing.T) {
	c, log := trio(t, "1")
	expect(t, "shrink", change(t, c, log, proposal(log, 1, 2)), nil)
	expect(t, "restart", restart(t, c, 2, 2, true), nil)
	ch := proposal(log, 2)
	ch.Resign = true
	if !theOne(log).InISR(2) {
		t.Fatal("a broker that restarts with its disk has left the ISR")
	}
	expect(t, "resign", change(t, c, log, ch), ErrEligibleLeadersNotUp)
	unfence(t, c, log, 2)
	expect(t, "resign", change(t, c, log, ch), nil)
	if p := theOne(log); p.Leader != 2 {
		t.Errorf("partition %+v", p)
	}
}

// Who lacks acknowledged records is not eligible, whether it leaves the ISR with that or was eligible before.
func TestLostIsNotEligible(t *testing.T) {
	c, log := trio(t, "3")
	ch := proposal(log, 1, 3)
	ch.Lost = []int32{2}
	expect(t, "leave", change(t, c, log, ch), nil)
	if p := theOne(log); len(p.ELR) != 0 {
		t.Errorf("ELR %v", p.ELR)
	}
	expect(t, "leave", change(t, c, log, proposal(log, 1)), nil)
	if p := theOne(log); !slices.Equal(p.ELR, []int32{3}) {
		t.Errorf("ELR %v", p.ELR)
	}
	ch = proposal(log, 1)
	ch.Lost = []int32{3}
	expect(t, "no longer eligible", change(t, c, log, ch), nil)
	if p := theOne(log); len(p.ELR) != 0 {
		t.Errorf("ELR %v", p.ELR)
	}
	ch = proposal(log, 1)
	ch.Lost = []int32{1}
	expect(t, "lost and in the ISR", change(t, c, log, ch), ErrInvalidRequest)
}
