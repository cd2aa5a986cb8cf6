package torture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/testcluster"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/wal"
)

const (
	fullWithin = 90 * time.Second // all replicas in sync again
	readWithin = 3 * time.Minute
	maxWAL     = 256 << 20 // of each node
)

// settle checks everything at rest, and lets the load go on.
func (r *run) settle() {
	t, l := r.t, r.load
	t.Helper()
	l.setSending(false)
	defer l.setSending(true)
	if err := l.await(); err != nil {
		t.Fatalf("%v\n%s", err, r.state())
	}
	ctx, cancel := context.WithTimeout(l.ctx, readWithin)
	defer cancel()
	if _, err := r.awaitFull(ctx, time.Now()); err != nil {
		t.Fatalf("%v\n%s", err, r.state())
	}
	var all []*kgo.Record
	read := func(name string, n int32) []*kgo.Record {
		records, err := testcluster.ReadAll(ctx, r.cluster.Nodes[r.settled%3].Kafka, name, n)
		if err != nil {
			t.Fatalf("read %s at rest: %v\n%s", name, err, r.state())
		}
		return records
	}
	for name, n := range l.topics() {
		all = append(all, read(name, n)...)
	}
	var big []*kgo.Record
	old := l.nextBursts()
	if old != nil {
		big = read(old.topic, burstPartitions)
		v := old.ledger.Check(big)
		r.bursts.Acked, r.bursts.Read = r.bursts.Acked+v.Acked, r.bursts.Read+v.Read
		t.Logf("%s: %v", old.topic, v)
		for _, e := range v.Examples {
			t.Error(e)
		}
	}
	r.settled++
	r.verdict = l.ledger.Check(all)
	t.Logf("at rest after %d faults: %v", r.faults, r.verdict)
	for _, e := range r.verdict.Examples {
		t.Error(e)
	}
	ends := map[partition.ID]int64{} // where committed records end
	ids, err := r.topicIDs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range append(all, big...) {
		id := partition.ID{Topic: ids[x.Topic], Partition: x.Partition}
		ends[id] = max(ends[id], x.Offset+1)
	}
	r.compare(ends)
	if old != nil {
		l.remove(old.topic)
	}
}

// compare stops all nodes, compares what is in their directories, and starts them again.
func (r *run) compare(ends map[partition.ID]int64) {
	t := r.t
	t.Helper()
	var wg sync.WaitGroup
	stopped := make([]error, len(r.cluster.Nodes))
	for i, s := range r.cluster.Nodes {
		wg.Go(func() { stopped[i] = r.tormentor.stop(s) })
	}
	wg.Wait()
	if err := errors.Join(stopped...); err != nil {
		t.Errorf("stop at rest: %v", err)
	}
	var stores []*partition.Store
	for i, s := range r.cluster.Nodes {
		store, err := partition.OpenStore(partition.StoreOptions{Dir: s.Dir, WAL: wal.Options{MaxBytes: maxWAL}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatalf("open the directory of node %d: %v", i+1, err)
		}
		stores = append(stores, store)
	}
	for id, end := range ends {
		r.note(compareLog(id, end, stores))
	}
	r.compareRest(ends, stores)
	for i, s := range stores {
		if err := s.Close(); err != nil {
			t.Errorf("close the directory of node %d: %v", i+1, err)
		}
	}
	for i, s := range r.cluster.Nodes {
		wg.Go(func() { stopped[i] = s.TryRestart() })
	}
	wg.Wait()
	if err := errors.Join(stopped...); err != nil {
		t.Fatalf("start after rest: %v", err)
	}
}

// note counts and reports what a comparison has found.
func (r *run) note(batches int, differences []string) {
	r.compared += int64(batches)
	r.diverged += len(differences)
	for _, d := range differences {
		r.t.Errorf("replicas differ: %s", d)
	}
}

// compareLog compares the replicas of one partition, of which everything below end is committed. It tells how many batches it has compared,
// and what differs.
func compareLog(id partition.ID, end int64, stores []*partition.Store) (compared int, differences []string) {
	differ := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	first, sum, batches := -1, uint32(0), 0
	for i, s := range stores {
		log := s.Get(id)
		if log == nil {
			differ("node %d has no log of %s", i+1, id)
			continue
		}
		if log.Start() != 0 || log.End() < end {
			differ("node %d: log of %s is %d to %d, committed to %d", i+1, id, log.Start(), log.End(), end)
			continue
		}
		crc, n, err := log.Checksum(0, end)
		switch {
		case err != nil:
			differ("node %d: %v", i+1, err)
			continue
		case first < 0:
			first, sum, batches = i, crc, n
		case crc != sum || n != batches:
			differ("node %d: log of %s below %d: checksum %08x of %d batches, %08x of %d on node %d", i+1, id, end, crc, n, sum, batches, first+1)
		}
		compared += n
	}
	return compared, differences
}

// compareRest compares logs of which no committed end is known (of groups): up to the shortest of them.
func (r *run) compareRest(ends map[partition.ID]int64, stores []*partition.Store) {
	for _, log := range stores[0].All() {
		if _, known := ends[log.ID()]; known || log.End() == 0 {
			continue
		}
		end := log.End()
		for _, o := range stores[1:] {
			if other := o.Get(log.ID()); other != nil {
				end = min(end, other.End())
			}
		}
		r.note(compareLog(log.ID(), end, stores))
	}
}

func (r *run) metadata(ctx context.Context, node int) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	return req.RequestWith(ctx, r.asks.SeedBrokers()[node])
}

func (r *run) topicIDs(ctx context.Context) (map[string]uuid.UUID, error) {
	resp, err := r.metadata(ctx, 0)
	if err != nil {
		return nil, err
	}
	ids := map[string]uuid.UUID{}
	for _, t := range resp.Topics {
		ids[*t.Topic] = t.TopicID
	}
	return ids, nil
}

// short lists partitions that lack a leader or an in-sync replica, as the nodes see it.
func (r *run) short(ctx context.Context) (lacking []string) {
	for node := range r.cluster.Nodes {
		resp, err := r.metadata(ctx, node)
		if err != nil {
			return append(lacking, fmt.Sprintf("node %d: %v", node+1, err))
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
					lacking = append(lacking, fmt.Sprintf("node %d: %s-%d leader %d epoch %d isr %v", node+1, *t.Topic, p.Partition, p.Leader, p.LeaderEpoch, p.ISR))
				}
			}
		}
	}
	return lacking
}

// awaitFull waits until all replicas are in sync and returns how long after a time that was.
func (r *run) awaitFull(ctx context.Context, since time.Time) (time.Duration, error) {
	for deadline := time.Now().Add(fullWithin); ; sleep(ctx, 50*time.Millisecond) {
		lacking := r.short(ctx)
		if len(lacking) == 0 {
			return time.Since(since), nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return 0, fmt.Errorf("not all replicas are in sync %v after all is whole:\n%s", time.Since(since), strings.Join(lacking[:min(len(lacking), 40)], "\n"))
		}
	}
}

// state describes the cluster for the log of a failure.
func (r *run) state() string {
	var b strings.Builder
	for i, in := range r.observer.Infos(context.Background()) {
		if in == nil {
			fmt.Fprintf(&b, "node %d does not answer\n", i+1)
			continue
		}
		fmt.Fprintf(&b, "node %d: %s, leader %d, term %d, end %d, commit %d, image %d\n", i+1, in.Role, in.Leader, in.BallotTerm, in.End, in.Commit, in.ImageOffset)
	}
	lacking := r.short(context.Background())
	fmt.Fprintf(&b, "%d partitions lack something:\n%s\n", len(lacking), strings.Join(lacking[:min(len(lacking), 40)], "\n"))
	fmt.Fprintf(&b, "topics: %v", slices.Sorted(maps.Keys(r.load.topics())))
	return b.String()
}
