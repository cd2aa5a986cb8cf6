package replica

import (
	"errors"
	"testing"
)

// testLineage is a log of one epoch.
type testLineage struct {
	start, end int64
	epoch      int32
}

func (l *testLineage) Start() int64 { return l.start }
func (l *testLineage) End() int64   { return l.end }
func (l *testLineage) EpochAt(o int64) (int32, bool) {
	return l.epoch, o >= l.start && o < l.end
}
func (l *testLineage) EpochEnd(epoch int32) (int32, int64) {
	if epoch != l.epoch {
		return -1, -1
	}
	return epoch, l.end
}

// lineage is a log of several epochs.
type lineage struct {
	start, end int64
	epochs     []epochAt
}

type epochAt struct {
	epoch int32
	start int64
}

func (l *lineage) Start() int64 { return l.start }
func (l *lineage) End() int64   { return l.end }
func (l *lineage) EpochAt(o int64) (int32, bool) {
	epoch := int32(-1)
	for _, e := range l.epochs {
		if e.start <= o {
			epoch = e.epoch
		}
	}
	return epoch, o >= l.start && o < l.end
}
func (l *lineage) EpochEnd(epoch int32) (int32, int64) {
	if epoch > l.epochs[len(l.epochs)-1].epoch {
		return -1, -1
	}
	found := epoch
	for _, e := range l.epochs {
		if e.epoch > epoch {
			return found, e.start
		}
		found = e.epoch
	}
	return found, l.end
}

func testView(epoch, unclean int32) *View {
	return &View{Leader: 1, LeaderEpoch: epoch, UncleanEpoch: unclean, ISR: []int32{1}, MinISR: 1,
		Members: []Member{{ID: 1, BrokerEpoch: 1, Nonce: 1}, {ID: 2, BrokerEpoch: 2, Nonce: 2}}}
}

// A new stream does not tell what the follower has: nothing of it may be destroyed before it has said so.
func TestNewStreamDoesNotReset(t *testing.T) {
	c := NewLeaderCore(1, testView(1, 0), &testLineage{start: 50, end: 60, epoch: 1}, 60, 60, 0, 0)
	c.start = 0
	c.Connected(2, 2, 0, 0)
	if from, reset, ok := c.Next(2); from != 50 || reset || !ok {
		t.Fatalf("pushes from %d, reset %v, %v", from, reset, ok)
	}
	c.Refused(2, 2, 1, Refusal{LastEpoch: 1, End: 40, LogEnd: 40}, 1, 0)
	if from, reset, _ := c.Next(2); from != 50 || !reset {
		t.Fatalf("a follower that ends below the log start is pushed to from %d, reset %v", from, reset)
	}
}

// What was refused of a former leader epoch's frames says nothing about this one: nobody would say Ready again.
func TestRefusalOfFormerEpochIsIgnored(t *testing.T) {
	c := NewLeaderCore(1, testView(2, 0), &testLineage{end: 10, epoch: 1}, 10, 0, 0, 0)
	c.Connected(2, 2, 7, 0)
	c.Refused(2, 2, 7, Refusal{NotReady: true}, 8, 0)
	if _, _, ok := c.Next(2); !ok {
		t.Fatal("a refusal of the former epoch's frame stops the pushing")
	}
	c.Refused(2, 2, 8, Refusal{NotReady: true}, 8, 0)
	if _, _, ok := c.Next(2); ok {
		t.Fatal("a refusal of this epoch's frame does not")
	}
}

// A reset that comes twice destroys nothing that was acked in between, and one that is done lowers what is verified.
func TestResetTwice(t *testing.T) {
	l := &testLineage{start: 0, end: 5, epoch: 1}
	f := NewFollowerCore(2, testView(1, 0), l, 0)
	p := Push{Leader: 1, LeaderNonce: 1, LeaderEpoch: 1, PrevEpoch: -1, Base: 20, HighWatermark: 40, Reset: true}
	if fits, _, err := f.Check(&p, 0); !fits || err != nil || !p.Reset {
		t.Fatalf("first reset: %v, %v, %v", fits, err, p.Reset)
	}
	l.start, l.end = 20, 30
	if hw := f.Verify(&p, 30); hw != 30 {
		t.Fatalf("high watermark %d", hw)
	}
	p.Reset = true
	if fits, _, err := f.Check(&p, 0); !fits || err != nil || p.Reset {
		t.Fatalf("second reset: %v, %v, still %v", fits, err, p.Reset)
	}
	l.start, l.end = 20, 22 // begun anew all the same, by an unclean truncation
	if hw := f.Verify(&p, 22); hw != 22 {
		t.Fatalf("high watermark %d in a log that ends at 22", hw)
	}
}

// Records that an unclean election gave up go before anything is acked.
func TestOverruledFollowerBeginsAnew(t *testing.T) {
	f := NewFollowerCore(2, testView(3, 3), &testLineage{start: 25, end: 64, epoch: 1}, 0)
	for _, base := range []int64{0, 30} {
		p := Push{Leader: 1, LeaderNonce: 1, LeaderEpoch: 3, PrevEpoch: 1, Base: base}
		if fits, r, err := f.Check(&p, 0); fits || err != nil || r.End != -1 {
			t.Fatalf("push at %d: fits %v, %+v, %v", base, fits, r, err)
		}
	}
}

// A follower that does not know yet that its leader goes on without it need not stop when that has deleted what both had: none of what it
// gives up is known to be acknowledged. What is below its high watermark is.
func TestResetByLeaderThatWentOnAlone(t *testing.T) {
	v := testView(5, 0)
	v.ISR = []int32{1, 2} // the leader's newer view has only itself
	f := NewFollowerCore(2, v, &testLineage{end: 21, epoch: 4}, 0)
	p := Push{Leader: 1, LeaderNonce: 1, LeaderEpoch: 5, PrevEpoch: -1, Base: 5, HighWatermark: 7, LogStart: 5, Reset: true}
	for _, hw := range []int64{0, 4, 5} {
		if fits, r, err := f.Check(&p, hw); !fits || err != nil || !p.Reset {
			t.Fatalf("high watermark %d: fits %v, %+v, %v", hw, fits, r, err)
		}
	}
	if _, _, err := f.Check(&p, 6); !errors.Is(err, ErrDiverged) {
		t.Fatalf("gives up what is acknowledged: %v", err)
	}
}

// The records of a follower from its log start on are of an epoch that ended, at its leader, below that: the two must agree on the start.
func TestNothingInCommonAboveTheStart(t *testing.T) {
	leads := lineage{start: 0, end: 12, epochs: []epochAt{{0, 0}, {3, 4}, {4, 9}}}
	follows := lineage{start: 5, end: 10, epochs: []epochAt{{2, 5}}}
	c := NewLeaderCore(1, testView(4, 0), &leads, 12, 5, 0, 0)
	c.start = 9
	f := NewFollowerCore(2, testView(4, 0), &follows, 0)
	c.Connected(2, 2, 0, 0)
	for seq := range uint64(6) {
		from, reset, ok := c.Next(2)
		p := Push{Leader: 1, LeaderNonce: 1, LeaderEpoch: 4, PrevEpoch: c.PrevEpoch(from), Base: from, HighWatermark: 5, Reset: reset}
		fits, r, err := f.Check(&p, 5)
		if !ok || err != nil {
			t.Fatalf("push from %d: %v, %v", from, ok, err)
		}
		if fits {
			if from != 5 || reset {
				t.Fatalf("agree on %d, reset %v", from, reset)
			}
			return
		}
		c.Refused(2, 2, seq+1, r, seq+1, 0)
	}
	t.Fatal("push and refusal without end")
}

// Readiness tells of a loss too, whether the leader waits for it or not.
func TestReadyTellsLoss(t *testing.T) {
	v := testView(1, 0)
	v.ISR = []int32{1, 2}
	c := NewLeaderCore(1, v, &testLineage{end: 10, epoch: 1}, 10, 0, 0, 0)
	c.Connected(2, 2, 0, 0)
	c.Ack(2, 2, 1, 10, 0)
	c.Ready(2, 2, 1, Refusal{LastEpoch: 1, End: 6, LogEnd: 6}, 0, 0)
	if p := c.Propose(0); p == nil || len(p.ISR) != 1 {
		t.Fatalf("proposes %+v", p)
	}
}
