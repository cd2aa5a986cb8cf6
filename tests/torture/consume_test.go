package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	rewindFor    = 3 * time.Second
	commitEvery  = 20 * time.Millisecond
	commitWithin = 5 * time.Second
)

// follow reads all partitions from their start, without a gap, as long as the load runs: from the leaders, or from the replicas of a rack.
func (l *load) follow(o ...kgo.Opt) {
	l.done.Go(func() { l.consume(l.ctx, [partitions]int64{}, o...) })
}

// rewind reads again and again from somewhere in what is there.
func (l *load) rewind() {
	r := rand.New(rand.NewPCG(l.seed, 3000))
	var most [partitions]int64
	l.done.Go(func() {
		for l.ctx.Err() == nil {
			var from [partitions]int64
			for p := range from {
				from[p] = r.Int64N(most[p] + 1)
			}
			ctx, cancel := context.WithTimeout(l.ctx, rewindFor)
			var o []kgo.Opt
			if node := r.IntN(4); node < 3 { // else from the leaders
				o = append(o, kgo.Rack(rackOf(node)))
			}
			next := l.consume(ctx, from, o...)
			cancel()
			for p := range most {
				most[p] = max(most[p], next[p])
			}
			l.rewound.Add(1)
		}
	})
}

// consume reads from the given offsets until ctx is done, and returns what would be next. No record may differ from what anybody was given
// at its offset, and none may be left out.
func (l *load) consume(ctx context.Context, next [partitions]int64, o ...kgo.Opt) [partitions]int64 {
	starts := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		starts[p] = kgo.NewOffset().At(next[p])
	}
	c := l.client(append(o, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepRetryableFetchErrors())...)
	defer c.Close()
	for ctx.Err() == nil {
		fetches := c.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			if lost := (*kgo.ErrDataLoss)(nil); errors.As(e.Err, &lost) || errors.Is(e.Err, kerr.OffsetOutOfRange) || errors.Is(e.Err, kerr.KafkaStorageError) {
				l.t.Errorf("consumer of %s-%d at %d: %v", e.Topic, e.Partition, next[max(e.Partition, 0)], e.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] {
				l.t.Errorf("consumer of %s-%d was given offset %d, wanted %d", r.Topic, r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition] = r.Offset + 1
			l.consumed.Add(1)
			if err := l.ledger.See(r); err != nil {
				l.t.Error(err)
			}
		})
	}
	return next
}

// commit raises a group's offset by one each time, and asks for it. A commit whose outcome is not known may be done later, after the next
// one: from then on another group is used.
func (l *load) commit() {
	c := l.client()
	l.done.Go(func() {
		for group := 0; l.ctx.Err() == nil; group++ {
			l.raise(c, fmt.Sprintf("group-%d-%d", l.seed, group))
			l.groups.Add(1)
		}
	})
}

// raise commits ever higher offsets of one group, until the outcome of one is not known. What is read is never lower than that.
func (l *load) raise(c *kgo.Client, group string) {
	acked := int64(-1)
	for n := int64(0); l.ctx.Err() == nil; sleep(l.ctx, commitEvery) {
		if !l.sending.Load() {
			continue
		}
		if code, ok := l.offsetCommit(c, group, n); !ok || code == kerr.RequestTimedOut.Code {
			l.expect(c, group, acked)
			return
		} else if code == 0 {
			acked = n
			n++
			l.commits.Add(1)
		} else if err := kerr.ErrorForCode(code); !kerr.IsRetriable(err) {
			l.t.Errorf("commit of offset %d of %s: %v", n, group, err)
			return
		}
		if n%10 == 0 {
			l.expect(c, group, acked)
		}
	}
}

// expect asks for a group's offset until there is an answer.
func (l *load) expect(c *kgo.Client, group string, least int64) {
	for ; l.ctx.Err() == nil; sleep(l.ctx, commitEvery) {
		at, code, ok := l.offsetFetch(c, group)
		if !ok || code != 0 && kerr.IsRetriable(kerr.ErrorForCode(code)) {
			continue
		}
		if l.fetches.Add(1); code != 0 || at < least {
			l.t.Errorf("offset of %s is %d (error %d), %d was acknowledged before", group, at, code, least)
		}
		return
	}
}

// coordinator asks any broker for the coordinator of a group.
func (l *load) coordinator(ctx context.Context, c *kgo.Client, group string) (node int32, ok bool) {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey, req.CoordinatorKeys = group, []string{group}
	seeds := c.SeedBrokers()
	resp, err := req.RequestWith(ctx, seeds[rand.IntN(len(seeds))])
	switch {
	case err != nil || resp.ErrorCode != 0:
		return 0, false
	case len(resp.Coordinators) == 0: // an old version
		return resp.NodeID, resp.NodeID > 0
	}
	return resp.Coordinators[0].NodeID, resp.Coordinators[0].ErrorCode == 0
}

// offsetCommit commits once. It is not repeated by anybody. Not ok: the outcome is unknown.
func (l *load) offsetCommit(c *kgo.Client, group string, n int64) (code int16, ok bool) {
	ctx, cancel := context.WithTimeout(l.ctx, commitWithin)
	defer cancel()
	node, ok := l.coordinator(ctx, c, group)
	if !ok {
		return kerr.CoordinatorNotAvailable.Code, true
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = n
	t.Topic, t.TopicID, t.Partitions = topic, l.topicID, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.SeedBrokers()[node-1].Request(ctx, req)
	if err != nil {
		return 0, false
	}
	r := resp.(*kmsg.OffsetCommitResponse)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		l.t.Errorf("answer to a commit of %s: %+v", group, r)
		return 0, false
	}
	return r.Topics[0].Partitions[0].ErrorCode, true
}

func (l *load) offsetFetch(c *kgo.Client, group string) (at int64, code int16, ok bool) {
	ctx, cancel := context.WithTimeout(l.ctx, commitWithin)
	defer cancel()
	node, ok := l.coordinator(ctx, c, group)
	if !ok {
		return 0, 0, false
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	t := kmsg.NewOffsetFetchRequestTopic()
	t.Topic, t.Partitions = topic, []int32{0}
	req.Topics = append(req.Topics, t)
	g := kmsg.NewOffsetFetchRequestGroup()
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.TopicID, gt.Partitions = topic, l.topicID, []int32{0}
	g.Group, g.Topics = group, append(g.Topics, gt)
	req.Groups = append(req.Groups, g)
	resp, err := c.SeedBrokers()[node-1].Request(ctx, req)
	if err != nil {
		return 0, 0, false
	}
	r := resp.(*kmsg.OffsetFetchResponse)
	if len(r.Groups) != 1 {
		return 0, r.ErrorCode, true
	}
	if x := r.Groups[0]; x.ErrorCode != 0 || len(x.Topics) != 1 || len(x.Topics[0].Partitions) != 1 {
		return -1, x.ErrorCode, true
	}
	part := r.Groups[0].Topics[0].Partitions[0]
	return part.Offset, part.ErrorCode, true
}
