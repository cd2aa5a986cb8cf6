package kafkaserver

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// propose commits events and waits until all nodes show them.
func (tr *trio) propose(events ...metadata.Event) {
	tr.t.Helper()
	offset, err := tr.nodes[0].meta.Propose(tr.t.Context(), func(*metadata.Image) ([]metadata.Event, error) { return events, nil })
	if err != nil {
		tr.t.Fatal(err)
	}
	for _, n := range tr.nodes {
		ctx, cancel := context.WithTimeout(tr.t.Context(), 10*time.Second)
		if err := n.meta.WaitApplied(ctx, offset); err != nil {
			tr.t.Fatalf("node %d does not show offset %d: %v", n.id, offset, err)
		}
		cancel()
	}
}

// topicOn makes a topic of one partition, all its replicas in sync, the first one leading; one in sync is enough.
func (tr *trio) topicOn(name string, replicas ...int32) {
	tr.t.Helper()
	tr.propose(&metadata.TopicCreated{Name: name, TopicID: uuid.New(), TimestampMs: 1,
		Partitions: []metadata.PartitionState{{Replicas: replicas, ISR: replicas, Leader: replicas[0]}},
		Configs:    map[string]string{"min.insync.replicas": "1"}})
}

// setLeader begins the next leader epoch of partition 0.
func (tr *trio) setLeader(name string, leader int32, isr ...int32) {
	tr.t.Helper()
	topic := tr.nodes[0].image().Topic(name)
	p := topic.Partitions[0]
	tr.propose(&metadata.SetLeader{Name: name, TopicID: topic.ID, Leader: leader, ISR: isr, LeaderEpoch: p.LeaderEpoch + 1,
		PartitionEpoch: p.PartitionEpoch + 1})
}

// put writes batches of five records of an epoch into a node's log of partition 0, as replication would, and waits until they are
// durable.
func (n *trioNode) put(name string, epoch int32, batches int) {
	n.trio.t.Helper()
	log := n.replica(name, 0).Log()
	limits := log.Config()
	for range batches {
		b := records(5, 100)
		info, err := recordbatch.Validate(b, limits.Limits(time.Now().UnixMilli()))
		if err == nil {
			_, err = log.Append(b, partition.AppendOptions{Info: info, LeaderEpoch: epoch, NowMs: time.Now().UnixMilli()})
		}
		if err != nil {
			n.trio.t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); log.DurableEnd() < log.End(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			n.trio.t.Fatal("not durable")
		}
	}
}

// fetchAt is a fetch of partition 0 that does not wait.
func (n *trioNode) fetchAt(version int16, name string, offset int64, change func(*kmsg.FetchRequestTopicPartition)) *kmsg.FetchRequest {
	req := n.fetchVersion(version, name, 0, map[int32]int64{0: offset})
	p := &req.Topics[0].Partitions[0]
	p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
	if change != nil {
		change(p)
	}
	return req
}

// A follower answers for what it can prove: records below its high watermark, and a position below its log start or off its committed
// history. All else waits, or is for the leader to tell.
func TestFetchFromFollower(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	f := tr.nodes[1]
	log := f.replica("t", 0).Log()
	f.put("t", 0, 2) // 0 to 9
	tr.setLeader("t", 1, 1, 2)
	f.put("t", 1, 2) // 10 to 19
	none := kmsg.FetchRequestTopicPartition{CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}
	current := func(e int32) kmsg.FetchRequestTopicPartition {
		return kmsg.FetchRequestTopicPartition{CurrentLeaderEpoch: e, LastFetchedEpoch: -1}
	}
	last := func(e int32) kmsg.FetchRequestTopicPartition {
		return kmsg.FetchRequestTopicPartition{CurrentLeaderEpoch: -1, LastFetchedEpoch: e}
	}
	tests := []struct {
		name      string
		hw, start int64
		version   int16
		offset    int64
		epochs    kmsg.FetchRequestTopicPartition
		err       *kerr.Error
		batches   int
		diverging int64 // end offset; -1: none
	}{
		{"above the high watermark, in the log", 5, 0, 12, 15, none, nil, 0, -1},
		{"an epoch that ends above the high watermark", 5, 0, 12, 12, last(0), kerr.OffsetNotAvailable, 0, -1},
		{"below the high watermark", 10, 5, 11, 5, none, nil, 1, -1},
		{"the version before followers", 10, 5, 10, 5, none, kerr.NotLeaderForPartition, 0, -1},
		{"by topic id", 10, 5, 18, 5, none, nil, 1, -1},
		{"this epoch", 10, 5, 12, 5, current(1), nil, 1, -1},
		{"an old epoch", 10, 5, 12, 5, current(0), kerr.FencedLeaderEpoch, 0, -1},
		{"an epoch to come", 10, 5, 12, 5, current(2), kerr.UnknownLeaderEpoch, 0, -1},
		{"an old epoch in the version before followers", 10, 5, 10, 5, current(0), kerr.FencedLeaderEpoch, 0, -1},
		{"at the high watermark", 10, 5, 12, 10, none, nil, 0, -1},
		{"between high watermark and end", 10, 5, 12, 17, none, nil, 0, -1},
		{"at the end", 10, 5, 12, 20, none, nil, 0, -1},
		{"beyond the end", 10, 5, 12, 21, none, kerr.OffsetNotAvailable, 0, -1},
		{"below the start", 10, 5, 12, 4, none, kerr.OffsetOutOfRange, 0, -1},
		{"below the start, off the history too", 10, 5, 12, 4, last(7), kerr.OffsetOutOfRange, 0, -1},
		{"an epoch that this log has not seen", 10, 5, 12, 10, last(7), kerr.OffsetNotAvailable, 0, -1},
		{"off the committed history", 10, 5, 12, 12, last(0), nil, 0, 10},
		{"on the history", 15, 5, 12, 10, last(0), nil, 1, -1},
	}
	c := f.dial(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			log.SetHighWatermark(tt.hw)
			if err := log.AdvanceStart(tt.start); err != nil {
				t.Fatal(err)
			}
			req := f.fetchAt(tt.version, "t", tt.offset, func(p *kmsg.FetchRequestTopicPartition) {
				p.CurrentLeaderEpoch, p.LastFetchedEpoch = tt.epochs.CurrentLeaderEpoch, tt.epochs.LastFetchedEpoch
			})
			p := c.ask(tt.version, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
			want, hw := int16(0), tt.hw
			if tt.err != nil {
				want, hw = tt.err.Code, -1
			}
			if p.ErrorCode != want || p.HighWatermark != hw || len(p.RecordBatches) != tt.batches*len(records(5, 100)) || p.DivergingEpoch.EndOffset != tt.diverging {
				t.Errorf("%s, high watermark %d, %d bytes, diverging at %d", code(p.ErrorCode), p.HighWatermark, len(p.RecordBatches), p.DivergingEpoch.EndOffset)
			}
		})
	}
	f.isolated.Store(true)
	if p := c.ask(12, f.fetchAt(12, "t", 5, nil)).(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.NotLeaderForPartition.Code {
		t.Errorf("a follower that is cut off: %s", code(p.ErrorCode))
	}
}

// A fetch parked on a follower ends when the high watermark moves there, and when the epoch that it names is over.
func TestLongPollOnFollower(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	f := tr.nodes[1]
	f.put("t", 0, 2)
	c := f.dial(t)
	park := func() (*kmsg.FetchRequest, time.Time) {
		req := f.fetchAt(12, "t", 0, func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 0 })
		req.MaxWaitMillis = 30_000
		c.send(c.frame(12, req))
		time.Sleep(50 * time.Millisecond)
		return req, time.Now()
	}
	req, since := park()
	tr.setLeader("t", 1, 1, 2)
	resp, _ := c.answer(12, req, c.corr)
	if p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.FencedLeaderEpoch.Code || time.Since(since) > 10*time.Second {
		t.Errorf("a new epoch: %s after %v", code(p.ErrorCode), time.Since(since))
	}
	req = f.fetchAt(12, "t", 0, nil)
	req.MaxWaitMillis = 30_000
	c.send(c.frame(12, req))
	time.Sleep(50 * time.Millisecond)
	since = time.Now()
	f.replica("t", 0).Log().SetHighWatermark(10)
	f.deps.Replicas.SetIsolated(true) // wakes who watches, as replication does when it moves a high watermark
	resp, _ = c.answer(12, req, c.corr)
	if p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.HighWatermark != 10 || len(p.RecordBatches) == 0 || time.Since(since) > 10*time.Second {
		t.Errorf("%s: high watermark %d, %d bytes after %v", code(p.ErrorCode), p.HighWatermark, len(p.RecordBatches), time.Since(since))
	}
}

// A consumer is sent to an in-sync replica in its rack, at once and without records, also within a session where nothing else is new.
func TestPreferredReplica(t *testing.T) {
	tr := newTrioWith(t, map[string]string{config.ReplicaSelector: config.RackAwareSelectorShort})
	tr.topicOn("t", 1, 2, 3)
	tr.setLeader("t", 1, 1, 2) // node 3 is not in sync
	l := tr.nodes[0]
	l.put("t", 1, 2)
	l.replica("t", 0).Log().SetHighWatermark(5)
	ask := func(version int16, rack string, offset int64) kmsg.FetchResponseTopicPartition {
		t.Helper()
		req := l.fetchAt(version, "t", offset, nil)
		req.MaxWaitMillis, req.MinBytes, req.Rack = 300, 1, rack
		return l.dial(t).ask(version, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	}
	check := func(what string, p kmsg.FetchResponseTopicPartition, preferred int32, records bool) {
		t.Helper()
		if p.ErrorCode != 0 || p.PreferredReadReplica != preferred || len(p.RecordBatches) > 0 != records || p.HighWatermark != 5 {
			t.Errorf("%s: %s, replica %d, %d bytes, high watermark %d", what, code(p.ErrorCode), p.PreferredReadReplica, len(p.RecordBatches), p.HighWatermark)
		}
	}
	for v := int16(11); v <= 18; v++ {
		check(fmt.Sprint("in a follower's rack, version ", v), ask(v, "r2", 0), 2, false)
	}
	since := time.Now()
	check("at the high watermark", ask(12, "r2", 5), 2, false)
	if time.Since(since) > 250*time.Millisecond {
		t.Errorf("a consumer that is sent elsewhere waited %v for records", time.Since(since))
	}
	check("before racks", ask(10, "", 0), -1, true)
	check("without a rack", ask(12, "", 0), -1, true)
	check("in the leader's rack", ask(12, "r1", 0), -1, true)
	check("in the rack of a replica that is not in sync", ask(12, "r3", 0), -1, true)
	check("in a rack without replicas", ask(12, "r4", 0), -1, true)
	check("beyond what followers are sure to have", ask(12, "r2", 7), -1, false)
	l.suspects.Store(&[]int32{2})
	check("in the rack of one that seems dead", ask(12, "r2", 0), -1, true)
	l.suspects.Store(nil)

	c := l.dial(t)
	req := l.fetchAt(12, "t", 0, nil)
	req.Rack, req.SessionEpoch = "r2", 0
	resp := c.ask(12, req).(*kmsg.FetchResponse)
	check("a session", resp.Topics[0].Partitions[0], 2, false)
	next := kmsg.NewPtrFetchRequest()
	next.SessionID, next.SessionEpoch, next.MinBytes, next.MaxBytes, next.Rack = resp.SessionID, 1, 1, 1<<20, "r2"
	resp = c.ask(12, next).(*kmsg.FetchResponse)
	if len(resp.Topics) != 1 {
		t.Fatalf("the session's next answer leaves out that there is a nearer replica: %+v", resp)
	}
	check("the session again", resp.Topics[0].Partitions[0], 2, false)

	if err := l.ctl.FenceBroker(t.Context(), 2, l.image().Broker(2).Epoch); err != nil {
		t.Fatal(err)
	}
	if p := ask(12, "r2", 0); p.ErrorCode != 0 || p.PreferredReadReplica != -1 || len(p.RecordBatches) == 0 {
		t.Errorf("in the rack of one that is fenced: %s, replica %d, %d bytes", code(p.ErrorCode), p.PreferredReadReplica, len(p.RecordBatches))
	}
}

// Without the setting the leader serves all, as Kafka by default.
func TestNoPreferredReplicaByDefault(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	l := tr.nodes[0]
	l.put("t", 0, 1)
	l.replica("t", 0).Log().SetHighWatermark(5)
	req := l.fetchAt(12, "t", 0, nil)
	req.Rack = "r2"
	if p := l.dial(t).ask(12, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.PreferredReadReplica != -1 || len(p.RecordBatches) == 0 {
		t.Errorf("replica %d, %d bytes", p.PreferredReadReplica, len(p.RecordBatches))
	}
}

// Several replicas in a rack share its partitions.
func TestPreferredReplicasShare(t *testing.T) {
	tr := newTrioWith(t, map[string]string{config.ReplicaSelector: config.RackAwareSelector})
	for _, n := range tr.nodes[1:] { // both move into one rack
		im := tr.nodes[0].image()
		b := im.Broker(n.id)
		tr.propose(&metadata.BrokerRegistered{BrokerID: n.id, BrokerEpoch: im.Offset() + 1, Incarnation: b.Incarnation, DiskID: b.DiskID,
			Endpoints: b.Endpoints, Rack: "shared"})
	}
	s, chosen := tr.nodes[0].Server, map[int32]int{}
	for n := range int32(10) {
		p := &fetchPart{fetchWant: fetchWant{partKey: partKey{index: n}}, state: &metadata.Partition{ISR: []int32{3, 1, 2}}}
		first := s.preferredReplica(p, &fetchQuery{rack: "shared"}, 5, 0)
		p.state = &metadata.Partition{ISR: []int32{2, 3, 1}}
		if again := s.preferredReplica(p, &fetchQuery{rack: "shared"}, 5, 0); again != first {
			t.Errorf("partition %d is at %d, and then at %d", n, first, again)
		}
		chosen[first]++
	}
	if chosen[2] != 5 || chosen[3] != 5 {
		t.Errorf("partitions by replica: %v", chosen)
	}
}

// A session outlives the leadership of its partitions: the error comes with every answer, and the recovery is told although the high
// watermark is what it was.
func TestFetchSessionAcrossLeaders(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	l := tr.nodes[0]
	l.put("t", 0, 1)
	l.replica("t", 0).Log().SetHighWatermark(5)
	c := l.dial(t)
	req := l.fetchAt(10, "t", 5, nil) // a version that only leaders answer
	req.SessionEpoch = 0
	resp := c.ask(10, req).(*kmsg.FetchResponse)
	epoch := int32(0)
	next := func() *kmsg.FetchResponse {
		epoch++
		q := kmsg.NewPtrFetchRequest()
		q.SessionID, q.SessionEpoch, q.MinBytes, q.MaxBytes = resp.SessionID, epoch, 1, 1<<20
		return c.ask(10, q).(*kmsg.FetchResponse)
	}
	if got := next(); got.ErrorCode != 0 || len(got.Topics) != 0 {
		t.Fatalf("no news: %+v", got)
	}
	tr.setLeader("t", 2, 1, 2)
	for range 2 {
		if got := next(); len(got.Topics) != 1 || got.Topics[0].Partitions[0].ErrorCode != kerr.NotLeaderForPartition.Code {
			t.Fatalf("led by another: %+v", got)
		}
	}
	tr.setLeader("t", 1, 1, 2)
	if got := next(); len(got.Topics) != 1 || got.Topics[0].Partitions[0].ErrorCode != 0 || got.Topics[0].Partitions[0].HighWatermark != 5 {
		t.Fatalf("led here again: %+v", got)
	}
	if got := next(); got.ErrorCode != 0 || len(got.Topics) != 0 {
		t.Fatalf("no news again: %+v", got)
	}
}
