package metaclient

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/logdir"
)

// fakeLog is one node's log as it would answer: a few batches to a request.
type fakeLog struct {
	batches  []logdir.Batch
	start    int64
	hw, end  int64
	err      error
	perAsk   int
	deleting int64 // the log start jumps there after the first look
}

func (l *fakeLog) answer(req *chronikapi.PartitionChecksumRequest) (*chronikapi.PartitionChecksumResponse, error) {
	if l.err != nil {
		return nil, l.err
	}
	resp := &chronikapi.PartitionChecksumResponse{Start: l.start, HighWatermark: l.hw, Durable: l.end, End: l.end, Next: chronikapi.None}
	l.start = max(l.start, l.deleting)
	if req.From < 0 {
		return resp, nil
	}
	if req.From < l.start || req.To > l.end {
		return nil, kerr.OffsetOutOfRange
	}
	crc, at := uint32(req.CRC), req.From
	for _, b := range within(l.batches, req.From, req.To) {
		if resp.Batches == int64(l.perAsk) {
			break
		}
		crc, at = b.Extend(crc), b.Last+1
		resp.Batches++
	}
	if resp.Batches < int64(l.perAsk) {
		at = req.To
	}
	resp.CRC, resp.Next = int32(crc), at
	return resp, nil
}

// someLog makes batches from 0 on; equal seeds make equal logs.
func someLog(seed uint64, n int) []logdir.Batch {
	r := rand.New(rand.NewPCG(seed, 1))
	var out []logdir.Batch
	for at := int64(0); len(out) < n; {
		b := logdir.Batch{Base: at, Last: at + r.Int64N(5), CRC: r.Uint32(), LeaderEpoch: 3}
		out = append(out, b)
		at = b.Last + 1
	}
	return out
}

func endOf(b []logdir.Batch) int64 { return b[len(b)-1].Last + 1 }

// partitionOf compares the logs of nodes 1, 2, 3, led by node 1.
func partitionOf(t *testing.T, isr []int32, logs map[int32]*fakeLog) (map[int32]ReplicaCheck, PartitionCheck, bool) {
	t.Helper()
	x := replicaComparison{away: map[int32]NodeState{}, d: kadm.PartitionDetail{Topic: "orders", Leader: 1, Replicas: []int32{3, 1, 2}, ISR: isr}}
	x.ask = func(_ context.Context, node int32, req *chronikapi.PartitionChecksumRequest) (*chronikapi.PartitionChecksumResponse, error) {
		return logs[node].answer(req)
	}
	for id, l := range logs {
		if l == nil {
			x.away[id] = NodeFenced
		}
	}
	again := x.run(t.Context())
	r := ReplicaReport{Verdict: Equal, Partitions: []PartitionCheck{x.out}}
	r.sum()
	by := map[int32]ReplicaCheck{}
	for _, c := range r.Partitions[0].Replicas {
		by[c.Node] = c
	}
	return by, r.Partitions[0], again
}

func TestReplicasAreCompared(t *testing.T) {
	all := []int32{1, 2, 3}
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 2))
		base := someLog(seed, 60)
		end := endOf(base)
		fresh := func() map[int32]*fakeLog {
			m := map[int32]*fakeLog{}
			for _, id := range all {
				m[id] = &fakeLog{batches: slices.Clone(base), hw: end, end: end, perAsk: 1 + r.IntN(70)}
			}
			return m
		}
		logs := fresh()
		logs[2].hw = end / 2 // it hears of the high watermark later
		by, p, again := partitionOf(t, all, logs)
		if p.Verdict != Equal || p.To != end || again || by[1].Checksum != by[2].Checksum || by[2].Checksum != by[3].Checksum || by[2].Batches != 60 {
			t.Fatalf("equal logs, seed %d: %+v", seed, p)
		}

		logs, at := fresh(), r.IntN(60)
		changed := &logs[3].batches[at]
		switch r.IntN(3) {
		case 0:
			changed.CRC++
		case 1:
			changed.LeaderEpoch--
		case 2: // another shape: two batches in the place of one, or none
			if changed.Last > changed.Base {
				second := *changed
				second.Base = changed.Last
				changed.Last--
				logs[3].batches = slices.Insert(logs[3].batches, at+1, second)
			} else {
				changed.CRC ^= 4
			}
		}
		want := logs[3].batches[at].Last
		by, p, _ = partitionOf(t, all, logs)
		if p.Verdict != Differs || by[3].Verdict != Differs || by[1].Verdict != Equal || by[2].Verdict != Equal || by[3].DiffersAt != want {
			t.Fatalf("batch %d differs, up to offset %d, seed %d: %+v", at, want, seed, p)
		}
		// The same tail on a replica that is not in sync, above what it knows to be committed, is no difference.
		logs[3].hw = logs[3].batches[at].Base
		if by, p, _ = partitionOf(t, []int32{1, 2}, logs); p.Verdict != Equal || by[3].ComparedTo != logs[3].hw || by[2].ComparedTo != end {
			t.Fatalf("not in sync, seed %d: %+v", seed, p)
		}
	}
}

func TestReplicasThatCannotBeCompared(t *testing.T) {
	base := someLog(7, 40)
	end := endOf(base)
	logs := func() map[int32]*fakeLog {
		m := map[int32]*fakeLog{}
		for id := int32(1); id <= 3; id++ {
			m[id] = &fakeLog{batches: base, hw: end, end: end, perAsk: 9}
		}
		return m
	}
	all := []int32{1, 2, 3}
	cases := []struct {
		name    string
		change  func(m map[int32]*fakeLog)
		isr     []int32
		verdict Verdict
		again   bool
	}{
		{"a node is away", func(m map[int32]*fakeLog) { m[2] = nil }, []int32{1, 3}, Unchecked, false},
		{"the leader is away: the others are compared", func(m map[int32]*fakeLog) { m[1] = nil }, all, Unchecked, false},
		{"in sync, and ends early", func(m map[int32]*fakeLog) { m[2].batches, m[2].end = base[:30], base[29].Last+1 }, all, Short, true},
		{"not in sync, and ends early", func(m map[int32]*fakeLog) {
			m[2].batches, m[2].end, m[2].hw = base[:30], base[29].Last+1, base[29].Last+1
		}, []int32{1, 3}, Equal, false},
		{"a log that cannot be read", func(m map[int32]*fakeLog) { m[3].err = kerr.KafkaStorageError }, all, Damaged, false},
		{"no such request", func(m map[int32]*fakeLog) { m[3].err = errors.New("broker too old") }, all, Unchecked, false},
		{"records are deleted meanwhile", func(m map[int32]*fakeLog) { m[2].deleting = base[5].Base }, all, Unchecked, true},
		{"nothing was ever written", func(m map[int32]*fakeLog) {
			for _, l := range m {
				l.batches, l.hw, l.end = nil, 0, 0
			}
		}, all, Equal, false},
	}
	for _, c := range cases {
		m := logs()
		c.change(m)
		_, p, again := partitionOf(t, c.isr, m)
		if p.Verdict != c.verdict || again != c.again {
			t.Errorf("%s: %s, again %v: %+v", c.name, p.Verdict, again, p)
		}
	}
}

// stopped compares logs as they would stand in directories.
func stopped(logs ...*logdir.Log) PartitionCheck {
	out := PartitionCheck{From: -1, To: -1}
	for i, l := range logs {
		c := ReplicaCheck{Node: int32(i + 1), InSync: l.Partition == 1, StartOffset: l.Start, EndOffset: l.End, HighWatermark: l.Committed, ComparedTo: -1, DiffersAt: -1, Verdict: Equal}
		out.Replicas = append(out.Replicas, c)
	}
	compareStopped(&out, logs)
	r := ReplicaReport{Verdict: Equal, Partitions: []PartitionCheck{out}}
	r.sum()
	return r.Partitions[0]
}

func TestDirectoriesAreCompared(t *testing.T) {
	base := someLog(9, 50)
	// inSync stands in Partition here: 1 in sync, 0 not.
	log := func(batches []logdir.Batch, inSync int32, committed int64) *logdir.Log {
		return &logdir.Log{Batches: slices.Clone(batches), End: endOf(batches), Partition: inSync, Committed: committed}
	}
	other := slices.Clone(base)
	other[20].CRC++
	longer := append(slices.Clone(base[:20]), someOther(base[20:])...)
	cases := []struct {
		name    string
		logs    []*logdir.Log
		verdict Verdict
		to      int64 // compared, of the last one
	}{
		{"equal", []*logdir.Log{log(base, 1, 0), log(base, 1, 9), log(base, 1, 0)}, Equal, endOf(base)},
		{"one ends earlier", []*logdir.Log{log(base, 1, 0), log(base[:45], 1, 0), log(base, 1, 0)}, Equal, base[44].Last + 1},
		{"another batch", []*logdir.Log{log(base, 1, 0), log(base, 1, 9), log(other, 1, 0)}, Differs, endOf(base)},
		{"another batch where nobody knows that it is committed", []*logdir.Log{log(base, 1, 0), log(other, 1, 0)}, Differs, endOf(base)},
		{"not in sync, with a tail of its own", []*logdir.Log{log(base, 1, 0), log(base, 1, 0), log(longer, 0, base[10].Base)}, Equal, base[20].Base},
		{"not in sync, other below what it knows to be committed", []*logdir.Log{log(base, 1, 0), log(longer, 0, base[30].Base)}, Differs, endOf(base)},
		{"one alone", []*logdir.Log{log(base, 0, 3)}, Equal, endOf(base)},
	}
	for _, c := range cases {
		p := stopped(c.logs...)
		last := p.Replicas[len(p.Replicas)-1]
		if p.Verdict != c.verdict || last.ComparedTo != c.to {
			t.Errorf("%s: %s up to %d, want %s up to %d: %+v", c.name, p.Verdict, last.ComparedTo, c.verdict, c.to, p.Replicas)
		}
		if c.verdict == Differs && (last.DiffersAt != base[20].Last || !strings.Contains(last.Detail, "node 1")) {
			t.Errorf("%s: %+v", c.name, last)
		}
	}
}

// someOther are batches at the same offsets with other contents.
func someOther(b []logdir.Batch) []logdir.Batch {
	out := slices.Clone(b)
	for i := range out {
		out[i].CRC ^= 1
	}
	slices.SortFunc(out, func(a, b logdir.Batch) int { return cmp.Compare(a.Base, b.Base) })
	return out
}
