package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/peer"
	"github.com/chronik-io/chronik/internal/uuid"
)

// sweepPeriod is how often waits are looked at for being over their time, and offline replicas for being creatable.
const sweepPeriod = 500 * time.Millisecond

// Options configure a set. Zero fields take the defaults in brackets.
type Options struct {
	NodeID int32
	// Incarnation is what this process registers as. No partition is led before the image shows it as this node's registration.
	// [zero: not checked]
	Incarnation uuid.UUID
	Store       *partition.Store
	Settings    Settings // [Kafka's defaults for every topic]
	// Open dials a stream to another node; nil where there are none.
	Open func(ctx context.Context, node int32, class peer.Class) (peer.Stream, error)
	// ChangeISR gives proposals to the controller: an outcome for each, or an error if the outcome of all is unknown.
	ChangeISR func(ctx context.Context, changes []controller.IsrChange) ([]error, error)
	// Compare asks another node what it has of a range that this one leads; nil: nothing is compared.
	Compare      func(ctx context.Context, node int32, x *Range) (Comparison, error)
	CompareEvery time.Duration // between two ranges [5 s]
	// Fatal ends the process: this node's data contradicts its leader's.
	Fatal func(error)
	// Retried is called when replicas that were offline have been tried again: some of them may lead now, with no new image that says so.
	// [nothing]
	Retried func()

	InternalTimeout time.Duration // how long AppendInternal waits for the commit [5 s]
	Now             func() time.Time
	Logger          *slog.Logger
}

// Set holds all replicas of this node.
type Set struct {
	o   Options
	log *slog.Logger

	wakes   commitWakes
	told    atomic.Pointer[func()] // OnCommitted
	started time.Time
	done    atomic.Bool   // Run is over
	isr     chan struct{} // bound 1: somebody may join an ISR
	taking  atomic.Bool   // the image shows this incarnation: pushes may be taken
	reports chan report   // bound maxReports
	stats   struct{ damaged, repaired, compared, differ atomic.Int64 }

	peersMu   sync.Mutex // guards the four below; after Replica.mu in the lock order
	senders   map[senderID]*sender
	receivers map[*receiver]struct{}
	sending   sync.WaitGroup
	sendCtx   context.Context // nil before Run

	mu     sync.RWMutex // guards the rest
	topics map[uuid.UUID]*topicReplicas
	all    []*Replica     // of topics; nil when they have changed. It is replaced, not changed
	drops  []partition.ID // logs to be dropped; bounded by the number of logs
	wake   chan struct{}

	applying   sync.Mutex // one image at a time; guards the rest. Before mu in the lock order.
	image      *metadata.Image
	registered bool // the image shows this incarnation
	isolated   bool // no controller was heard for so long that others may lead what this node led
	offline    bool // some replica's log could not be created
	defaultsOf *metadata.Image
	defaults   TopicSettings // of topics without settings of their own, in defaultsOf
}

// topicReplicas are the replicas of one topic by partition number; nil where there is none here. It is replaced, not changed.
type topicReplicas struct {
	name       string
	partitions []*Replica
}

// NewSet makes an empty set. Fill it with Load, keep it current with Apply.
func NewSet(o Options) *Set {
	if o.Settings == nil {
		o.Settings = func(*metadata.Image, string, string) string { return "" }
	}
	if o.InternalTimeout == 0 {
		o.InternalTimeout = 5 * time.Second
	}
	if o.CompareEvery == 0 {
		o.CompareEvery = compareEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Fatal == nil {
		o.Fatal = func(err error) {
			o.Logger.Error("stopping: replicas contradict each other", "err", err)
			os.Exit(1)
		}
	}
	s := &Set{o: o, log: o.Logger, topics: map[uuid.UUID]*topicReplicas{}, wake: make(chan struct{}, 1), started: time.Now(),
		isr: make(chan struct{}, 1), reports: make(chan report, maxReports), senders: map[senderID]*sender{}, receivers: map[*receiver]struct{}{}}
	o.Store.OnTold(s.storeTold)
	return s
}

// Get returns this node's replica of a partition, nil if it has none.
func (s *Set) Get(topic uuid.UUID, n int32) *Replica {
	s.mu.RLock()
	t := s.topics[topic]
	s.mu.RUnlock()
	if t == nil || n < 0 || int(n) >= len(t.partitions) {
		return nil
	}
	return t.partitions[n]
}

// All returns all replicas in no order. The slice is shared: it is not to be changed.
func (s *Set) All() []*Replica {
	s.mu.RLock()
	all := s.all
	s.mu.RUnlock()
	if all != nil {
		return all
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		all = make([]*Replica, 0, len(s.topics))
		for _, t := range s.topics {
			for _, r := range t.partitions {
				if r != nil {
					all = append(all, r)
				}
			}
		}
		s.all = all
	}
	return s.all
}

// Load takes over the image that was recovered at start. Logs of deleted topics are dropped; logs of topics that the image does not
// know are kept, because metadata may only be behind.
func (s *Set) Load(im *metadata.Image) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.image = im
	s.setRegistered(s.isRegistered(im))
	for t := range im.Topics() {
		if err := s.updateTopic(im, t); err != nil {
			return err
		}
	}
	s.sweepLogs(im)
	return nil
}

// sweepLogs drops the logs of deleted topics that this process never knew, and names those of unknown topics. Only once this process is
// registered is the image known to have all that was in the metadata log before the start.
func (s *Set) sweepLogs(im *metadata.Image) {
	for _, l := range s.o.Store.All() {
		id := l.ID()
		switch {
		case im.Tombstone(id.Topic) != nil:
			s.queueDrop(id)
		case im.TopicByID(id.Topic) == nil && s.registered:
			s.log.Warn("log of an unknown topic is kept", "partition", id.String())
		}
	}
}

// Apply follows a new image; it is a metalog subscriber.
func (s *Set) Apply(_, cur *metadata.Image, d *metadata.Delta) {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.image = cur
	for _, t := range d.TopicsDeleted {
		s.dropTopic(t)
	}
	if registered := s.isRegistered(cur); registered != s.registered {
		s.setRegistered(registered)
		s.updateAll(cur)
		if registered {
			s.sweepLogs(cur)
			s.offerAll() // what was pushed before was refused
		}
		s.pokeSenders()
		return
	}
	if len(d.Brokers) > 0 { // incarnations, and who is away, are part of every view
		s.updateAll(cur)
		s.pokeSenders()
		return
	}
	touched := map[uuid.UUID]*metadata.Topic{}
	for _, t := range d.TopicsCreated {
		touched[t.ID] = t
	}
	for i := range d.Partitions {
		touched[d.Partitions[i].Topic.ID] = d.Partitions[i].Topic
	}
	for _, c := range d.Configs {
		switch c.Type {
		case metadata.ResourceTopic:
			if t := cur.Topic(c.Name); t != nil {
				touched[t.ID] = t
			}
		case metadata.ResourceBroker: // defaults of every topic
			s.updateAll(cur)
			return
		}
	}
	for _, t := range touched {
		s.update(cur, t)
	}
}

func (s *Set) updateAll(im *metadata.Image) {
	for t := range im.Topics() {
		s.update(im, t)
	}
}

// update is updateTopic where an error has nobody to go to: the partitions concerned stay offline and are tried again.
func (s *Set) update(im *metadata.Image, t *metadata.Topic) {
	if err := s.updateTopic(im, t); err != nil {
		s.offline = true
		s.log.Error("replica not brought up to date", "topic", t.Name, "err", err)
	}
}

// retryOffline tries again to create logs that could not be created, for want of space perhaps.
func (s *Set) retryOffline() {
	s.applying.Lock()
	tried := s.offline
	if tried {
		s.offline = false
		s.updateAll(s.image)
	}
	s.applying.Unlock()
	if tried && s.o.Retried != nil {
		s.o.Retried()
	}
}

// SetIsolated makes this node's replicas cease to lead, whatever the image says, or lead again.
func (s *Set) SetIsolated(isolated bool) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.isolated == isolated {
		return
	}
	s.isolated = isolated
	if s.image != nil {
		s.updateAll(s.image)
	}
}

// isRegistered reports whether the image shows this process as this node's registration (R7).
func (s *Set) isRegistered(im *metadata.Image) bool {
	if s.o.Incarnation.IsZero() {
		return true
	}
	b := im.Broker(s.o.NodeID)
	return b != nil && b.Incarnation == s.o.Incarnation
}

// updateTopic brings this node's replicas of a topic in line with the image.
func (s *Set) updateTopic(im *metadata.Image, t *metadata.Topic) error {
	s.mu.RLock()
	old := s.topics[t.ID]
	s.mu.RUnlock()
	settings := s.settings(im, t.Name)
	next := &topicReplicas{name: t.Name, partitions: make([]*Replica, len(t.Partitions))}
	var errs []error
	var follow []*Replica
	for n, p := range t.Partitions {
		var r *Replica
		if old != nil && n < len(old.partitions) {
			r = old.partitions[n]
		}
		if !p.HasReplica(s.o.NodeID) {
			if r != nil {
				r.drop()
				s.queueDrop(r.id)
			}
			continue
		}
		if r == nil {
			r = &Replica{id: partition.ID{Topic: t.ID, Partition: int32(n)}, topic: t.Name, set: s}
			r.leader.Store(metadata.NoLeader)
			r.epoch.Store(-1)
		}
		if r.log == nil {
			r = r.open(p, settings.Log, &errs)
		}
		if r.log != nil {
			r.log.SetConfig(settings.Log)
			if r.log.Fault() != nil {
				r.noteFault() // before it takes its role
			}
		}
		leads := s.registered && !s.isolated && p.Leader == s.o.NodeID
		follows, err := r.update(NewView(im, t.Name, p), leads)
		if err != nil {
			errs = append(errs, err)
		}
		if follows {
			follow = append(follow, r)
		}
		next.partitions[n] = r
	}
	s.mu.Lock()
	s.topics[t.ID], s.all = next, nil
	s.mu.Unlock()
	for _, r := range follow { // not before a push that this causes finds the replica
		s.announce(r)
	}
	return errors.Join(errs...)
}

// settings are a topic's. Most topics have none of their own, so those of all others are looked up once per image.
func (s *Set) settings(im *metadata.Image, topic string) TopicSettings {
	if im.Config(metadata.ResourceTopic, topic) != nil {
		return topicSettings(s.o.Settings, im, topic)
	}
	if s.defaultsOf != im {
		s.defaultsOf, s.defaults = im, topicSettings(s.o.Settings, im, "")
	}
	return s.defaults
}

// open finds or creates the log of a replica without one. It returns a replica of its own when that succeeds, because r may be in use.
func (r *Replica) open(p *metadata.Partition, c partition.LogConfig, errs *[]error) *Replica {
	store := r.set.o.Store
	l := store.Get(r.id)
	if l == nil {
		var err error
		if l, err = store.Create(r.id, p.PartitionEpoch, c); err != nil {
			*errs = append(*errs, fmt.Errorf("create log of %s-%d: %w", r.topic, r.id.Partition, err))
			return r
		}
	}
	opened := &Replica{id: r.id, topic: r.topic, set: r.set, log: l}
	opened.leader.Store(metadata.NoLeader)
	opened.epoch.Store(-1)
	l.OnDurable(opened.durable)
	return opened
}

// dropTopic takes a deleted topic's replicas out of the table; their logs go in the background.
func (s *Set) dropTopic(t *metadata.Topic) {
	s.mu.Lock()
	old := s.topics[t.ID]
	delete(s.topics, t.ID)
	s.all = nil
	s.mu.Unlock()
	if old == nil {
		return
	}
	for _, r := range old.partitions {
		if r != nil {
			r.drop()
			s.queueDrop(r.id)
		}
	}
}

func (s *Set) queueDrop(id partition.ID) {
	s.mu.Lock()
	s.drops = append(s.drops, id)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run pushes to followers, looks after the ISRs, drops logs and ends waits that take too long, until ctx is done.
func (s *Set) Run(ctx context.Context) error {
	s.startSenders(ctx)
	var isr sync.WaitGroup
	isr.Go(func() { s.runISR(ctx) })
	isr.Go(func() { s.runRepairs(ctx) })
	isr.Go(func() { s.runComparisons(ctx) })
	t := time.NewTicker(sweepPeriod)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			s.done.Store(true)
			isr.Wait()
			s.sending.Wait()
			return nil
		case <-s.wake:
			s.dropQueued(ctx)
		case <-t.C:
			now := s.o.Now().UnixMilli()
			for _, r := range s.All() {
				r.expire(now)
			}
			s.retryOffline()
		}
	}
}

// dropQueued drops the logs in the queue. What fails is tried again at the next start, by its tombstone.
func (s *Set) dropQueued(ctx context.Context) {
	s.mu.Lock()
	drops := s.drops
	s.drops = nil
	s.mu.Unlock()
	for i, id := range drops {
		if ctx.Err() != nil {
			s.mu.Lock()
			s.drops = append(drops[i:], s.drops...)
			s.mu.Unlock()
			return
		}
		if err := s.o.Store.Drop(id); err != nil {
			s.log.Error("log of a deleted topic not dropped", "partition", id.String(), "err", err)
		}
	}
}
