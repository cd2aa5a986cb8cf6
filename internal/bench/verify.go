package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// verifyStall is how long reading back may make no progress before it fails.
const verifyStall = 30 * time.Second

// Integrity is what reading everything back has shown.
type Integrity struct {
	Verified     bool  `json:"verified"`
	Acknowledged int64 `json:"acknowledged"`
	Read         int64 `json:"read"`
	Lost         int64 `json:"lost"`       // acknowledged and not there
	Duplicated   int64 `json:"duplicated"` // there more than once
	Reordered    int64 `json:"reordered"`  // in a partition after a later record of the same producer
	Corrupt      int64 `json:"corrupt"`
	// Unacknowledged records are there although their producer was told of a failure or of nothing: allowed.
	Unacknowledged int64 `json:"unacknowledged"`
	Foreign        int64 `json:"foreign"` // of other runs, or not of this tool
}

// bad says whether anything is wrong.
func (i Integrity) bad() bool { return i.Lost+i.Duplicated+i.Reordered+i.Corrupt > 0 }

// checker takes records as they are read back.
type checker struct {
	run    uint64
	seen   []bitset  // by producer
	latest [][]int64 // by partition and producer: the highest sequence so far plus one
	result Integrity
}

func newChecker(run uint64, partitions, producers int) *checker {
	return &checker{run: run, seen: make([]bitset, producers), latest: make([][]int64, partitions)}
}

// take checks one record and returns its header when it is one of this run.
func (c *checker) take(partition int32, value []byte) (header, bool) {
	c.result.Read++
	h, state := readHeader(value)
	switch {
	case state == payloadForeign || state == payloadGood && h.run != c.run:
		c.result.Foreign++
		return h, false
	case state == payloadCorrupt || int(h.producer) >= len(c.seen) || h.seq > 1<<40 || int(partition) >= len(c.latest):
		c.result.Corrupt++
		return h, false
	}
	if !c.seen[h.producer].set(h.seq) {
		c.result.Duplicated++
		return h, true
	}
	latest := c.latest[partition]
	if latest == nil {
		latest = make([]int64, len(c.seen))
		c.latest[partition] = latest
	}
	if int64(h.seq) < latest[h.producer] {
		c.result.Reordered++
	} else {
		latest[h.producer] = int64(h.seq) + 1
	}
	return h, true
}

// finish compares with what was acknowledged.
func (c *checker) finish(ledgers []*ledger) Integrity {
	r := c.result
	r.Verified = true
	for i, l := range ledgers {
		for seq := uint64(0); seq < l.sent; seq++ {
			acked, seen := l.acked.has(seq), c.seen[i].has(seq)
			switch {
			case acked && !seen:
				r.Lost++
			case seen && !acked:
				r.Unacknowledged++
			}
			if acked {
				r.Acknowledged++
			}
		}
	}
	return r
}

// verify reads back everything from where the topic ended before the run.
func (r *run) verify(ctx context.Context) (Integrity, error) {
	tctx, cancel := r.app.WithTimeout(ctx)
	ends, err := r.endOffsets(tctx)
	cancel()
	if err != nil {
		return Integrity{}, err
	}
	chk := newChecker(r.id, r.partitions, len(r.ledgers))
	var total int64
	for p := range ends {
		total += max(0, ends[p]-r.startOffsets[p])
	}
	progress := r.app.NewProgress()
	defer progress.Clear()
	err = r.readRange(ctx, r.startOffsets, ends, func(rec *kgo.Record) {
		chk.take(rec.Partition, rec.Value)
		if chk.result.Read%4096 == 0 {
			progress.Set("verifying  %s %s of %s records", cli.Bar(float64(chk.result.Read)/float64(max(total, 1)), 20), cli.Count(chk.result.Read), cli.Count(total))
		}
	})
	if err != nil {
		return Integrity{}, err
	}
	return chk.finish(r.ledgers), nil
}

// readRange reads the topic from starts to ends in one client.
func (r *run) readRange(ctx context.Context, starts, ends []int64, each func(*kgo.Record)) error {
	assign := map[int32]kgo.Offset{}
	open := 0
	position := make([]int64, len(ends))
	for p := range ends {
		position[p] = starts[p]
		if starts[p] < ends[p] {
			assign[int32(p)] = kgo.NewOffset().At(starts[p])
			open++
		}
	}
	if open == 0 {
		return nil
	}
	kc, err := r.meta.With(append(fetchOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: assign}), kgo.KeepControlRecords())...)
	if err != nil {
		return err
	}
	defer kc.Close()
	for progressAt := time.Now(); open > 0; {
		pctx, cancel := context.WithTimeout(ctx, time.Second)
		fetches := kc.PollFetches(pctx)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		got := false
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, rec := range p.Records {
				if rec.Offset < position[p.Partition] || rec.Offset >= ends[p.Partition] {
					continue
				}
				got = true
				if !rec.Attrs.IsControl() {
					each(rec)
				}
				if position[p.Partition] = rec.Offset + 1; rec.Offset == ends[p.Partition]-1 {
					open--
				}
			}
		})
		if got {
			progressAt = time.Now()
		} else if time.Since(progressAt) > verifyStall {
			return &cli.Error{Code: cli.ExitUnreachable, What: fmt.Sprintf("read back %s: nothing came for %s, %d partitions are not at their end", r.topic, verifyStall, open), Err: firstError(fetches)}
		}
	}
	return nil
}

func firstError(f kgo.Fetches) error {
	for _, e := range f.Errors() {
		return fmt.Errorf("%s", metaclient.Cause(e.Err))
	}
	return nil
}

// fetchOptions are those of every reading client.
func fetchOptions() []kgo.Opt {
	return []kgo.Opt{kgo.FetchMaxWait(500 * time.Millisecond), kgo.FetchMinBytes(1), kgo.FetchMaxBytes(64 << 20), kgo.FetchMaxPartitionBytes(4 << 20), kgo.KeepRetryableFetchErrors()}
}
