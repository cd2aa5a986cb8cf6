package metaclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/uuid"
)

// Verdict is what comparing replicas came to.
type Verdict string

// The verdicts, the worst last.
const (
	Equal     Verdict = "equal"     // the same batches at the same offsets, each of them read and its CRC verified
	Unchecked Verdict = "unchecked" // it could not be asked
	Short     Verdict = "short"     // in sync, and without records that are committed
	Damaged   Verdict = "damaged"   // its own log cannot be read
	Differs   Verdict = "differs"   // other batches than the first replica's
)

var verdictRanks = map[Verdict]int{Equal: 0, Unchecked: 1, Short: 2, Damaged: 3, Differs: 4}

func worse(a, b Verdict) Verdict {
	if verdictRanks[b] > verdictRanks[a] {
		return b
	}
	return a
}

// ReplicaCheck is one replica's own log. Offsets are -1 where they are not known.
type ReplicaCheck struct {
	Node          int32  `json:"node"`
	Directory     string `json:"directory,omitempty"`
	InSync        bool   `json:"inSync"`
	LeaderEpoch   int32  `json:"leaderEpoch"`
	StartOffset   int64  `json:"startOffset"`
	EndOffset     int64  `json:"endOffset"`
	HighWatermark int64  `json:"highWatermark"`
	// ComparedTo: the batches below were compared with the other replicas'.
	ComparedTo int64 `json:"comparedTo"`
	Batches    int64 `json:"batches"`
	// Checksum is a CRC-32C over {batch CRC, base offset, leader epoch} of the batches compared.
	Checksum string  `json:"checksum"`
	Verdict  Verdict `json:"verdict"`
	// DiffersAt is the last offset of the first batch that differs; -1 for none.
	DiffersAt int64  `json:"differsAt"`
	Detail    string `json:"detail,omitempty"`

	crc uint32
}

// PartitionCheck is a partition and its replicas' own logs.
type PartitionCheck struct {
	Topic     string         `json:"topic"`
	TopicID   string         `json:"topicId"`
	Partition int32          `json:"partition"`
	Leader    int32          `json:"leader"`
	From      int64          `json:"comparedFrom"`
	To        int64          `json:"comparedTo"` // as far as the in-sync replicas were compared
	Verdict   Verdict        `json:"verdict"`
	Replicas  []ReplicaCheck `json:"replicas"`
}

// ReplicaReport is the outcome of comparing replicas.
type ReplicaReport struct {
	Source     string           `json:"source"`
	Verdict    Verdict          `json:"verdict"`
	Batches    int64            `json:"batches"` // of each partition once
	Partitions []PartitionCheck `json:"partitions"`
	Notes      []string         `json:"notes"`
}

const (
	checkWorkers  = 8
	checkAttempts = 5
	checkPause    = 300 * time.Millisecond
	checkTimeout  = time.Minute // of one request, which reads some 32 MiB and may wait for those of others
)

// CheckReplicas compares every replica's own log below the high watermark, of the topics named or of all: each node is asked for a
// checksum of what it has itself. A replica in sync must have everything that is committed; another one is compared as far as it knows its
// log to be committed.
func (c *Client) CheckReplicas(ctx context.Context, topics ...string) (*ReplicaReport, error) {
	if len(topics) == 0 {
		names, err := c.TopicNames(ctx)
		if err != nil {
			return nil, Explain("list topics", err)
		}
		topics = slices.DeleteFunc(names, func(n string) bool { return n == MetadataTopic }) // metadata verify is for that
	}
	r := &ReplicaReport{Source: strings.Join(c.Target.Bootstrap, ", "), Verdict: Equal, Partitions: []PartitionCheck{}, Notes: []string{}}
	if len(topics) == 0 {
		return r, nil
	}
	found, err := c.RequireTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	status, err := c.Status(ctx) // it also learns where the nodes are
	if err != nil {
		return nil, err
	}
	away := map[int32]NodeState{}
	for _, n := range status.Nodes {
		if n.State != NodeUp {
			away[n.ID] = n.State
		}
	}
	var parts []kadm.PartitionDetail
	for _, name := range topics {
		parts = append(parts, found[name].Partitions.Sorted()...)
	}
	r.Partitions = make([]PartitionCheck, len(parts))
	var wg sync.WaitGroup
	next := make(chan int)
	for range checkWorkers {
		wg.Go(func() {
			for i := range next {
				r.Partitions[i] = c.checkPartition(ctx, away, found[parts[i].Topic].ID, parts[i])
			}
		})
	}
	for i := range parts {
		next <- i
	}
	close(next)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, Explain("compare replicas", err)
	}
	r.sum()
	return r, nil
}

// sum draws the report's verdict from its partitions'.
func (r *ReplicaReport) sum() {
	slices.SortStableFunc(r.Partitions, func(a, b PartitionCheck) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for i := range r.Partitions {
		p := &r.Partitions[i]
		p.Verdict = Equal
		for j := range p.Replicas {
			x := &p.Replicas[j]
			x.Checksum = fmt.Sprintf("%08x", x.crc)
			p.Verdict = worse(p.Verdict, x.Verdict)
		}
		if len(p.Replicas) > 0 {
			r.Batches += p.Replicas[0].Batches
		}
		r.Verdict = worse(r.Verdict, p.Verdict)
	}
}

// checkPartition compares the replicas of one partition. What changes meanwhile (another leader, a smaller ISR, records that are deleted) is
// no verdict: then it begins again with the newest state.
func (c *Client) checkPartition(ctx context.Context, away map[int32]NodeState, topic kadm.TopicID, d kadm.PartitionDetail) PartitionCheck {
	for attempt := 1; ; attempt++ {
		x := replicaComparison{ask: c.checksum, away: away, topic: uuid.UUID(topic), d: d}
		again := x.run(ctx)
		if !again || attempt == checkAttempts || ctx.Err() != nil {
			return x.out
		}
		select {
		case <-ctx.Done():
		case <-time.After(checkPause):
		}
		if now, err := c.admin.ListTopicsWithInternal(ctx, d.Topic); err == nil {
			if p, ok := now[d.Topic].Partitions[d.Partition]; ok {
				d = p
			}
		}
	}
}

type checksumFunc func(ctx context.Context, node int32, req *chronikapi.PartitionChecksumRequest) (*chronikapi.PartitionChecksumResponse, error)

// replicaComparison is one attempt at one partition.
type replicaComparison struct {
	ask   checksumFunc
	away  map[int32]NodeState
	topic uuid.UUID
	d     kadm.PartitionDetail
	out   PartitionCheck
}

func (x *replicaComparison) run(ctx context.Context) (again bool) {
	x.out = PartitionCheck{Topic: x.d.Topic, TopicID: x.topic.String(), Partition: x.d.Partition, Leader: x.d.Leader, From: -1, To: -1}
	ids := slices.Clone(x.d.Replicas)
	if i := slices.Index(ids, x.d.Leader); i > 0 { // the leader first: whoever is in sync has what it knows to be committed
		ids[0], ids[i] = ids[i], ids[0]
	}
	for _, id := range ids {
		x.out.Replicas = append(x.out.Replicas, x.bounds(ctx, id))
	}
	again = x.limits()
	if x.compare(ctx) {
		again = true
	}
	x.out.To = -1
	for i := range x.out.Replicas {
		x.out.To = max(x.out.To, x.out.Replicas[i].ComparedTo)
	}
	return again
}

func (x *replicaComparison) bounds(ctx context.Context, id int32) ReplicaCheck {
	r := ReplicaCheck{Node: id, InSync: slices.Contains(x.d.ISR, id), LeaderEpoch: -1, StartOffset: -1, EndOffset: -1, HighWatermark: -1, ComparedTo: -1, DiffersAt: -1, Verdict: Unchecked}
	if state, ok := x.away[id]; ok {
		r.Detail = "the node is " + string(state)
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, nodeProbeTimeout)
	defer cancel()
	resp, err := x.request(ctx, id, chronikapi.None, chronikapi.None, 0)
	if err != nil {
		r.Verdict, r.Detail = verdictOf(err), why(err)
		return r
	}
	r.LeaderEpoch, r.StartOffset, r.EndOffset, r.HighWatermark = resp.LeaderEpoch, resp.Start, min(resp.End, resp.Durable), resp.HighWatermark
	r.Verdict = Equal
	return r
}

// verdictOf is what a failed request says of the replica.
func verdictOf(err error) Verdict {
	if errors.Is(err, kerr.KafkaStorageError) {
		return Damaged
	}
	return Unchecked
}

// limits sets how far each replica is compared.
func (x *replicaComparison) limits() (again bool) {
	hw := int64(-1)
	for i := range x.out.Replicas {
		r := &x.out.Replicas[i]
		if r.Verdict != Equal {
			continue
		}
		x.out.From = max(x.out.From, r.StartOffset)
		if i == 0 || x.out.Replicas[0].Verdict != Equal {
			hw = max(hw, r.HighWatermark)
		}
	}
	for i := range x.out.Replicas {
		r := &x.out.Replicas[i]
		switch {
		case r.Verdict != Equal:
			continue
		case r.InSync && r.EndOffset < hw:
			r.Verdict, again = Short, true
			r.Detail = fmt.Sprintf("it is in sync and ends at %d, records below %d are committed", r.EndOffset, hw)
			r.ComparedTo = r.EndOffset
		case r.InSync:
			r.ComparedTo = hw
		default:
			r.ComparedTo = min(hw, r.HighWatermark)
		}
		r.ComparedTo = max(r.ComparedTo, x.out.From)
		x.out.To = max(x.out.To, r.ComparedTo)
	}
	return again
}

// compare goes through the range in the parts that the first replica makes of it.
func (x *replicaComparison) compare(ctx context.Context) (again bool) {
	for at := x.out.From; ; {
		var reading []*ReplicaCheck
		to := x.out.To
		for i := range x.out.Replicas {
			if r := &x.out.Replicas[i]; (r.Verdict == Equal || r.Verdict == Short) && r.ComparedTo > at {
				reading = append(reading, r)
				to = min(to, r.ComparedTo)
			}
		}
		if len(reading) == 0 || ctx.Err() != nil {
			return again
		}
		first := reading[0]
		resp, err := x.request(ctx, first.Node, at, to, first.crc)
		if err != nil || resp.Next <= at {
			again = x.failed(first, at, err) || again
			continue
		}
		to, first.crc, first.Batches = resp.Next, uint32(resp.CRC), first.Batches+resp.Batches
		for _, r := range reading[1:] {
			n, err := x.until(ctx, r, at, to)
			if err != nil {
				again = x.failed(r, at, err) || again
				continue
			}
			if r.crc != first.crc || n != resp.Batches {
				r.Verdict, r.DiffersAt = Differs, x.firstDifference(ctx, first.Node, r.Node, at, to)
				r.Detail = fmt.Sprintf("not as on node %d, first in the batch that ends at offset %d", first.Node, r.DiffersAt)
			}
		}
		at = to
	}
}

// failed ends the comparison of a replica, of which all below at was compared. Records that were deleted meanwhile are no verdict.
func (x *replicaComparison) failed(r *ReplicaCheck, at int64, err error) (again bool) {
	if err == nil {
		err = errors.New("no progress")
	}
	r.Verdict, r.Detail, r.ComparedTo = verdictOf(err), why(err), at
	return errors.Is(err, kerr.OffsetOutOfRange) || errors.Is(err, kerr.UnknownTopicID)
}

// until continues a replica's checksum up to an offset and returns the number of batches in that part.
func (x *replicaComparison) until(ctx context.Context, r *ReplicaCheck, at, to int64) (batches int64, err error) {
	for at < to {
		resp, err := x.request(ctx, r.Node, at, to, r.crc)
		if err != nil {
			return batches, err
		}
		if resp.Next <= at {
			return batches, errors.New("no progress")
		}
		r.crc, at = uint32(resp.CRC), resp.Next
		r.Batches += resp.Batches
		batches += resp.Batches
	}
	return batches, nil
}

// firstDifference is the last offset of the first batch in [from, to) that two nodes do not have alike; to-1 if that cannot be found.
func (x *replicaComparison) firstDifference(ctx context.Context, a, b int32, from, to int64) int64 {
	lo, hi := from, to // [from, lo) is equal, [from, hi) is not
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		one, other := ReplicaCheck{Node: a}, ReplicaCheck{Node: b}
		n, err := x.until(ctx, &one, from, mid)
		m, err2 := x.until(ctx, &other, from, mid)
		if err != nil || err2 != nil {
			break
		}
		if one.crc == other.crc && n == m {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi - 1
}

// checksum asks one node about its own log.
func (c *Client) checksum(ctx context.Context, node int32, req *chronikapi.PartitionChecksumRequest) (*chronikapi.PartitionChecksumResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	resp, err := c.broker(node).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	r := resp.(*chronikapi.PartitionChecksumResponse)
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil && r.ErrorMessage != "" {
		return r, &toldError{r.ErrorMessage, err}
	}
	return r, kerr.ErrorForCode(r.ErrorCode)
}

// toldError is one of Kafka's errors in a node's own words.
type toldError struct {
	text string
	err  error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.err }

// why is a failed request's cause, in the node's own words if it has any.
func why(err error) string {
	var told *toldError
	if errors.As(err, &told) {
		return told.text
	}
	return Cause(err)
}

func (x *replicaComparison) request(ctx context.Context, node int32, from, to int64, crc uint32) (*chronikapi.PartitionChecksumResponse, error) {
	req := chronikapi.NewPartitionChecksumRequest()
	req.TopicID, req.Partition, req.From, req.To, req.CRC = x.topic, x.d.Partition, from, to, int32(crc)
	return x.ask(ctx, node, req)
}
