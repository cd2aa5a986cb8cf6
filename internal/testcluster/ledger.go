package testcluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Ledger is what producers were told and what consumers have seen. Values are "writer/number": each writer numbers its records
// per partition from 0, so a value stands for one record only.
//
// It may be used by all goroutines.
type Ledger struct {
	// MayRepeat tells of which writers' records copies are no violation, because they are not idempotent; nil: of none. They are counted, and
	// the first ones must be in order. It is set before the ledger is used.
	MayRepeat func(writer string) bool

	mu    sync.Mutex
	acked map[string]place // value -> where the server said it is
	seen  map[place]string // what a consumer was given while the cluster ran
}

type place struct {
	topic     string
	partition int32
	offset    int64
}

// Verdict is the outcome of Check. All but Acked and Read must be zero.
type Verdict struct {
	Acked, Read                                      int
	Repeated                                         int // copies of records of writers that may repeat
	Lost, Duplicated, Reordered, Moved, Changed, Gap int
	Examples                                         []string // of each kind of violation, some
}

// String is a line for a report.
func (v Verdict) String() string {
	s := fmt.Sprintf("acked %d, read %d, acked lost %d, duplicated %d, reordered %d, at another offset %d, changed %d, gaps %d",
		v.Acked, v.Read, v.Lost, v.Duplicated, v.Reordered, v.Moved, v.Changed, v.Gap)
	if v.Repeated > 0 {
		s += fmt.Sprintf(", repeated by writers that are not idempotent %d", v.Repeated)
	}
	return s
}

// OK says whether nothing is wrong.
func (v Verdict) OK() bool {
	return v.Lost+v.Duplicated+v.Reordered+v.Moved+v.Changed+v.Gap == 0
}

// NewLedger makes an empty ledger.
func NewLedger() *Ledger { return &Ledger{acked: map[string]place{}, seen: map[place]string{}} }

// Value is what a writer's n-th record for a partition holds.
func Value(writer string, partition int32, n int) []byte {
	return fmt.Appendf(nil, "%s/%d/%d", writer, partition, n)
}

// Ack notes a record that the server acknowledged.
func (l *Ledger) Ack(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[string(r.Value)] = place{r.Topic, r.Partition, r.Offset}
}

// Acked is how many records were acknowledged.
func (l *Ledger) Acked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// See notes a record that a consumer was given. It must be what it was before, at its offset.
func (l *Ledger) See(r *kgo.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := place{r.Topic, r.Partition, r.Offset}
	if before, ok := l.seen[at]; ok && before != string(r.Value) {
		return fmt.Errorf("record at %s-%d@%d changed from %q to %q", at.topic, at.partition, at.offset, before, r.Value)
	}
	l.seen[at] = string(r.Value)
	return nil
}

// ReadAll reads all partitions of a topic from their start to their end.
func ReadAll(ctx context.Context, seed, topic string, partitions int32) ([]*kgo.Record, error) {
	starts := map[int32]kgo.Offset{}
	for p := range partitions {
		starts[p] = kgo.NewOffset().AtStart()
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(seed), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ends, err := endOffsets(ctx, c, topic, partitions)
	if err != nil {
		return nil, err
	}
	var all []*kgo.Record
	for left := partitions - int32(countZero(ends)); left > 0; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		for _, e := range fetches.Errors() {
			return nil, fmt.Errorf("read %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			all = append(all, r)
			if r.Offset+1 == ends[r.Partition] {
				left--
			}
		})
	}
	return all, nil
}

func countZero(m map[int32]int64) (n int) {
	for _, v := range m {
		if v == 0 {
			n++
		}
	}
	return n
}

// Check compares all records of the topics, each partition's in the order of its offsets, with what was acknowledged and seen.
func (l *Ledger) Check(records []*kgo.Record) Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Acked: len(l.acked), Read: len(records)}
	note := func(count *int, format string, args ...any) {
		if *count++; *count <= 5 {
			v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
		}
	}
	found := map[string]place{}
	at := map[place]string{}
	lastNumber := map[string]int{} // writer/partition
	nextOffset := map[string]int64{}
	for _, r := range records {
		here := place{r.Topic, r.Partition, r.Offset}
		value := string(r.Value)
		writer, number := splitValue(value)
		before, twice := found[value]
		switch {
		case twice && l.MayRepeat != nil && l.MayRepeat(writer):
			v.Repeated++
		case twice:
			note(&v.Duplicated, "duplicated: %q at %v and %v", value, before, here)
		default:
			found[value] = here
		}
		at[here] = value
		if seen, ok := l.seen[here]; ok && seen != value {
			note(&v.Changed, "changed: %v was %q, is %q", here, seen, value)
		}
		log := fmt.Sprintf("%s-%d", r.Topic, r.Partition)
		if next, ok := nextOffset[log]; ok && next != r.Offset {
			note(&v.Gap, "gap: %s goes from %d to %d", log, next, r.Offset)
		}
		nextOffset[log] = r.Offset + 1
		if last, ok := lastNumber[writer]; ok && number <= last && !twice {
			note(&v.Reordered, "reordered: %q at %v comes after number %d", value, here, last)
		}
		lastNumber[writer] = max(lastNumber[writer], number)
	}
	for _, value := range slices.Sorted(maps.Keys(l.acked)) {
		first, ok := found[value]
		switch {
		case !ok:
			note(&v.Lost, "lost: %q, acknowledged at %v", value, l.acked[value])
		case at[l.acked[value]] != value:
			note(&v.Moved, "moved: %q, acknowledged at %v, is at %v", value, l.acked[value], first)
		}
	}
	for seenAt, value := range l.seen {
		if at[seenAt] != value {
			note(&v.Changed, "vanished: %q, given to a consumer at %v, where %q is", value, seenAt, at[seenAt])
		}
	}
	return v
}

// splitValue takes a value apart: who wrote it for which partition, and its number.
func splitValue(value string) (writer string, number int) {
	i := len(value) - 1
	for i >= 0 && value[i] != '/' {
		i--
	}
	if _, err := fmt.Sscanf(value[i+1:], "%d", &number); err != nil {
		return value, -1
	}
	return value[:max(i, 0)], number
}
