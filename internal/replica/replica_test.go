package replica

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// cluster is an image under the test's hand, and the set that follows it.
type cluster struct {
	t     *testing.T
	set   *Set
	store *partition.Store
	fs    *vfs.Faulty
	im    *metadata.Image
	hold  atomic.Pointer[chan struct{}] // syncs of the WAL wait for it
}

var me = uuid.UUID{1}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, fs: vfs.NewFaulty(vfs.NewMem()), im: metadata.Empty()}
	c.fs.Before = func(op vfs.Op, path string) {
		if hold := c.hold.Load(); hold != nil && op == vfs.OpSync && strings.Contains(filepath.ToSlash(path), "/wal") {
			<-*hold
		}
	}
	c.open()
	c.apply(&metadata.ClusterFounded{ClusterID: "c", TimestampMs: 1, MetadataVersion: 1, Founders: []metadata.Voter{{NodeID: 1, DiskID: me}}})
	c.register(uuid.UUID{1, 1})
	return c
}

func (c *cluster) open() {
	c.t.Helper()
	store, err := partition.OpenStore(partition.StoreOptions{FS: c.fs, Dir: "d", Logger: slog.New(slog.DiscardHandler),
		WAL: wal.Options{SlotBytes: 1 << 20, ZeroStep: 1 << 20, MaxBytes: 16 << 20, SealAfter: -1, OnFatal: func(err error) { c.t.Error(err) }}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.store = store
	c.t.Cleanup(func() { _ = store.Close() })
	c.set = NewSet(Options{NodeID: 1, Incarnation: uuid.UUID{1, 1}, Store: store, Logger: slog.New(slog.DiscardHandler)})
}

// apply makes a change committed.
func (c *cluster) apply(events ...metadata.Event) {
	c.t.Helper()
	b := metadata.NewBatch(c.im)
	for i, e := range events {
		if err := b.Apply(c.im.Offset()+1+int64(i), e); err != nil {
			c.t.Fatal(err)
		}
	}
	old := c.im
	var d *metadata.Delta
	c.im, d = b.Done()
	c.set.Apply(old, c.im, d)
}

func (c *cluster) register(incarnation uuid.UUID) {
	c.t.Helper()
	c.apply(&metadata.BrokerRegistered{BrokerID: 1, BrokerEpoch: c.im.Offset() + 1, Incarnation: incarnation, DiskID: me})
}

func (c *cluster) topic(name string, id byte, p metadata.PartitionState) *Replica {
	c.t.Helper()
	c.apply(&metadata.TopicCreated{Name: name, TopicID: uuid.UUID{id}, TimestampMs: 1, Partitions: []metadata.PartitionState{p}})
	return c.set.Get(uuid.UUID{id}, 0)
}

// led is a partition of this node alone.
var led = metadata.PartitionState{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}

func batch(n int) []byte {
	b := recordbatch.NewBuilder()
	for range n {
		b.Append(1, nil, []byte("value"))
	}
	out, err := b.Build(recordbatch.None)
	if err != nil {
		panic(err)
	}
	return out
}

// append appends a batch and returns the channel that is told how its wait ends.
func (c *cluster) append(r *Replica, n int, all bool) (base int64, done chan error) {
	c.t.Helper()
	b := batch(n)
	info, err := recordbatch.Validate(b, recordbatch.Limits{})
	if err != nil {
		c.t.Fatal(err)
	}
	res, epoch, err := r.Append(b, info, time.Now().UnixMilli(), all)
	if err != nil {
		c.t.Fatal(err)
	}
	done = make(chan error, 1)
	w := &Waiter{Done: DoneFunc(func(_ *Waiter, err error) { done <- err })}
	r.Await(w, epoch, res.LastOffset+1, all, time.Now().Add(time.Minute).UnixMilli())
	return res.BaseOffset, done
}

func (c *cluster) shut() (open func()) {
	hold := make(chan struct{})
	c.hold.Store(&hold)
	return func() {
		c.hold.Store(nil)
		close(hold)
	}
}

func outcome(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("no outcome")
		return nil
	}
}

// Nothing is committed before its sync; then the high watermark has moved and every waiter is called once.
func TestCommitFollowsSync(t *testing.T) {
	c := newCluster(t)
	r := c.topic("t", 7, led)
	if !r.Leads() || r.LeaderEpoch() != 0 {
		t.Fatalf("leads %v in epoch %d", r.Leads(), r.LeaderEpoch())
	}
	open := c.shut()
	var waits []chan error
	for i := range 20 {
		_, done := c.append(r, 1+i%3, i%2 == 0)
		waits = append(waits, done)
	}
	time.Sleep(20 * time.Millisecond)
	if r.HighWatermark() != 0 {
		t.Errorf("high watermark %d before the sync", r.HighWatermark())
	}
	for i, done := range waits {
		select {
		case err := <-done:
			t.Errorf("waiter %d called before the sync: %v", i, err)
		default:
		}
	}
	open()
	for i, done := range waits {
		if err := outcome(t, done); err != nil {
			t.Errorf("waiter %d: %v", i, err)
		}
	}
	if r.HighWatermark() != r.End() {
		t.Errorf("high watermark %d, end %d", r.HighWatermark(), r.End())
	}
}

// A change of the leader epoch, also to this node itself, ends the waits of the old epoch with a retriable error (R5), and appends of
// the old epoch are refused.
func TestLeaderEpochEndsWaits(t *testing.T) {
	for name, ev := range map[string]*metadata.SetLeader{
		"lost":      {Name: "t", TopicID: uuid.UUID{7}, Leader: metadata.NoLeader, LeaderEpoch: 1},
		"same node": {Name: "t", TopicID: uuid.UUID{7}, Leader: 1, LeaderEpoch: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			r := c.topic("t", 7, led)
			open := c.shut()
			defer open()
			_, done := c.append(r, 1, true)
			ev.ISR, ev.PartitionEpoch = []int32{1}, 1
			c.apply(ev)
			if err := outcome(t, done); !errors.Is(err, ErrNotLeader) {
				t.Errorf("the wait of epoch 0 ended with %v", err)
			}
			late := make(chan error, 1)
			r.Await(&Waiter{Done: DoneFunc(func(_ *Waiter, err error) { late <- err })}, 0, 1, true, 0)
			if err := outcome(t, late); !errors.Is(err, ErrNotLeader) {
				t.Errorf("a wait of epoch 0 begun afterwards ended with %v", err)
			}
			if err := r.CheckLeader(0); !errors.Is(err, ErrFencedLeaderEpoch) {
				t.Errorf("epoch 0: %v", err)
			}
			if err := r.CheckLeader(2); !errors.Is(err, ErrUnknownLeaderEpoch) {
				t.Errorf("epoch 2: %v", err)
			}
			if want := ev.Leader == 1; r.Leads() != want {
				t.Errorf("leads %v, want %v", r.Leads(), want)
			}
			if err := r.AppendInternal(batch(1), 0, func(error) { t.Error("called") }); !errors.Is(err, ErrNotLeader) {
				t.Errorf("append in epoch 0: %v", err)
			}
		})
	}
}

// A process leads nothing before the image shows its own registration, and nothing any more when another incarnation registers (R7).
func TestIncarnationGatesLeading(t *testing.T) {
	c := newCluster(t)
	r := c.topic("t", 7, led)
	c.register(uuid.UUID{9, 9})
	if r.Leads() {
		t.Error("leads for another incarnation")
	}
	if _, _, err := r.Append(batch(1), recordbatch.Info{}, 1, false); !errors.Is(err, ErrNotLeader) {
		t.Errorf("append: %v", err)
	}
}

// A wait ends when its time is over, and only then.
func TestWaitsExpire(t *testing.T) {
	c := newCluster(t)
	r := c.topic("t", 7, led)
	open := c.shut()
	_, long := c.append(r, 1, true)
	short := make(chan error, 1)
	r.Await(&Waiter{Done: DoneFunc(func(_ *Waiter, err error) { short <- err })}, 0, 1, true, 1000)
	r.expire(999)
	select {
	case err := <-short:
		t.Fatalf("expired early: %v", err)
	default:
	}
	r.expire(1000)
	if err := outcome(t, short); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	open()
	if err := outcome(t, long); err != nil {
		t.Error(err)
	}
}

// A topic's log goes only with a tombstone of its id: not because an image lacks the topic, and not with a topic of the same name.
func TestLogsGoOnlyByTombstone(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.set.Run(ctx) })
	old := c.topic("t", 7, led)
	_, done := c.append(old, 1, true)
	if err := outcome(t, done); err != nil {
		t.Fatal(err)
	}
	watcher := NewFetchWaiter()
	watcher.Watch([]*Replica{old, nil})
	c.apply(&metadata.TopicDeleted{Name: "t", TopicID: uuid.UUID{7}, TimestampMs: 2})
	select {
	case <-watcher.C:
	case <-time.After(5 * time.Second):
		t.Error("a fetch on a deleted topic is not woken")
	}
	watcher.Stop()
	fresh := c.topic("t", 8, led)
	if fresh == old || fresh.End() != 0 || c.set.Get(uuid.UUID{7}, 0) != nil {
		t.Errorf("the topic created again has end %d", fresh.End())
	}
	for end := time.Now().Add(5 * time.Second); c.store.Get(partition.ID{Topic: uuid.UUID{7}}) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the deleted topic's log is still there")
		}
	}
	cancel()
	wg.Wait()
	// Restart with an image that knows neither topic nor tombstone of a log: the log stays.
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	c.open()
	if err := c.set.Load(metadata.Empty()); err != nil {
		t.Fatal(err)
	}
	if c.store.Get(partition.ID{Topic: uuid.UUID{8}}) == nil || len(c.set.drops) != 0 {
		t.Error("a log that the image does not know was dropped")
	}
}

// The image at start may end before the metadata log does. What it does not know yet is neither named unknown nor forgotten: a topic
// whose creation and deletion come in one step goes like any other.
func TestImageBehindTheLogsAtStart(t *testing.T) {
	c := newCluster(t)
	before := c.im
	c.topic("gone", 7, led)
	c.topic("kept", 8, led)
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	c.open()
	var said bytes.Buffer
	c.set.log = slog.New(slog.NewTextHandler(&said, nil))
	c.set.o.Incarnation = uuid.UUID{2, 2}
	c.im = before
	if err := c.set.Load(c.im); err != nil {
		t.Fatal(err)
	}
	c.apply(&metadata.TopicCreated{Name: "gone", TopicID: uuid.UUID{7}, TimestampMs: 1, Partitions: []metadata.PartitionState{led}},
		&metadata.TopicCreated{Name: "kept", TopicID: uuid.UUID{8}, TimestampMs: 1, Partitions: []metadata.PartitionState{led}},
		&metadata.TopicDeleted{Name: "gone", TopicID: uuid.UUID{7}, TimestampMs: 2})
	c.register(uuid.UUID{2, 2})
	if said.Len() > 0 {
		t.Errorf("said %s", said.String())
	}
	if want := []partition.ID{{Topic: uuid.UUID{7}}}; !slices.Equal(c.set.drops, want) {
		t.Errorf("to be dropped: %v, want %v", c.set.drops, want)
	}
}

// After a restart the replica has its records, and its high watermark is their end once it leads again.
func TestRestartKeepsRecords(t *testing.T) {
	c := newCluster(t)
	r := c.topic("t", 7, led)
	for range 10 {
		_, done := c.append(r, 2, true)
		if err := outcome(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	c.open()
	if err := c.set.Load(c.im); err != nil {
		t.Fatal(err)
	}
	r = c.set.Get(uuid.UUID{7}, 0)
	if !r.Leads() || r.End() != 20 || r.HighWatermark() != 20 || r.CheckHighWatermark() != nil {
		t.Errorf("leads %v, end %d, high watermark %d, %v", r.Leads(), r.End(), r.HighWatermark(), r.CheckHighWatermark())
	}
}

// With replicas elsewhere this node alone does not commit, whatever it has synced (R4); fewer in sync than asked for refuses acks=all
// before the append, unless the topic has no more replicas than that.
func TestHighWatermarkNeedsTheISR(t *testing.T) {
	c := newCluster(t)
	r := c.topic("t", 7, led)
	r.mu.Lock()
	v := *r.view
	v.ISR, v.MinISR, v.Members = []int32{1, 2}, 2, append(v.Members, Member{ID: 2, BrokerEpoch: 9})
	r.view = &v
	r.leading.Follow(&v, 0)
	r.mu.Unlock()
	_, done := c.append(r, 1, true)
	_, own := c.append(r, 1, false)
	if err := outcome(t, own); err != nil {
		t.Errorf("acks=1: %v", err)
	}
	select {
	case err := <-done:
		t.Errorf("acks=all ended without the follower: %v", err)
	default:
	}
	if r.HighWatermark() != 0 {
		t.Errorf("high watermark %d without the follower", r.HighWatermark())
	}
	r.mu.Lock()
	one := v
	one.ISR = []int32{1}
	r.view = &one
	r.mu.Unlock()
	if _, _, err := r.Append(batch(1), recordbatch.Info{}, 1, true); !errors.Is(err, ErrNotEnoughReplicas) {
		t.Errorf("acks=all with one of two in sync: %v", err)
	}
}

// A node that has not heard of a controller for too long leads nothing, and leads again in the same epoch when it has.
func TestIsolationEndsLeading(t *testing.T) {
	c := newCluster(t)
	r := c.topic("t", 1, metadata.PartitionState{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1})
	base, done := c.append(r, 1, true)
	if err := outcome(t, done); err != nil || base != 0 {
		t.Fatal(base, err)
	}
	open := c.shut()
	_, waiting := c.append(r, 1, true)
	c.set.SetIsolated(true)
	if err := outcome(t, waiting); !errors.Is(err, ErrNotLeader) {
		t.Errorf("what waits for its commit ends with %v", err)
	}
	open()
	if r.Leads() || !errors.Is(r.CheckLeader(-1), ErrNotLeader) {
		t.Error("it leads without a controller")
	}
	epoch := r.LeaderEpoch()
	c.set.SetIsolated(false)
	if !r.Leads() || r.LeaderEpoch() != epoch {
		t.Errorf("with a controller again: leads %t in epoch %d, was %d", r.Leads(), r.LeaderEpoch(), epoch)
	}
	base, done = c.append(r, 1, true)
	if err := outcome(t, done); err != nil || base != 2 {
		t.Errorf("append after that: offset %d, %v", base, err)
	}
}

// Whoever waits for the high watermark, to load what is below it, waits through a time with too few replicas in sync, and not beyond the
// leadership.
func TestAwaitHighWatermarkOutlastsTheISR(t *testing.T) {
	n := newNetwork(t, 3)
	id := n.topic("t", 7, 1, 2, 3)
	r := n.replica(1, id)
	n.until("node 1 leads", r.Leads)
	n.stop(2)
	n.stop(3)
	n.produce(r, "a", false)
	epoch := r.LeaderEpoch()
	wait := func(end int64) chan error {
		done := make(chan error, 1)
		go func() { done <- r.AwaitHighWatermark(context.Background(), epoch, end) }()
		return done
	}
	reached := wait(1)
	n.until("the ISR is node 1 alone", func() bool { return len(n.isr("t")) == 1 })
	select {
	case err := <-reached:
		t.Fatalf("the wait ended with one of two replicas in sync: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	n.start(2)
	if err := ended(t, reached); err != nil {
		t.Errorf("with two replicas in sync: %v", err)
	}
	lost := wait(100)
	n.lead("t", 2, 1, 2)
	if err := ended(t, lost); !errors.Is(err, ErrNotLeader) {
		t.Errorf("when another node leads: %v", err)
	}
}

// Whoever has to know who leads is told when replicas that were offline have been tried again: no new image comes of it.
func TestRetriedIsTold(t *testing.T) {
	c := newCluster(t)
	told := 0
	c.set.o.Retried = func() { // after the lock is gone, with what it looks at up to date
		if c.set.applying.TryLock() {
			c.set.applying.Unlock()
			told++
		}
	}
	c.set.retryOffline()
	if told != 0 {
		t.Errorf("told %d times though nothing was offline", told)
	}
	c.set.applying.Lock()
	c.set.offline = true // a log could not be created
	c.set.applying.Unlock()
	c.set.retryOffline()
	c.set.retryOffline()
	if told != 1 {
		t.Errorf("told %d times, tried once", told)
	}
}

// A record becomes durable while its leader is isolated: when it leads on in the same epoch, the high watermark passes it, although nothing
// is written any more. The producer that sends it again is told so.
func TestIsolationForgetsNoSync(t *testing.T) {
	c := newCluster(t)
	r := c.topic("t", 2, led)
	open := c.shut()
	_, done := c.append(r, 1, true)
	c.set.SetIsolated(true)
	if err := outcome(t, done); !errors.Is(err, ErrNotLeader) {
		t.Errorf("outcome of a wait at an isolated leader: %v", err)
	}
	open()
	for deadline := time.Now().Add(10 * time.Second); r.Log().DurableEnd() < 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the record is not durable")
		}
	}
	time.Sleep(20 * time.Millisecond) // the hook is called after that
	c.set.SetIsolated(false)
	if hw := r.HighWatermark(); hw != 1 {
		t.Errorf("the high watermark is %d, one record is durable everywhere", hw)
	}
}
