package group

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf16"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

// Coordinator serves the groups whose partition of __consumer_offsets this node leads. All methods may be called concurrently.
type Coordinator struct {
	cfg        Config
	store      Log
	start      time.Time // the timers' origin
	usage      usage
	partitions atomic.Int32 // of __consumer_offsets; 0: not known yet

	ctx     context.Context // ends in Run
	cancel  context.CancelFunc
	loaders sync.WaitGroup

	mu      sync.RWMutex // owns what follows; innermost but for a shard's doneMu
	shards  map[int32]*shard
	stopped bool
	deleted []string // topics whose offsets are to be dropped

	sleep       atomic.Int64 // when the timer goroutine looks again, since start
	timerWake   chan struct{}
	cleanWake   chan struct{}
	deletedWake chan struct{}
	loadSlots   chan struct{}
}

const (
	maxLoads     = 4 // partitions that are read at the same time
	loadRetryMin = 200 * time.Millisecond
	loadRetryMax = 30 * time.Second
	expireBatch  = 10_000 // tombstones between which other requests get their turn
)

// New makes a coordinator that serves nothing until SetPartitions and Elected are called. Run must be called.
func New(cfg Config, log Log) *Coordinator {
	c := &Coordinator{cfg: cfg.withDefaults(), store: log, start: time.Now(), shards: map[int32]*shard{},
		timerWake: make(chan struct{}, 1), cleanWake: make(chan struct{}, 1), deletedWake: make(chan struct{}, 1),
		loadSlots: make(chan struct{}, maxLoads)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Run fires the timers and loads, expires and cleans partitions until ctx ends; waiting requests are then answered with ErrStopped.
func (c *Coordinator) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.runTimers(ctx) })
	wg.Go(func() { c.runCleaner(ctx) })
	wg.Go(func() { c.runUpkeep(ctx) })
	<-ctx.Done()
	c.stop()
	wg.Wait()
	c.loaders.Wait()
	return nil
}

func (c *Coordinator) stop() {
	c.mu.Lock()
	c.stopped = true
	shards := c.allLocked()
	c.mu.Unlock()
	c.cancel()
	for _, s := range shards {
		s.end(ErrStopped)
	}
}

// SetPartitions tells how many partitions __consumer_offsets has; it never changes once the topic exists.
func (c *Coordinator) SetPartitions(n int32) { c.partitions.Store(n) }

// PartitionOf gives the partition of __consumer_offsets that holds the group, as Kafka computes it: the hash of a Java string. It is -1
// while SetPartitions was not called.
func (c *Coordinator) PartitionOf(group string) int32 {
	n := c.partitions.Load()
	if n <= 0 {
		return -1
	}
	var hash int32
	for _, r := range group {
		if r >= 0x10000 {
			high, low := utf16.EncodeRune(r)
			hash = 31*(31*hash+high) + low
		} else {
			hash = 31*hash + r
		}
	}
	return (hash & 0x7fffffff) % n
}

// Elected says that this node leads the partition at leaderEpoch, and starts to load it. It does not block. A call with an epoch that is
// not above the one it leads at does nothing.
func (c *Coordinator) Elected(partition, leaderEpoch int32) {
	c.mu.Lock()
	s := c.shards[partition]
	if s == nil {
		s = &shard{c: c, partition: partition, builder: recordbatch.NewBuilder()}
		s.deadline.Store(noDeadline)
		c.shards[partition] = s
	}
	c.mu.Unlock()
	if old := s.term.Load(); old == nil || old.epoch < leaderEpoch {
		c.begin(s, old, leaderEpoch, 0)
	}
}

// Resigned says that this node no longer leads the partition: its groups are forgotten, waiting requests get ErrNotCoordinator. It does
// not block.
func (c *Coordinator) Resigned(partition int32) {
	s := c.shard(partition)
	if s == nil {
		return
	}
	if old := s.term.Swap(nil); old != nil {
		old.cancel()
		c.spawn(func() { s.dropTerm(old, ErrNotCoordinator) }) // it may wait for an append, so not on the caller's time
	}
}

// begin replaces a shard's term by one that is loading. It does not block.
func (c *Coordinator) begin(s *shard, old *term, leaderEpoch int32, retry time.Duration) {
	t := &term{epoch: leaderEpoch, ready: make(chan struct{})}
	t.ctx, t.cancel = context.WithCancel(c.ctx)
	if !s.term.CompareAndSwap(old, t) {
		t.cancel()
		return
	}
	if old != nil {
		old.cancel()
		c.spawn(func() { s.dropTerm(old, ErrNotCoordinator) })
	}
	c.spawn(func() { c.load(s, t, retry) })
}

// spawn runs work that ends soon once the coordinator stops; Run waits for it. What comes after that only answers who still waits.
func (c *Coordinator) spawn(work func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		go work()
		return
	}
	c.loaders.Go(work)
}

// load makes a term's machine live. If that fails another term tries again, later each time.
func (c *Coordinator) load(s *shard, t *term, retry time.Duration) {
	if !sleep(t.ctx, retry) {
		return
	}
	m, err := c.loadInTurn(s, t)
	if err == nil {
		s.mu.Lock()
		t.m = m
		if s.term.Load() != t {
			m.drop(ErrNotCoordinator)
		}
		s.unlock()
		close(t.ready)
		return
	}
	if t.ctx.Err() != nil {
		return
	}
	level := slog.LevelError
	if errors.Is(err, ErrNotCoordinator) { // the next image says who is
		level = slog.LevelInfo
	}
	c.cfg.Logger.Log(t.ctx, level, "cannot load group partition", "partition", s.partition, "leaderEpoch", t.epoch, "err", err)
	c.begin(s, t, t.epoch, min(max(2*retry, loadRetryMin), loadRetryMax))
}

// loadInTurn loads a partition when its log is settled and few others are being read. Those that wait for their followers, which may take
// long, are in nobody's way.
func (c *Coordinator) loadInTurn(s *shard, t *term) (*machine, error) {
	began := time.Now()
	start, end, err := s.settle(t)
	if err != nil {
		return nil, err
	}
	select {
	case c.loadSlots <- struct{}{}:
		defer func() { <-c.loadSlots }()
	case <-t.ctx.Done():
		return nil, t.ctx.Err()
	}
	return s.load(t, start, end, began)
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// restart loads a shard anew whose machine does not agree with its log. The caller holds the shard's lock.
func (c *Coordinator) restart(s *shard, t *term) {
	if broken := t.m.broken; errors.Is(broken, ErrNotCoordinator) { // an image that says so is on its way
		c.cfg.Logger.Info("group partition is led here no more: an append was not committed", "partition", s.partition, "leaderEpoch", t.epoch)
		t.m.drop(ErrNotCoordinator)
	} else {
		c.cfg.Logger.Error("group partition is reloaded: an append was accepted and failed", "partition", s.partition, "err", broken)
		t.m.drop(ErrNotAvailable)
	}
	c.begin(s, t, t.epoch, loadRetryMin)
}

// TopicsDeleted drops the committed offsets of topics that are gone. If the topic of groups itself is among them all groups are
// forgotten: a new one begins with the same leader epochs, and without them. It does not block.
func (c *Coordinator) TopicsDeleted(topics []string) {
	if slices.Contains(topics, TopicName) {
		c.SetPartitions(0)
		for _, s := range c.all() {
			c.Resigned(s.partition)
		}
	}
	c.mu.Lock()
	c.deleted = append(c.deleted, topics...)
	c.mu.Unlock()
	wake(c.deletedWake)
}

// Await returns when the partition is loaded here, or ErrNotCoordinator, ErrLoading (not within Config.LoadWait) or ctx's error.
func (c *Coordinator) Await(ctx context.Context, partition int32) error {
	s := c.shard(partition)
	if s == nil {
		return ErrNotCoordinator
	}
	_, err := s.await(ctx)
	return err
}

func (c *Coordinator) shard(partition int32) *shard {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.shards[partition]
}

func (c *Coordinator) all() []*shard {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.allLocked()
}

func (c *Coordinator) allLocked() []*shard {
	list := make([]*shard, 0, len(c.shards))
	for _, s := range c.shards {
		list = append(list, s)
	}
	return list
}

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is awake already
	}
}

func (c *Coordinator) wakeCleaner() { wake(c.cleanWake) }

// wakeTimer makes the timer goroutine look again if next is earlier than it meant to.
func (c *Coordinator) wakeTimer(next int64) {
	if next < c.sleep.Load() {
		wake(c.timerWake)
	}
}

// runTimers fires the machines' timers.
func (c *Coordinator) runTimers(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.sleep.Store(noDeadline) // whatever changes from here on wakes us
		next := noDeadline
		for _, s := range c.all() {
			if s.deadline.Load() <= int64(time.Since(c.start)) {
				s.tick()
			}
			next = min(next, s.deadline.Load())
		}
		c.sleep.Store(next)
		if next != noDeadline {
			timer.Reset(time.Duration(next) - time.Since(c.start))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.timerWake:
			timer.Stop()
		}
	}
}

// runUpkeep expires offsets, and drops those of deleted topics.
func (c *Coordinator) runUpkeep(ctx context.Context) {
	ticker := time.NewTicker(c.cfg.RetentionCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, s := range c.all() {
				for more := true; more && ctx.Err() == nil; {
					more = false // nothing is loaded here, perhaps
					s.withMachine(func(m *machine) { more = m.expire(expireBatch) })
				}
			}
		case <-c.deletedWake:
			c.mu.Lock()
			topics := c.deleted
			c.deleted = nil
			c.mu.Unlock()
			for _, s := range c.all() {
				if _, err := s.await(ctx); err != nil && !errors.Is(err, ErrNotCoordinator) {
					c.cfg.Logger.Warn("offsets of deleted topics stay until they expire", "partition", s.partition, "err", err)
					continue
				}
				s.withMachine(func(m *machine) { m.topicsDeleted(topics) })
			}
		}
	}
}
