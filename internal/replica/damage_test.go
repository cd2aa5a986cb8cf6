package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/uuid"
)

// fillSegments produces so many records of 64 KiB, waits until the nodes have written some to segments, and returns the log's end.
func (n *network) fillSegments(leader *Replica, topic uuid.UUID, records int, nodes ...int32) int64 {
	n.t.Helper()
	big := strings.Repeat("x", 64<<10)
	for range records {
		if err := ended(n.t.(*testing.T), n.produce(leader, big, true)); err != nil {
			n.t.Fatal(err)
		}
	}
	for _, id := range nodes {
		n.until("records are in segments", func() bool {
			infos, err := n.replica(id, topic).Log().SegmentInfos()
			return err == nil && len(infos) > 0 && !infos[0].InWAL && infos[0].Bytes > 128<<10
		})
	}
	return leader.End()
}

// segment finds a node's oldest segment file.
func (n *network) segment(node int32) string {
	n.t.Helper()
	fsys := n.nodes[node].fs
	var find func(dir string) string
	find = func(dir string) string {
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			if e.IsDir() {
				if found := find(name); found != "" {
					return found
				}
			} else if len(e.Name()) == 24 && strings.HasSuffix(name, ".log") {
				return name
			}
		}
		return ""
	}
	name := find("d")
	if name == "" {
		n.t.Fatalf("node %d has no segment", node)
	}
	return name
}

// flip changes a bit in the first batch of a node's oldest segment.
func (n *network) flip(node int32) {
	n.t.Helper()
	f, err := n.nodes[node].fs.OpenFile(n.segment(node), os.O_RDWR, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 5000); err != nil {
		n.t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, 5000); err != nil {
		n.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		n.t.Fatal(err)
	}
}

// readDamage reads the first record, which is damaged, and reports it as whoever serves it would.
func (n *network) readDamage(r *Replica) {
	n.t.Helper()
	_, err := r.Log().Read(nil, 0, r.HighWatermark(), 1, true)
	if !errors.Is(err, partition.ErrCorrupt) {
		n.t.Fatalf("read of a damaged batch: %v", err)
	}
	r.ReportCorrupt(0, err)
}

func (n *network) leader(topic string) int32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.im.Topic(topic).Partitions[0].Leader
}

func (n *network) set(flag *bool, v bool) {
	n.mu.Lock()
	*flag = v
	n.mu.Unlock()
}

// A follower that comes upon damage leaves the ISR, begins anew, and is in the ISR again with everything; other partitions on the stream do
// not wait for it, and while it counts it keeps what it has.
func TestDamagedFollowerRepairs(t *testing.T) {
	n := newNetwork(t, 3)
	n.set(&n.blind, true)
	id, other := n.topic("t", 7, 1, 2, 3), n.topic("u", 8, 1, 2, 3)
	leader := n.replica(1, id)
	end := n.fillSegments(leader, id, 48, 3)
	n.set(&n.still, true)
	n.flip(3)
	n.readDamage(n.replica(3, id))
	n.until("node 3 knows of the damage", func() bool { return n.replica(3, id).Damaged() != nil })
	stuck := n.produce(leader, "not before node 3 has left", true)
	for range 20 {
		if err := ended(t, n.produce(n.replica(1, other), "flows", true)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(300 * time.Millisecond) // time to do it wrong
	if r := n.replica(3, id); r.Start() != 0 || r.End() < end || r.Log().Fault() == nil && r.Damaged() == nil {
		t.Errorf("node 3 counts and has %d to %d, damage: %v", r.Start(), r.End(), r.Damaged())
	}
	select {
	case err := <-stuck:
		t.Errorf("acknowledged (%v) without node 3, which is in the ISR", err)
	default:
	}
	n.set(&n.still, false)
	if err := ended(t, stuck); err != nil {
		t.Fatal(err)
	}
	n.until("node 3 is repaired", func() bool { return n.nodes[3].set.Stats().Repaired == 1 && slices.Contains(n.isr("t"), 3) })
	n.equal(id, end+1, 1, 2, 3)
	n.equal(other, 20, 1, 2, 3)
}

// A leader that comes upon damage does not cut and does not go on: another one leads, and it repairs as a follower.
func TestDamagedLeaderResigns(t *testing.T) {
	n := newNetwork(t, 3)
	n.set(&n.blind, true)
	id := n.topic("t", 7, 1, 2, 3)
	end := n.fillSegments(n.replica(1, id), id, 48, 1)
	n.flip(1)
	n.readDamage(n.replica(1, id))
	n.until("another node leads", func() bool { l := n.leader("t"); return l == 2 || l == 3 })
	if !n.said.has("partition data is damaged here: another replica that is in sync is to lead") {
		t.Error("the log does not say that another replica is to lead")
	}
	leader := n.replica(n.leader("t"), id)
	n.until("it knows", leader.Leads)
	if err := ended(t, n.produce(leader, "goes on", true)); err != nil {
		t.Fatal(err)
	}
	n.until("node 1 is repaired", func() bool { return n.nodes[1].set.Stats().Repaired == 1 && slices.Contains(n.isr("t"), 1) })
	n.equal(id, end+1, 1, 2, 3)
}

// A leader with damage that nobody can follow goes on to lead, and resigns as soon as somebody can.
func TestDamagedLeaderAlone(t *testing.T) {
	n := newNetwork(t, 3)
	n.set(&n.blind, true)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	end := n.fillSegments(leader, id, 48, 1)
	n.stop(2)
	n.stop(3)
	n.until("node 1 is alone in the ISR", func() bool { return len(n.isr("t")) == 1 })
	n.flip(1)
	n.readDamage(leader)
	n.until("it knows of the damage", func() bool { return leader.Damaged() != nil })
	if n.said.has("another replica that is in sync is to lead") || !n.said.has("partition data is damaged here: no other replica is in sync") {
		t.Error("the log says that another replica is to lead, and there is none")
	}
	if all := n.nodes[1].set.Damaged(10); len(all) != 1 || all[0].Replica != leader || all[0].Err == nil {
		t.Errorf("node 1 lists as damaged: %v", all)
	}
	time.Sleep(300 * time.Millisecond)
	if n.leader("t") != 1 || !leader.Leads() || leader.Start() != 0 || leader.End() != end {
		t.Fatalf("leader %d; node 1 leads: %t, has %d to %d", n.leader("t"), leader.Leads(), leader.Start(), leader.End())
	}
	if _, err := leader.Log().Read(nil, end-1, end, 1, true); err != nil {
		t.Errorf("what is not damaged is not served: %v", err)
	}
	n.start(2)
	n.until("node 2 leads", func() bool { return n.leader("t") == 2 })
	n.until("node 1 is repaired", func() bool { return n.nodes[1].set.Stats().Repaired == 1 && slices.Contains(n.isr("t"), 1) })
	n.equal(id, end, 1, 2)
	if all := n.nodes[1].set.Damaged(10); len(all) != 0 {
		t.Errorf("node 1 lists as damaged what is repaired: %v", all)
	}
}

// The comparison finds damage of a follower that nobody has read, here a lost file, and it is repaired.
func TestComparisonFindsDamage(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	end := n.fillSegments(n.replica(1, id), id, 240, 2) // more than the WAL keeps
	n.until("it was compared before", func() bool { return n.nodes[1].set.Stats().Compared > 10 })
	n.stop(2)
	if err := n.nodes[2].fs.Remove(n.segment(2)); err != nil {
		t.Fatal(err)
	}
	n.start(2)
	n.until("node 2 is repaired", func() bool { return n.nodes[2].set.Stats().Repaired == 1 && slices.Contains(n.isr("t"), 2) })
	n.equal(id, end, 1, 2, 3)
	before := n.nodes[1].set.Stats().Compared
	if err := ended(t, n.produce(n.replica(1, id), "more", true)); err != nil {
		t.Fatal(err)
	}
	n.until("what came is compared with both", func() bool { return n.nodes[1].set.Stats().Compared >= before+2 })
	if d := n.nodes[1].set.Stats().Differ; d != 0 {
		t.Errorf("%d ranges differ", d)
	}
}

// Replicas that differ are reported by both, and neither changes anything.
func TestComparisonReportsDifference(t *testing.T) {
	n := newNetwork(t, 2)
	n.set(&n.blind, true)
	id := n.topic("t", 7, 1, 2)
	if err := ended(t, n.produce(n.replica(1, id), "a", true)); err != nil {
		t.Fatal(err)
	}
	n.equal(id, 1, 1, 2)
	x := Range{Topic: id, LeaderEpoch: n.replica(1, id).LeaderEpoch(), To: 1, CRC: 1, Batches: 1}
	s := n.nodes[2].set
	if c := s.Compare(&x); !c.Done || c.Batches != 1 || c.CRC == 1 || s.Stats().Differ != 1 {
		t.Errorf("%+v, differ %d", c, s.Stats().Differ)
	}
	for _, y := range []Range{{Topic: id, LeaderEpoch: x.LeaderEpoch + 1, To: 1}, {Topic: id, LeaderEpoch: x.LeaderEpoch, To: 2}, {Topic: uuid.UUID{1}, To: 1}} {
		if c := s.Compare(&y); c.Done || s.Stats().Differ != 1 {
			t.Errorf("%+v: %+v", y, c)
		}
	}
	leader := n.nodes[1].set
	n.set(&n.lies, true)
	c := comparer{s: leader, done: map[partition.ID]compared{}}
	c.next(context.Background())
	if d := leader.Stats().Differ; d < 1 { // the leader's own comparison may have come first, too
		t.Errorf("the leader reports %d differences", d)
	}
	n.equal(id, 1, 1, 2)
}

// A follower never gives up a damaged log while its records count.
func TestFaultyFollowerCore(t *testing.T) {
	v := &View{Leader: 1, LeaderEpoch: 3, ISR: []int32{1}, ELR: []int32{2}, Members: []Member{{ID: 1, Nonce: 9}, {ID: 2}}, MinISR: 2}
	log := epochsOf{1, 1, 2}
	f := NewFollowerCore(2, v, log, 0)
	f.Faulty()
	p := Push{Leader: 1, LeaderNonce: 9, LeaderEpoch: 3, Reset: true}
	if fits, r, err := f.Check(&p, 0); fits || !r.Faulty || err != nil {
		t.Errorf("eligible: %t %+v %v", fits, r, err)
	}
	w := *v
	w.ELR = nil
	f.Follow(&w)
	if fits, r, err := f.Check(&Push{Leader: 1, LeaderNonce: 9, LeaderEpoch: 3, Base: 3, PrevEpoch: 2}, 0); fits || !r.Faulty || err != nil {
		t.Errorf("push at the end: %t %+v %v", fits, r, err)
	}
	if fits, _, err := f.Check(&p, 0); !fits || err != nil || !p.Reset {
		t.Errorf("out of ISR and ELR: %t %v", fits, err)
	}
	if fits, _, _ := f.Check(&Push{Leader: 1, LeaderNonce: 8, LeaderEpoch: 3, Reset: true}, 0); fits {
		t.Error("begins anew for another process of the leader")
	}
}

// What is deleted for a client is deleted on all replicas that may lead next when it is told.
func TestLogStartIsAdoptedBeforeTheAnswer(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	leader := n.replica(1, id)
	wait := func(low int64, d time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		return leader.AwaitStart(ctx, low)
	}
	for i := range int64(50) {
		if err := ended(t, n.produce(leader, "x", true)); err != nil {
			t.Fatal(err)
		}
		low, err := leader.AdvanceStart(i + 1)
		if err != nil || low != i+1 {
			t.Fatal(low, err)
		}
		if err := wait(low, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		for node := int32(2); node <= 3; node++ {
			if start := n.replica(node, id).Start(); start < low {
				t.Fatalf("a client was told of log start %d, node %d begins at %d", low, node, start)
			}
		}
	}
	n.set(&n.still, true)
	n.stop(3)
	if err := ended(t, n.produce(leader, "x", false)); err != nil {
		t.Fatal(err)
	}
	if err := wait(51, 200*time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("node 3 is in the ISR and away: %v", err)
	}
	n.set(&n.still, false)
	n.until("node 3 has left", func() bool { return len(n.isr("t")) == 2 })
	low, err := leader.AdvanceStart(-1)
	if err != nil {
		t.Fatal(err)
	}
	if err := wait(low, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	n.stop(2) // alone in the ISR: node 2 is eligible, and might lead next
	n.until("node 2 has left", func() bool { return len(n.isr("t")) == 1 })
	if err := wait(low, 200*time.Millisecond); !errors.Is(err, ErrTimeout) {
		t.Errorf("with too few in sync: %v", err)
	}
	n.start(3)
	n.until("node 3 is in the ISR", func() bool { return slices.Contains(n.isr("t"), 3) })
	if start := n.replica(3, id).Start(); start < low {
		t.Errorf("node 3 joined the ISR with log start %d, a client was told of %d", start, low)
	}
}

// The flags of answers survive the wire.
func TestAnswersOnTheWire(t *testing.T) {
	id := partition.ID{Topic: uuid.UUID{7}, Partition: 3}
	for _, r := range []Refusal{{}, {NotReady: true, LastEpoch: 1, End: 2, LogEnd: 3}, {Faulty: true, LastEpoch: -1, End: -1}, {NotReady: true, Faulty: true, LogEnd: 1 << 40}} {
		if seq, p, got, err := readRefuse(refuseFrame(nil, 9, id, &r)); seq != 9 || p != id || got != r || err != nil {
			t.Errorf("refusal %+v: %d %v %+v %v", r, seq, p, got, err)
		}
		if epoch, p, got, err := readReady(readyFrame(nil, 4, id, &r)); epoch != 4 || p != id || got != r || err != nil {
			t.Errorf("ready %+v: %d %v %+v %v", r, epoch, p, got, err)
		}
	}
}

// epochsOf is a log of so many records by their leader epochs.
type epochsOf []int32

func (l epochsOf) Start() int64 { return 0 }
func (l epochsOf) End() int64   { return int64(len(l)) }

func (l epochsOf) EpochAt(offset int64) (int32, bool) {
	if offset < 0 || offset >= l.End() {
		return -1, false
	}
	return l[offset], true
}

func (l epochsOf) EpochEnd(epoch int32) (int32, int64) {
	for i := len(l) - 1; i >= 0; i-- {
		if l[i] <= epoch {
			return l[i], int64(i + 1)
		}
	}
	return -1, -1
}
