package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// network is several nodes with their stores, the metadata that they follow, and streams between them in memory.
type network struct {
	t     testing.TB
	mu    sync.Mutex // guards the rest
	im    *metadata.Image
	nodes map[int32]*netNode
	cut   map[int32]bool // nodes that nobody reaches
	still bool           // ISRs do not change
	blind bool           // nothing is compared
	lies  bool           // another checksum is answered than a follower's
	open  []*memStream
	// refuse has ISR changes with node 3 wait for it and then refused; nil: they are not.
	refuse chan struct{}
	log    []metadata.Event
	said   said
}

// said is what the nodes' replicas have logged.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) has(words string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), words)
}

type netNode struct {
	id       int32
	nonce    uint64
	fs       *vfs.Mem
	store    *partition.Store
	set      *Set
	shown    *metadata.Image
	slot     int64           // bytes of a slot of the WAL
	recovers *metadata.Image // what start loads; nil: all that is committed
	lag      bool            // does not follow the metadata
	cancel   context.CancelFunc
	done     chan struct{}
	fatal    error
}

func newNetwork(t testing.TB, nodes int32) *network {
	n := &network{t: t, im: metadata.Empty(), nodes: map[int32]*netNode{}, cut: map[int32]bool{}}
	var founders []metadata.Voter
	for id := int32(1); id <= nodes; id++ {
		founders = append(founders, metadata.Voter{NodeID: id, DiskID: uuid.UUID{byte(id)}})
	}
	n.apply(&metadata.ClusterFounded{ClusterID: "c", TimestampMs: 1, MetadataVersion: 1, Founders: founders})
	n.apply(&metadata.ConfigChanged{Resource: metadata.ResourceBroker, Set: map[string]string{"min.insync.replicas": "2"}})
	for id := int32(1); id <= nodes; id++ {
		n.nodes[id] = &netNode{id: id, fs: vfs.NewMem(), slot: 1 << 20}
		n.start(id)
	}
	t.Cleanup(func() {
		for id := range n.nodes {
			n.stop(id)
		}
	})
	return n
}

// start opens a node's store as a new process and registers it.
func (n *network) start(id int32) {
	n.t.Helper()
	x := n.nodes[id]
	x.nonce++
	incarnation := uuid.UUID{byte(id)}
	incarnation[15] = byte(x.nonce)
	store, err := partition.OpenStore(partition.StoreOptions{FS: x.fs, Dir: "d", Logger: slog.New(slog.DiscardHandler),
		WAL: wal.Options{SlotBytes: x.slot, ZeroStep: x.slot, MaxBytes: 16 << 20, OnFatal: func(err error) { n.t.Error(err) }}})
	if err != nil {
		n.t.Fatal(err)
	}
	set := NewSet(Options{NodeID: id, Incarnation: incarnation, Store: store, Logger: slog.New(slog.NewTextHandler(&n.said, nil)),
		Open: func(ctx context.Context, to int32, class peer.Class) (peer.Stream, error) { return n.dial(ctx, id, to) },
		ChangeISR: func(_ context.Context, changes []controller.IsrChange) ([]error, error) {
			return n.changeISR(id, changes)
		},
		Compare:      func(_ context.Context, to int32, r *Range) (Comparison, error) { return n.compare(id, to, r) },
		CompareEvery: 5 * time.Millisecond,
		Fatal:        func(err error) { x.fatal = err }})
	ctx, cancel := context.WithCancel(context.Background())
	n.mu.Lock()
	x.store, x.set, x.cancel, x.done, x.shown = store, set, cancel, make(chan struct{}), n.im
	if x.recovers != nil {
		x.shown, x.recovers = x.recovers, nil
	}
	shown := x.shown
	n.mu.Unlock()
	if err := set.Load(shown); err != nil {
		n.t.Fatal(err)
	}
	go func() {
		defer close(x.done)
		var both sync.WaitGroup
		both.Go(func() { _ = store.Run(ctx) })
		both.Go(func() { _ = set.Run(ctx) })
		both.Wait()
	}()
	events := []metadata.Event{&metadata.BrokerRegistered{BrokerID: id, BrokerEpoch: n.im.Offset() + 1, Incarnation: incarnation, DiskID: uuid.UUID{byte(id)}}}
	n.apply(events...)
}

// stop ends a node's process and its streams.
func (n *network) stop(id int32) {
	x := n.nodes[id]
	n.mu.Lock()
	set := x.set
	x.set = nil
	streams := n.open
	n.mu.Unlock()
	if set == nil {
		return
	}
	x.cancel()
	for _, s := range streams {
		if s.owner == id || s.hello.Member.NodeID == id {
			_ = s.Close()
		}
	}
	<-x.done
	if err := x.store.Close(); err != nil {
		n.t.Error(err)
	}
}

// apply makes a change committed and shows it to all nodes that follow.
func (n *network) apply(events ...metadata.Event) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.commit(events...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) commit(events ...metadata.Event) error {
	b := metadata.NewBatch(n.im)
	for i, e := range events {
		if err := b.Apply(n.im.Offset()+1+int64(i), e); err != nil {
			return err
		}
	}
	n.im, _ = b.Done()
	n.log = append(n.log, events...)
	for _, x := range n.nodes {
		if x.set != nil && !x.lag {
			n.show(x)
		}
	}
	return nil
}

// show brings a node up to date. mu is held.
func (n *network) show(x *netNode) {
	if x.shown == n.im {
		return
	}
	b := metadata.NewBatch(x.shown)
	from := x.shown.Offset() + 1
	for i, e := range n.log[from:] {
		if err := b.Apply(from+int64(i), e); err != nil {
			n.t.Error(err)
		}
	}
	old := x.shown
	next, d := b.Done()
	x.shown = next
	x.set.Apply(old, next, d)
}

// changeISR is the controller: it decides at once.
func (n *network) changeISR(from int32, changes []controller.IsrChange) ([]error, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[from] || n.still {
		return nil, errors.New("not reached")
	}
	results := make([]error, len(changes))
	for i := range changes {
		c := &changes[i]
		if refuse := n.refuse; refuse != nil && slices.Contains(c.ISR, 3) {
			n.mu.Unlock()
			<-refuse
			n.mu.Lock()
			results[i] = controller.ErrIneligibleReplica
			continue
		}
		t, p := n.im.Partition(c.TopicID, c.Partition)
		if p == nil {
			return nil, fmt.Errorf("partition %s-%d: unknown", c.TopicID, c.Partition)
		}
		ev, err := controller.DecideIsr(n.im, from, n.im.Broker(from).Epoch, c, controller.MinISR(n.im, t.Name, len(p.Replicas)))
		results[i] = err
		if ev != nil {
			if err := n.commit(ev); err != nil {
				n.t.Error(err)
			}
		}
	}
	return results, nil
}

// lead makes a node the leader of a partition.
func (n *network) lead(topic string, leader int32, isr ...int32) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.im.Topic(topic)
	p := t.Partitions[0]
	if err := n.commit(&metadata.SetLeader{Name: topic, TopicID: t.ID, Leader: leader, ISR: isr, LeaderEpoch: p.LeaderEpoch + 1,
		PartitionEpoch: p.PartitionEpoch + 1}); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) topic(name string, id byte, replicas ...int32) uuid.UUID {
	n.t.Helper()
	n.apply(&metadata.TopicCreated{Name: name, TopicID: uuid.UUID{id}, TimestampMs: 1,
		Partitions: []metadata.PartitionState{{Replicas: replicas, ISR: replicas, Leader: replicas[0]}}})
	return uuid.UUID{id}
}

func (n *network) replica(node int32, topic uuid.UUID) *Replica {
	return n.nodes[node].set.Get(topic, 0)
}

// produce appends a batch at a leader and returns how it ended.
func (n *network) produce(r *Replica, value string, all bool) <-chan error {
	n.t.Helper()
	b := recordbatch.NewBuilder()
	b.Append(1, nil, []byte(value))
	raw, err := b.Build(recordbatch.None)
	if err != nil {
		n.t.Fatal(err)
	}
	info, err := recordbatch.Validate(raw, recordbatch.Limits{})
	if err != nil {
		n.t.Fatal(err)
	}
	result := make(chan error, 1)
	res, epoch, err := r.Append(raw, info, 1, all)
	if err != nil {
		result <- err
		return result
	}
	r.Await(&Waiter{Done: DoneFunc(func(_ *Waiter, err error) { result <- err })}, epoch, res.LastOffset+1, all, time.Now().Add(time.Minute).UnixMilli())
	return result
}

// until waits for something to become true.
func (n *network) until(what string, ok func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("never: %s", what)
		}
	}
}

func (n *network) isr(topic string) []int32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.im.Topic(topic).Partitions[0].ISR
}

// equal waits until the logs of the nodes are the same up to the end, all of it committed.
func (n *network) equal(topic uuid.UUID, end int64, nodes ...int32) {
	n.t.Helper()
	var first uint32
	for i, id := range nodes {
		r := n.replica(id, topic)
		n.until(fmt.Sprintf("node %d has all %d records committed", id, end), func() bool { return r.End() == end && r.HighWatermark() == end && r.Log().DurableEnd() == end })
		sum, _, err := r.Log().Checksum(r.Start(), end)
		if err != nil {
			n.t.Fatal(err)
		}
		if i == 0 {
			first = sum
		} else if sum != first {
			n.t.Errorf("node %d has other records than node %d", id, nodes[0])
		}
	}
}

// memStream is a stream in memory; its frames are copied.
type memStream struct {
	owner int32 // at this end
	hello peer.Hello
	in    chan memFrame
	out   chan memFrame
	quit  chan struct{}
	once  sync.Once
	other *memStream   // the other end
	deaf  *atomic.Bool // frames are lost both ways, and nobody is told

	deadline atomic.Int64 // of reads, Unix nanoseconds
}

type memFrame struct {
	t peer.FrameType
	b []byte
}

func (n *network) dial(ctx context.Context, from, to int32) (peer.Stream, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	x, y := n.nodes[from], n.nodes[to]
	if y.set == nil || x.set == nil || n.cut[from] || n.cut[to] {
		return nil, peer.ErrUnreachable
	}
	deaf := &atomic.Bool{}
	ab, ba := make(chan memFrame, 16), make(chan memFrame, 16)
	hello := func(x *netNode) peer.Hello {
		return peer.Hello{Member: peer.Member{NodeID: x.id, DiskID: uuid.UUID{byte(x.id)}}, Nonce: x.nonce}
	}
	near := &memStream{owner: from, hello: hello(y), in: ba, out: ab, quit: make(chan struct{}), deaf: deaf}
	far := &memStream{owner: to, hello: hello(x), in: ab, out: ba, quit: make(chan struct{}), deaf: deaf, other: near}
	near.other = far
	n.open = append(n.open, near)
	go y.set.Serve(context.Background(), far)
	return near, nil
}

func (s *memStream) Peer() *peer.Hello { return &s.hello }

func (s *memStream) WriteFrame(t peer.FrameType, payload []byte) error {
	if s.deaf.Load() {
		return nil
	}
	select {
	case s.out <- memFrame{t, append([]byte(nil), payload...)}:
		return nil
	case <-s.quit:
		return peer.ErrClosed
	}
}

func (s *memStream) Flush() error { return nil }

func (s *memStream) ReadFrame(dst []byte) (peer.FrameType, []byte, error) {
	late := time.NewTimer(time.Until(time.Unix(0, s.deadline.Load())))
	defer late.Stop()
	if s.deadline.Load() == 0 {
		late.Stop()
	}
	select {
	case f := <-s.in:
		return f.t, append(dst, f.b...), nil
	case <-late.C:
		return 0, dst, os.ErrDeadlineExceeded
	case <-s.quit:
		return 0, dst, peer.ErrClosed
	}
}

func (s *memStream) SetDeadline(t time.Time) error {
	s.deadline.Store(t.UnixNano())
	return nil
}

func (s *memStream) Close() error {
	s.once.Do(func() { close(s.quit) })
	if !s.deaf.Load() {
		s.other.once.Do(func() { close(s.other.quit) })
	}
	return nil
}

// compare asks another node's set, as a call would.
func (n *network) compare(from, to int32, x *Range) (Comparison, error) {
	n.mu.Lock()
	y := n.nodes[to].set
	cut, lies := n.cut[from] || n.cut[to] || n.blind, n.lies
	n.mu.Unlock()
	if lies {
		return Comparison{Done: true, CRC: 1, Batches: 1}, nil
	}
	if y == nil || cut {
		return Comparison{}, peer.ErrUnreachable
	}
	return y.Compare(x), nil
}
