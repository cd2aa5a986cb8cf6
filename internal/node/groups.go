package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/replica"
)

// groupLog keeps group state in the replicas of __consumer_offsets that this node leads.
type groupLog struct {
	meta     *metalog.Log
	replicas *replica.Set
	store    *partition.Store
}

// groupAdmitPercent is how full the node WAL may be for group state. Clients' records stop earlier, so offsets can be committed and groups
// can rebalance while producers wait for room, and on a full disk; what is above is for what makes room again.
const groupAdmitPercent = 85

var _ group.Log = groupLog{}

// replica finds this node's replica of a partition of the group topic.
func (g groupLog) replica(n int32) (*replica.Replica, error) {
	t := g.meta.Image().Topic(group.TopicName)
	if t == nil {
		return nil, fmt.Errorf("%s-%d: %w", group.TopicName, n, group.ErrNotCoordinator)
	}
	r := g.replicas.Get(t.ID, n)
	if r == nil {
		return nil, fmt.Errorf("%s-%d: %w", group.TopicName, n, group.ErrNotCoordinator)
	}
	return r, nil
}

// Append implements group.Log.
func (g groupLog) Append(n, epoch int32, batch []byte, done func(error)) error {
	r, err := g.replica(n)
	if err != nil {
		return err
	}
	if u := g.store.Usage(); u.UsedBytes+u.Pending+int64(len(batch)) > u.MaxBytes/100*groupAdmitPercent {
		return partition.ErrWALFull
	}
	return notCoordinator(r.AppendInternal(batch, epoch, func(err error) { done(notCoordinator(err)) }))
}

// notCoordinator says in the coordinator's terms that another node leads.
func notCoordinator(err error) error {
	if errors.Is(err, replica.ErrNotLeader) || errors.Is(err, partition.ErrStaleLeaderEpoch) || errors.Is(err, partition.ErrDropped) {
		return fmt.Errorf("%w: %w", group.ErrNotCoordinator, err)
	}
	return err
}

// Bounds implements group.Log.
func (g groupLog) Bounds(n, epoch int32) (start, end int64, err error) {
	r, err := g.replica(n)
	if err != nil {
		return 0, 0, err
	}
	start, end, err = r.Bounds(epoch)
	return start, end, notCoordinator(err)
}

// AwaitHighWatermark implements group.Log.
func (g groupLog) AwaitHighWatermark(ctx context.Context, n, epoch int32, offset int64) error {
	r, err := g.replica(n)
	if err != nil {
		return err
	}
	return notCoordinator(r.AwaitHighWatermark(ctx, epoch, offset))
}

// Read implements group.Log.
func (g groupLog) Read(n, epoch int32, dst []byte, from int64, maxBytes int) ([]byte, error) {
	r, err := g.replica(n)
	if err != nil {
		return dst, err
	}
	dst, err = r.ReadCommitted(epoch, dst, from, maxBytes)
	return dst, notCoordinator(err)
}

// AdvanceStart implements group.Log.
func (g groupLog) AdvanceStart(n, epoch int32, offset int64) error {
	r, err := g.replica(n)
	if err != nil {
		return err
	}
	if _, _, err := r.Bounds(epoch); err != nil {
		return notCoordinator(err)
	}
	_, err = r.AdvanceStart(offset)
	return notCoordinator(err)
}

// groupWatch tells the coordinator which partitions of the group topic this node leads. It runs after the replica set has
// taken the same image.
type groupWatch struct {
	mu          sync.Mutex // one look at a time; the last one sees what all before it saw
	nodeID      int32
	replicas    *replica.Set
	coordinator *group.Coordinator
}

// apply is a metadata subscriber.
func (w *groupWatch) apply(_, cur *metadata.Image, d *metadata.Delta) {
	if len(d.TopicsDeleted) > 0 {
		names := make([]string, 0, len(d.TopicsDeleted))
		for _, t := range d.TopicsDeleted {
			names = append(names, t.Name)
		}
		w.coordinator.TopicsDeleted(names)
	}
	touched := false
	for i := range d.Partitions {
		touched = touched || d.Partitions[i].Topic.Name == group.TopicName
	}
	for _, t := range d.TopicsCreated {
		touched = touched || t.Name == group.TopicName
	}
	if touched || len(d.Brokers) > 0 {
		w.refresh(cur)
	}
}

// refresh compares all partitions of the group topic with what this node leads.
func (w *groupWatch) refresh(im *metadata.Image) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := im.Topic(group.TopicName)
	if t == nil {
		return
	}
	w.coordinator.SetPartitions(int32(len(t.Partitions)))
	for n := range t.Partitions {
		r := w.replicas.Get(t.ID, int32(n))
		if r != nil && r.Leads() {
			w.coordinator.Elected(int32(n), r.LeaderEpoch())
		} else {
			w.coordinator.Resigned(int32(n))
		}
	}
}
