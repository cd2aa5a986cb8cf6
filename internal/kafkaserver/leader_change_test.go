package kafkaserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hint is what an answer says about who leads: the leader, its epoch, and the rack of the one endpoint that comes with it.
type hint struct {
	leader, epoch int32
	rack          string
}

var noHint = hint{-1, -1, ""}

// hintOf is the hint of an answer to Produce or Fetch for one partition, with its error. Endpoints that are not where the named leader
// answers fail the test.
func (tr *trio) hintOf(resp kmsg.Response) (int16, hint) {
	tr.t.Helper()
	var e int16
	h := noHint
	check := func(id int32, host string, port int32, rack *string) {
		want, ok := tr.nodes[0].nodeEndpoint(id)
		if !ok || id != h.leader || host != want.host || port != want.port || rack == nil {
			tr.t.Errorf("leader %d, endpoint of node %d at %s:%d", h.leader, id, host, port)
			return
		}
		h.rack += *rack
	}
	switch r := resp.(type) {
	case *kmsg.ProduceResponse:
		p := r.Topics[0].Partitions[0]
		e, h.leader, h.epoch = p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch
		for _, b := range r.Brokers {
			check(b.NodeID, b.Host, b.Port, b.Rack)
		}
	case *kmsg.FetchResponse:
		p := r.Topics[0].Partitions[0]
		e, h.leader, h.epoch = p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch
		for _, b := range r.Brokers {
			check(b.NodeID, b.Host, b.Port, b.Rack)
		}
	}
	return e, h
}

// produceAt is a Produce request that names the topic as the version does.
func (n *trioNode) produceAt(version int16, name string, acks int16) *kmsg.ProduceRequest {
	req := produceRequest(name, acks, map[int32][]byte{0: records(5, 100)})
	if version >= produceTopicIDs {
		req.Topics[0].TopicID = n.image().Topic(name).ID
	}
	return req
}

// Who is asked for a partition that another broker leads names that broker, its epoch and its address (KIP-951), in the versions that
// have a place for it, whether or not it holds a replica.
func TestLeaderHints(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	tr.setLeader("t", 2, 1, 2) // epoch 1
	hinted := hint{2, 1, "r2"}
	notLeader, fenced := kerr.NotLeaderForPartition.Code, kerr.FencedLeaderEpoch.Code
	produce := func(node int32, v int16) kmsg.Response {
		return tr.dial(node).ask(v, tr.nodes[node-1].produceAt(v, "t", 1))
	}
	fetch := func(node int32, v int16, epoch int32) kmsg.Response {
		return tr.dial(node).ask(v, tr.nodes[node-1].fetchAt(v, "t", 0, func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = epoch }))
	}
	for _, node := range []int32{1, 3} { // the one before, which follows now, and one without a replica
		for v := int16(3); v <= 13; v++ {
			want := noHint
			if v >= 10 {
				want = hinted
			}
			if e, h := tr.hintOf(produce(node, v)); e != notLeader || h != want {
				t.Errorf("produce v%d at node %d: %s, %+v", v, node, code(e), h)
			}
		}
	}
	for v := int16(9); v <= 18; v++ {
		want := noHint
		if v >= 16 {
			want = hinted
		}
		for node := int32(1); node <= 3; node++ { // the leader too
			wantError := fenced
			if node == 3 {
				wantError = notLeader
			}
			if e, h := tr.hintOf(fetch(node, v, 0)); e != wantError || h != want {
				t.Errorf("fetch v%d with an old epoch at node %d: %s, %+v", v, node, code(e), h)
			}
		}
	}
	if e, h := tr.hintOf(fetch(1, 16, 7)); e != kerr.UnknownLeaderEpoch.Code || h != noHint {
		t.Errorf("an epoch to come: %s, %+v", code(e), h)
	}

	tr.nodes[1].deps.Replicas.SetIsolated(true) // it should lead, and does not: nobody is known to
	if e, h := tr.hintOf(produce(2, 10)); e != notLeader || h != noHint {
		t.Errorf("produce at a leader that is cut off: %s, %+v", code(e), h)
	}
	if e, h := tr.hintOf(fetch(2, 16, -1)); e != notLeader || h != noHint {
		t.Errorf("fetch at a leader that is cut off: %s, %+v", code(e), h)
	}
	if err := tr.nodes[0].ctl.FenceBroker(t.Context(), 2, tr.nodes[0].image().Broker(2).Epoch); err != nil {
		t.Fatal(err)
	}
	tr.setLeader("t", metadata.NoLeader, 1)
	if e, h := tr.hintOf(produce(3, 10)); e != notLeader || h != noHint {
		t.Errorf("produce to a partition without a leader: %s, %+v", code(e), h)
	}
}

// What waits for the other replicas when the leader loses its leadership is answered at once, with the new leader.
func TestProduceAcrossLeaders(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	c, req := tr.dial(1), tr.nodes[0].produceAt(10, "t", -1)
	req.TimeoutMillis = 30_000
	c.send(c.frame(10, req))
	time.Sleep(50 * time.Millisecond) // node 2 acks nothing here
	since := time.Now()
	tr.setLeader("t", 2, 1, 2)
	resp, _ := c.answer(10, req, c.corr)
	if e, h := tr.hintOf(resp); e != kerr.NotLeaderForPartition.Code || h != (hint{2, 1, "r2"}) || time.Since(since) > 5*time.Second {
		t.Errorf("%s, %+v after %v", code(e), h, time.Since(since))
	}
}

// Fewer replicas in sync than the topic asks for: acks=all is refused before anything is appended, acks=1 is not.
func TestNotEnoughReplicas(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	tr.propose(&metadata.ConfigChanged{Resource: metadata.ResourceTopic, Name: "t", Set: map[string]string{"min.insync.replicas": "2"}})
	tr.setLeader("t", 1, 1)
	l := tr.nodes[0]
	c := l.dial(t)
	end := func() int64 { return l.replica("t", 0).Log().End() }
	if e, h := tr.hintOf(c.ask(9, l.produceAt(9, "t", -1))); e != kerr.NotEnoughReplicas.Code || h != noHint || end() != 0 {
		t.Errorf("acks=all: %s, %+v, log end %d", code(e), h, end())
	}
	if e, _ := tr.hintOf(c.ask(9, l.produceAt(9, "t", 1))); e != 0 || end() != 5 {
		t.Errorf("acks=1: %s, log end %d", code(e), end())
	}

	// What is in the log when the others go is told so at once, not when the client's time is over.
	tr.topicOn("u", 1, 2)
	tr.propose(&metadata.ConfigChanged{Resource: metadata.ResourceTopic, Name: "u", Set: map[string]string{"min.insync.replicas": "2"}})
	req := l.produceAt(9, "u", -1)
	req.TimeoutMillis = 30_000
	c.send(c.frame(9, req))
	for deadline := time.Now().Add(10 * time.Second); l.replica("u", 0).Log().End() < 5; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not appended")
		}
	}
	since, topic := time.Now(), l.image().Topic("u")
	tr.propose(&metadata.UpdateIsr{Name: "u", TopicID: topic.ID, ISR: []int32{1}, BrokerEpochs: []int64{l.image().Broker(1).Epoch}, LeaderEpoch: 0,
		PartitionEpoch: topic.Partitions[0].PartitionEpoch + 1})
	resp, _ := c.answer(9, req, c.corr)
	if e, _ := tr.hintOf(resp); e != kerr.NotEnoughReplicasAfterAppend.Code || time.Since(since) > 5*time.Second {
		t.Errorf("after the append: %s after %v", code(e), time.Since(since))
	}
}

// listAt asks a node for one offset.
func (n *trioNode) listAt(version int16, time int64, epoch int32) kmsg.ListOffsetsResponseTopicPartition {
	req := kmsg.NewPtrListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = time, epoch
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	return n.dial(n.trio.t).ask(version, req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
}

// A new leader that does not know yet whether what it has is committed answers for what lies below its high watermark only (R17).
func TestListOffsetsOfNewLeader(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	l := tr.nodes[1]
	began := time.Now().UnixMilli()
	l.put("t", 0, 1)
	time.Sleep(5 * time.Millisecond)
	later := time.Now().UnixMilli()
	l.put("t", 0, 1)
	l.replica("t", 0).Log().SetHighWatermark(5)
	tr.setLeader("t", 2, 1, 2)
	unknown, notThere := kerr.OffsetNotAvailable.Code, kerr.LeaderNotAvailable.Code
	const anyOfLast = -9 // records of a batch may have the same time or not
	tests := []struct {
		version        int16
		time           int64
		err            int16
		offset         int64
		errNow, offNow int64 // once all is committed
	}{
		{5, latestOffset, unknown, -1, 0, 10},
		{4, latestOffset, notThere, -1, 0, 10},
		{1, latestOffset, notThere, -1, 0, 10},
		{5, earliestOffset, 0, 0, 0, 0},
		{8, earliestLocalOffset, 0, 0, 0, 0},
		{5, began, 0, 0, 0, 0},
		{5, later, unknown, -1, 0, 5},
		{4, later, notThere, -1, 0, 5},
		{5, later + 60_000, unknown, -1, 0, -1},
		{7, maxTimestampOffset, unknown, -1, 0, anyOfLast},
	}
	for _, tt := range tests {
		if p := l.listAt(tt.version, tt.time, -1); p.ErrorCode != tt.err || p.Offset != tt.offset {
			t.Errorf("v%d time %d: %s, offset %d", tt.version, tt.time, code(p.ErrorCode), p.Offset)
		}
	}
	fetched := l.dial(t).ask(12, l.fetchAt(12, "t", 7, nil)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if fetched.ErrorCode != 0 || fetched.HighWatermark != 5 || len(fetched.RecordBatches) != 0 {
		t.Errorf("fetch between high watermark and end: %s, %d, %d bytes", code(fetched.ErrorCode), fetched.HighWatermark, len(fetched.RecordBatches))
	}
	topic := l.image().Topic("t")
	tr.propose(&metadata.UpdateIsr{Name: "t", TopicID: topic.ID, ISR: []int32{2}, BrokerEpochs: []int64{l.image().Broker(2).Epoch}, LeaderEpoch: 1,
		PartitionEpoch: topic.Partitions[0].PartitionEpoch + 1})
	for _, tt := range tests {
		if p := l.listAt(tt.version, tt.time, -1); int64(p.ErrorCode) != tt.errNow || p.Offset != tt.offNow && (tt.offNow != anyOfLast || p.Offset < 5) {
			t.Errorf("v%d time %d, all committed: %s, offset %d", tt.version, tt.time, code(p.ErrorCode), p.Offset)
		}
	}
	if p := tr.nodes[0].listAt(5, latestOffset, -1); p.ErrorCode != kerr.NotLeaderForPartition.Code {
		t.Errorf("at a follower: %s", code(p.ErrorCode))
	}
}

// Where an epoch ends is the leader's to say, and to clients of its epoch.
func TestEpochEndsAtTheLeader(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	tr.nodes[1].put("t", 0, 1)
	tr.setLeader("t", 2, 1, 2)
	tests := []struct {
		node, current, epoch int32
		err                  *kerr.Error
		found                int32
		end                  int64
	}{
		{2, -1, 0, nil, 0, 5},
		{2, 1, 0, nil, 0, 5},
		{2, 1, 1, nil, 1, 5},
		{2, 1, 2, nil, -1, -1},
		{2, 0, 0, kerr.FencedLeaderEpoch, -1, -1},
		{2, 2, 0, kerr.UnknownLeaderEpoch, -1, -1},
		{1, -1, 0, kerr.NotLeaderForPartition, -1, -1},
		{1, 1, 0, kerr.NotLeaderForPartition, -1, -1},
		{1, 0, 0, kerr.FencedLeaderEpoch, -1, -1},
		{3, -1, 0, kerr.NotLeaderForPartition, -1, -1},
	}
	for _, tt := range tests {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch, p.LeaderEpoch = tt.current, tt.epoch
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
		got := tr.dial(tt.node).ask(4, req).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
		want := int16(0)
		if tt.err != nil {
			want = tt.err.Code
		}
		if got.ErrorCode != want || got.LeaderEpoch != tt.found || got.EndOffset != tt.end {
			t.Errorf("node %d, client in epoch %d, end of %d: %s, epoch %d, end %d", tt.node, tt.current, tt.epoch, code(got.ErrorCode), got.LeaderEpoch, got.EndOffset)
		}
	}
}

// Replicas that are down are named as offline, or left out where the version has no place for that; a partition whose leader is not in
// service has none.
func TestMetadataOfOfflineReplicas(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	tr.topicOn("u", 3)
	tr.propose(&metadata.ConfigChanged{Resource: metadata.ResourceTopic, Name: "t", Set: map[string]string{"min.insync.replicas": "2"}})
	if err := tr.nodes[0].ctl.FenceBroker(t.Context(), 2, tr.nodes[0].image().Broker(2).Epoch); err != nil {
		t.Fatal(err)
	}
	if err := tr.nodes[0].ctl.FenceBroker(t.Context(), 3, tr.nodes[0].image().Broker(3).Epoch); err != nil {
		t.Fatal(err)
	}
	show := func(errorCode int16, leader int32, replicas, isr, offline []int32) string {
		return fmt.Sprint(code(errorCode), leader, replicas, isr, offline)
	}
	metadataOf := func(v int16, name string) string {
		p := tr.dial(1).ask(v, metadataRequest(false, name)).(*kmsg.MetadataResponse).Topics[0].Partitions[0]
		return show(p.ErrorCode, p.Leader, p.Replicas, p.ISR, p.OfflineReplicas)
	}
	lost := kerr.LeaderNotAvailable.Code
	for _, tt := range []struct {
		name    string
		version int16
		want    string
	}{
		{"t", 0, show(kerr.ReplicaNotAvailable.Code, 1, []int32{1}, []int32{1}, nil)},
		{"t", 1, show(0, 1, []int32{1, 2}, []int32{1}, nil)},
		{"t", 5, show(0, 1, []int32{1, 2}, []int32{1}, []int32{2})},
		{"t", 13, show(0, 1, []int32{1, 2}, []int32{1}, []int32{2})},
		{"u", 0, show(lost, -1, nil, nil, nil)},
		{"u", 12, show(lost, -1, []int32{3}, tr.nodes[0].image().Topic("u").Partitions[0].ISR, []int32{3})},
	} {
		if got := metadataOf(tt.version, tt.name); got != tt.want {
			t.Errorf("%s v%d: %s, want %s", tt.name, tt.version, got, tt.want)
		}
	}
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}, {Topic: "u"}}
	req.ResponsePartitionLimit = 10
	resp := tr.dial(1).ask(0, req).(*kmsg.DescribeTopicPartitionsResponse)
	p, u := resp.Topics[0].Partitions[0], resp.Topics[1].Partitions[0]
	if got := fmt.Sprint(p.ErrorCode, p.LeaderID, p.ISR, p.EligibleLeaderReplicas, p.LastKnownELR, p.OfflineReplicas); got != "0 1 [1] [2] [] [2]" {
		t.Errorf("described: %s", got)
	}
	if u.ErrorCode != lost || u.LeaderID != -1 || len(u.OfflineReplicas) != 1 {
		t.Errorf("described without a leader: %+v", u)
	}
}

// A node that was away knows only that it may not lead any more. It says so when it knows who does: a client that is told less asks for
// the metadata at once, is told what the node knew before, and asks again seconds later.
func TestANodeThatWasAwayAnswersWhenItKnows(t *testing.T) {
	for _, ask := range []struct {
		name string
		do   func(tr *trio, c *client) (leader int32)
	}{
		{"produce", func(tr *trio, c *client) int32 {
			e, h := tr.hintOf(c.ask(10, tr.nodes[1].produceAt(10, "t", -1)))
			if e != kerr.NotLeaderForPartition.Code {
				t.Errorf("produce: %s", code(e))
			}
			return h.leader
		}},
		{"metadata", func(_ *trio, c *client) int32 {
			return c.ask(12, metadataRequest(false, "t")).(*kmsg.MetadataResponse).Topics[0].Partitions[0].Leader
		}},
	} {
		tr := newTrio(t)
		tr.topicOn("t", 2, 1)
		away := tr.nodes[1]
		away.isolated.Store(true)
		away.deps.Replicas.SetIsolated(true)
		const later = 200 * time.Millisecond
		go func() {
			time.Sleep(later)
			tr.setLeader("t", 1, 1, 2)
			away.isolated.Store(false)
			away.deps.Replicas.SetIsolated(false)
		}()
		began := time.Now()
		leader := ask.do(tr, tr.dial(2))
		if took := time.Since(began); leader != 1 || took < later || took > suspectWait {
			t.Errorf("%s: leader %d after %v", ask.name, leader, took)
		}
		// One that learns nothing answers in the end.
		tr.setLeader("t", 2, 1, 2)
		away.isolated.Store(true)
		away.deps.Replicas.SetIsolated(true)
		began = time.Now()
		leader = ask.do(tr, tr.dial(2))
		if took := time.Since(began); leader != -1 || took < suspectWait || took > 3*suspectWait {
			t.Errorf("%s, and nothing is learnt: leader %d after %v", ask.name, leader, took)
		}
	}
}

// A client that the leader before has sent on may be quicker than the metadata: its record is taken as soon as this node knows that it leads.
func TestProduceBeforeTheNews(t *testing.T) {
	tr := newTrio(t)
	tr.topicOn("t", 1, 2)
	time.Sleep(newsLate + 50*time.Millisecond)
	go func() {
		time.Sleep(newsWithin / 3)
		tr.setLeader("t", 2, 1, 2)
	}()
	if e, h := tr.hintOf(tr.dial(2).ask(10, tr.nodes[1].produceAt(10, "t", 1))); e != 0 {
		t.Errorf("at the new leader: %s, %+v", code(e), h)
	}
	for tr.nodes[0].image().Topic("t").Partitions[0].Leader != 2 {
		time.Sleep(time.Millisecond)
	}
	began := time.Now() // who is behind is told at once
	e, h := tr.hintOf(tr.dial(1).ask(10, tr.nodes[0].produceAt(10, "t", 1)))
	if took := time.Since(began); e != kerr.NotLeaderForPartition.Code || h.leader != 2 || took > newsWithin {
		t.Errorf("at the old leader: %s, %+v after %v", code(e), h, took)
	}
	time.Sleep(newsLate + 50*time.Millisecond)
	if e, h := tr.hintOf(tr.dial(1).ask(10, tr.nodes[0].produceAt(10, "t", 1))); e != kerr.NotLeaderForPartition.Code || h.leader != 2 {
		t.Errorf("at a follower, and there is no news: %s, %+v", code(e), h)
	}
}
