package kafkaserver

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchVersion names topics as the version does.
func (s *stack) fetchVersion(version int16, topic string, waitMs int32, offsets map[int32]int64) *kmsg.FetchRequest {
	req := fetchRequest(topic, waitMs, offsets)
	if version >= 13 {
		for i := range req.Topics {
			if t := s.image().Topic(topic); t != nil {
				req.Topics[i].TopicID = t.ID
			}
		}
	}
	return req
}

// In every version the hand-written response is what kmsg writes for the same values: with records, without, with errors.
func TestFetchResponseEncoding(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 3)
	c := s.dial(t)
	for n, size := range map[int32]int{0: 10, 1: 20_000} { // lengths of one, two and three bytes
		c.ask(9, produceRequest("t", -1, map[int32][]byte{n: records(2, size)}))
	}
	for v := int16(4); v <= 18; v++ {
		for _, committed := range []int8{0, 1} {
			req := s.fetchVersion(v, "t", 0, map[int32]int64{0: 0, 1: 0, 2: 0, 7: 0})
			req.IsolationLevel = committed
			req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: "never", TopicID: [16]byte{9},
				Partitions: []kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}})
			c.send(c.frame(v, req))
			resp, body := c.answer(v, req, c.corr)
			if got := resp.AppendTo(nil); string(got) != string(body) {
				t.Errorf("v%d: body is not what kmsg writes for it\n%x\n%x", v, body[:min(len(body), 300)], got[:min(len(got), 300)])
			}
			f := resp.(*kmsg.FetchResponse)
			sizes := map[int32]int{}
			for _, p := range f.Topics[0].Partitions {
				sizes[p.Partition] = len(p.RecordBatches)
				if p.Partition == 7 && p.ErrorCode != kerr.UnknownTopicOrPartition.Code {
					t.Errorf("v%d: partition 7: %+v", v, p)
				}
			}
			if sizes[0] < 20 || sizes[1] < 40_000 || sizes[2] != 0 || len(f.Topics) != 2 {
				t.Errorf("v%d: bytes %v in %d topics", v, sizes, len(f.Topics))
			}
		}
	}
}

// A fetch in the middle of a batch returns the whole batch; the first batch goes out whatever the limits, the second only within them.
func TestFetchLimits(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 2)
	c := s.dial(t)
	for range 3 {
		c.ask(9, produceRequest("t", -1, map[int32][]byte{0: records(5, 1000), 1: records(5, 1000)}))
	}
	one := len(records(5, 1000))
	cases := []struct {
		name              string
		offset            int64
		maxBytes, partMax int32
		want0, want1      int // batches
	}{
		{"all", 0, 50 << 20, 1 << 20, 3, 3},
		{"inside a batch", 7, 50 << 20, 1 << 20, 2, 2},
		{"partition limit of one byte", 0, 50 << 20, 1, 1, 0},
		{"request limit of one byte", 0, 1, 1 << 20, 1, 0},
		{"limits of zero", 0, 0, 0, 1, 0},
		{"two batches fit the partition", 0, 50 << 20, int32(2*one + 10), 2, 2},
		{"four batches fit the request", 0, int32(4*one + 10), 1 << 20, 3, 1},
		{"the end", 15, 50 << 20, 1 << 20, 0, 0},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			req := fetchRequest("t", 0, map[int32]int64{0: tc.offset})
			req.MaxBytes = tc.maxBytes
			p := req.Topics[0].Partitions[0]
			p.PartitionMaxBytes = tc.partMax
			req.Topics[0].Partitions[0] = p
			p.Partition = 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
			got := c.ask(12, req).(*kmsg.FetchResponse).Topics[0].Partitions
			for i, want := range []int{tc.want0, tc.want1} {
				if n := len(got[i].RecordBatches); n != want*one {
					t.Errorf("partition %d: %d bytes, want %d batches of %d", i, n, want, one)
				}
			}
		})
	}
}

// A long poll ends with the first byte that becomes durable, not before and not by an unknown partition beside it.
func TestLongPoll(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 2)
	c, p := s.dial(t), s.dial(t)
	for round := range 50 {
		req := fetchRequest("t", 30_000, map[int32]int64{0: int64(round), 1: 0, 9: 0})
		began := time.Now()
		c.send(c.frame(12, req))
		if round%2 == 0 {
			time.Sleep(time.Millisecond) // so that both orders of watch and append happen
		}
		p.ask(9, produceRequest("t", 1, map[int32][]byte{0: records(1, 10)}))
		resp, _ := c.answer(12, req, c.corr)
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("round %d took %v", round, took)
		}
		for _, part := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
			if part.Partition == 0 && len(part.RecordBatches) == 0 {
				t.Fatalf("round %d: ended without records", round)
			}
		}
	}
	began := time.Now()
	c.ask(12, fetchRequest("t", 300, map[int32]int64{0: 50}))
	if took := time.Since(began); took < 280*time.Millisecond {
		t.Errorf("nothing came, and the wait was %v of 300 ms", took)
	}
	req := fetchRequest("t", 300, map[int32]int64{0: 49})
	req.MinBytes = 1 << 20
	began = time.Now()
	got := c.ask(12, req).(*kmsg.FetchResponse)
	if took := time.Since(began); took < 280*time.Millisecond || len(got.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Errorf("less than min bytes: waited %v, got %d bytes", took, len(got.Topics[0].Partitions[0].RecordBatches))
	}
}

// sessionQuery is a request within a session.
func sessionQuery(version int16, id, epoch int32, wants ...string) *fetchQuery {
	q := &fetchQuery{version: version, sessionID: id, sessionEpoch: epoch}
	for _, w := range wants {
		q.wants = append(q.wants, fetchWant{partKey: partKey{name: w}})
	}
	return q
}

// Sessions: epochs in order, wrong ones refused without harm, ids and names not mixed, a full request replaces the session it names.
func TestFetchSessionRules(t *testing.T) {
	f := newFetchSessions(10)
	s, err := f.begin(sessionQuery(12, 0, 0, "a", "b"))
	if err != nil || s == nil || len(s.parts) != 2 {
		t.Fatal(s, err)
	}
	for _, tc := range []struct {
		q    *fetchQuery
		want error
	}{
		{sessionQuery(12, s.id, 2), kerr.InvalidFetchSessionEpoch},
		{sessionQuery(12, s.id+1, 1), kerr.FetchSessionIDNotFound},
		{sessionQuery(12, 0, 1), kerr.FetchSessionIDNotFound},
		{sessionQuery(13, s.id, 1), kerr.FetchSessionTopicIDError},
		{sessionQuery(12, s.id, 1, "c"), nil},
		{sessionQuery(12, s.id, 1), kerr.InvalidFetchSessionEpoch},
		{sessionQuery(12, s.id, 2), nil},
	} {
		if _, err := f.begin(tc.q); err != tc.want {
			t.Errorf("session %d epoch %d: %v, want %v", tc.q.sessionID, tc.q.sessionEpoch, err, tc.want)
		}
	}
	q := sessionQuery(12, s.id, 3)
	q.forgotten = []partKey{{name: "a"}, {name: "never"}}
	if _, err := f.begin(q); err != nil || len(s.parts) != 2 {
		t.Errorf("after forgetting one of three: %d, %v", len(s.parts), err)
	}
	again, err := f.begin(sessionQuery(12, s.id, 0, "a"))
	if err != nil || again == nil || again.id == s.id && again == s || f.count() != 1 {
		t.Errorf("a full request in session %d: %+v, %v, %d sessions", s.id, again, err, f.count())
	}
	if none, err := f.begin(sessionQuery(12, again.id, -1, "a")); none != nil || err != nil || f.count() != 0 {
		t.Errorf("the last request of a session: %v, %v, %d sessions", none, err, f.count())
	}
	s.epoch = 1<<31 - 1
	if got := nextFetchEpoch(s.epoch); got != 1 {
		t.Errorf("the epoch after the last is %d", got)
	}
}

// A full cache gives way only as KIP-227 says: to anyone from a session unused for two minutes, to a larger session from a smaller one
// that is two minutes old.
func TestFetchSessionEviction(t *testing.T) {
	f := newFetchSessions(3)
	now := time.Unix(1000, 0)
	f.now = func() time.Time { return now }
	open := func(n int) *fetchSession {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint(i))
		}
		s, err := f.begin(sessionQuery(12, 0, 0, names...))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	small, _, _ := open(1), open(2), open(3)
	if open(100) != nil {
		t.Error("a young session was evicted")
	}
	now = now.Add(sessionEviction - time.Second)
	for id, s := range f.byID {
		if _, err := f.begin(sessionQuery(12, id, s.epoch)); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(2 * time.Second) // old enough to make way for larger ones, but in use
	if open(1) != nil {
		t.Error("a session made way for one of its size")
	}
	if s := open(2); s == nil || f.byID[small.id] != nil {
		t.Error("the smallest session did not make way for a larger one")
	}
	now = now.Add(sessionEviction + time.Second)
	if open(1) == nil {
		t.Error("an unused session did not make way")
	}
	if f.count() != 3 {
		t.Errorf("%d sessions, limit 3", f.count())
	}
}

// Partitions that got bytes go to the end of the line, so that with small limits all get their turn.
func TestFetchSessionRotates(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 4)
	c := s.dial(t)
	want := map[int32]int64{}
	for n := range int32(4) {
		want[n] = 0
		for range 3 {
			c.ask(9, produceRequest("t", -1, map[int32][]byte{n: records(1, 1000)}))
		}
	}
	req := fetchRequest("t", 0, want)
	req.SessionEpoch, req.MaxBytes = 0, 1
	resp := c.ask(12, req).(*kmsg.FetchResponse)
	got := map[int32]int{}
	for epoch := int32(1); epoch <= 8; epoch++ {
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if len(p.RecordBatches) > 0 {
					got[p.Partition]++
				}
			}
		}
		next := kmsg.NewPtrFetchRequest()
		next.SessionID, next.SessionEpoch, next.MaxBytes, next.MinBytes = resp.SessionID, epoch, 1, 1
		resp = c.ask(12, next).(*kmsg.FetchResponse)
	}
	for n := range int32(4) {
		if got[n] != 2 {
			t.Errorf("in 8 fetches of one batch partition %d was served %d times: %v", n, got[n], got)
		}
	}
}

// The metadata log reads as a topic: each entry once, in order, chained by its hash header, and a long poll on it ends with a change.
func TestMetadataLogAsTopic(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "first", 2)
	c := s.dial(t)
	name := metadata.MetadataTopic
	var offset int64
	var keys []string
	read := func(version int16, waitMs int32) {
		t.Helper()
		req := fetchRequest(name, waitMs, map[int32]int64{0: offset})
		if version >= 13 {
			req.Topics[0].TopicID = metadata.MetadataTopicID
		}
		p := c.ask(version, req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			t.Fatal(kerr.ErrorForCode(p.ErrorCode))
		}
		for b := p.RecordBatches; len(b) > 0; {
			h, err := recordbatch.VerifyCRC(b)
			if err != nil {
				t.Fatal(err)
			}
			for r, err := range recordbatch.Records(b[:h.Size()], 1<<20) {
				if err != nil || r.Offset != offset {
					t.Fatalf("offset %d where %d is due: %v", r.Offset, offset, err)
				}
				if len(r.Headers()) != 2 || len(r.Headers()[1].Value) != 32 {
					t.Fatalf("headers %v", r.Headers())
				}
				offset++
				keys = append(keys, string(r.Key))
			}
			b = b[h.Size():]
		}
	}
	read(12, 0)
	if offset != s.deps.Meta.Commit() {
		t.Errorf("read up to %d, commit is %d", offset, s.deps.Meta.Commit())
	}
	var creating sync.WaitGroup
	creating.Go(func() {
		time.Sleep(50 * time.Millisecond)
		s.topic(t, "second", 1)
	})
	defer creating.Wait() // the entry is read before the one who made it has its answer
	began := time.Now()
	read(13, 20_000)
	if took := time.Since(began); took > 10*time.Second || keys[len(keys)-1] != "topic/second" {
		t.Errorf("after %v the keys are %q", took, keys)
	}
	lo := kmsg.NewPtrListOffsetsRequest()
	lo.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1, CurrentLeaderEpoch: -1}}}}
	if p := c.ask(7, lo).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.Offset != offset {
		t.Errorf("latest offset %d, read up to %d", p.Offset, offset)
	}
	for _, acks := range []int16{1, -1} {
		if p := c.ask(9, produceRequest(name, acks, map[int32][]byte{0: records(1, 1)})).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.InvalidTopicException.Code {
			t.Errorf("a client's produce to %s: %v", name, kerr.ErrorForCode(p.ErrorCode))
		}
	}
}

// Metadata that creates a topic names its leader in the same answer, and the topic takes a produce at once.
func TestAutoCreateIsUsableAtOnce(t *testing.T) {
	s := newStack(t, Limits{})
	c := s.dial(t)
	for i := range 20 {
		name := fmt.Sprint("auto-", i)
		md := kmsg.NewPtrMetadataRequest()
		md.AllowAutoTopicCreation = true
		md.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		got := c.ask(9, md).(*kmsg.MetadataResponse).Topics[0]
		if got.ErrorCode != 0 || len(got.Partitions) != 1 || got.Partitions[0].Leader != 1 {
			t.Fatalf("%+v", got)
		}
		if p := c.ask(9, produceRequest(name, -1, map[int32][]byte{0: records(1, 1)})).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Fatalf("%s: %v", name, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	for _, name := range []string{"__transaction_state", "__chronik_other", "a b"} {
		md := kmsg.NewPtrMetadataRequest()
		md.AllowAutoTopicCreation = true
		md.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		if got := c.ask(9, md).(*kmsg.MetadataResponse).Topics[0]; got.ErrorCode == 0 || s.image().Topic(name) != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Producer ids are never given out twice, over many connections at once; a transactional id is refused for good.
func TestProducerIDsAreUnique(t *testing.T) {
	s := newStack(t, Limits{})
	const clients, each = 4, 700
	ids := make(chan int64, clients*each)
	for range clients {
		c := s.dial(t)
		go func() {
			for range each {
				req := kmsg.NewPtrInitProducerIDRequest()
				req.ProducerID, req.ProducerEpoch = -1, -1
				req.SetVersion(4)
				if _, err := c.c.Write(c.frame(4, req)); err != nil {
					return
				}
				b, err := c.read(10 * time.Second)
				if err != nil {
					return
				}
				resp := kmsg.NewPtrInitProducerIDResponse()
				resp.Version = 4
				if resp.ReadFrom(b[5:]) == nil && resp.ErrorCode == 0 {
					ids <- resp.ProducerID
				}
			}
		}()
	}
	seen := map[int64]bool{}
	for range clients * each {
		select {
		case id := <-ids:
			if seen[id] {
				t.Fatalf("producer id %d twice", id)
			}
			seen[id] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("only %d ids came", len(seen))
		}
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	id := "txn"
	req.TransactionalID = &id
	if got := s.dial(t).ask(4, req).(*kmsg.InitProducerIDResponse); got.ErrorCode != kerr.TransactionalIDAuthorizationFailed.Code {
		t.Errorf("transactional id: %v", kerr.ErrorForCode(got.ErrorCode))
	}
}
