package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
)

// Errors of this package; match with errors.Is.
var (
	// ErrNotLeader: this node does not lead the partition, or no longer; another broker does, or will.
	ErrNotLeader = errors.New("not the leader of the partition")
	// ErrFencedLeaderEpoch: the request names a leader epoch below the current one.
	ErrFencedLeaderEpoch = errors.New("leader epoch is older than the current one")
	// ErrUnknownLeaderEpoch: the request names a leader epoch that this node has not heard of yet.
	ErrUnknownLeaderEpoch = errors.New("leader epoch is newer than the one known here")
	// ErrNotEnoughReplicas: fewer replicas are in sync than min.insync.replicas; nothing was appended.
	ErrNotEnoughReplicas = errors.New("not enough in-sync replicas")
	// ErrNotEnoughReplicasAfterAppend: as above, but the record is in the log.
	ErrNotEnoughReplicasAfterAppend = errors.New("not enough in-sync replicas after the append")
	// ErrTimeout: the record was appended but not committed in time.
	ErrTimeout = errors.New("not committed in time")
	// ErrOffline: the partition's log could not be opened or created on this node.
	ErrOffline = errors.New("partition is offline on this node")
	// ErrHighWatermarkUnknown: a new leader has not yet committed up to where its epoch began (R17).
	ErrHighWatermarkUnknown = errors.New("high watermark not known yet")
)

// Replica is this node's replica of one partition.
type Replica struct {
	id    partition.ID
	topic string
	set   *Set
	log   *partition.Log // nil: offline

	epoch       atomic.Int32 // leader epoch of the image
	leader      atomic.Int32 // broker id, or metadata.NoLeader
	since       atomic.Int64 // when this node learnt of epoch and leader, on the set's clock (ms)
	leads       atomic.Bool  // this node leads in epoch
	ticks       atomic.Bool  // leading is set: there may be something to propose
	uncommitted atomic.Bool  // leader whose high watermark is below where its epoch began
	links       atomic.Pointer[[]*link]

	reported  atomic.Bool  // damage was seen and is to be looked at again
	corruptAt atomic.Int32 // 1 while corrupt is set
	renewals  atomic.Int64 // how often the log has begun anew
	soundAt   time.Time    // the log was read as a whole then; of runRepairs

	receiving sync.Mutex // held while a push is taken; before mu in the lock order

	mu        sync.Mutex // guards the rest
	view      *View
	leading   *LeaderCore   // while the view names this node as leader
	following *FollowerCore // else
	still     bool          // nothing of this leader epoch can be taken any more
	dropped   bool
	corrupt   error       // damage of the log, until it begins anew
	all       waitQueue   // acks=all: wait for the high watermark
	own       waitQueue   // acks=1: wait for the own durable end
	watches   *fetchWatch // fetches that wait
}

// ID names the partition.
func (r *Replica) ID() partition.ID { return r.id }

// Topic is the topic's name.
func (r *Replica) Topic() string { return r.topic }

// Log is the replica's log; nil while the replica is offline.
func (r *Replica) Log() *partition.Log { return r.log }

// LeaderEpoch is the leader epoch that this node knows of.
func (r *Replica) LeaderEpoch() int32 { return r.epoch.Load() }

// Leader is the broker that leads, as far as this node knows; metadata.NoLeader if none.
func (r *Replica) Leader() int32 { return r.leader.Load() }

// Leads reports whether this node leads the partition.
func (r *Replica) Leads() bool { return r.leads.Load() }

// LeaderKnownFor is how long ago this node learnt who leads.
func (r *Replica) LeaderKnownFor() time.Duration {
	return time.Duration(r.set.since()-r.since.Load()) * time.Millisecond
}

// CheckLeader is nil if this node leads and the client's idea of the leader epoch (-1: none) is the same.
func (r *Replica) CheckLeader(clientEpoch int32) error {
	if clientEpoch >= 0 {
		switch epoch := r.epoch.Load(); {
		case clientEpoch < epoch:
			return ErrFencedLeaderEpoch
		case clientEpoch > epoch:
			return ErrUnknownLeaderEpoch
		}
	}
	if !r.leads.Load() {
		return ErrNotLeader
	}
	if r.log == nil {
		return ErrOffline
	}
	return nil
}

// Start is the log start offset.
func (r *Replica) Start() int64 { return r.log.Start() }

// End is the log end offset.
func (r *Replica) End() int64 { return r.log.End() }

// HighWatermark is the end of what is committed.
func (r *Replica) HighWatermark() int64 { return r.log.HighWatermark() }

// LastStableOffset is the end of what a read_committed consumer may read. There are no transactions yet, so nothing is held back.
func (r *Replica) LastStableOffset() int64 { return r.log.HighWatermark() }

// CheckHighWatermark is ErrHighWatermarkUnknown while a new leader must not answer for the latest offset (R17).
func (r *Replica) CheckHighWatermark() error {
	if r.uncommitted.Load() {
		return ErrHighWatermarkUnknown
	}
	return nil
}

// Append adds one checked batch for a client, as leader of the epoch it returns. The record is neither durable nor committed yet: see
// Await. acksAll asks for enough in-sync replicas first.
func (r *Replica) Append(batch []byte, info recordbatch.Info, nowMs int64, acksAll bool) (partition.AppendResult, int32, error) {
	epoch := r.epoch.Load()
	if err := r.CheckLeader(-1); err != nil {
		return partition.AppendResult{}, epoch, err
	}
	if acksAll && !r.enoughISR() {
		return partition.AppendResult{}, epoch, ErrNotEnoughReplicas
	}
	res, err := r.log.Append(batch, partition.AppendOptions{Info: info, LeaderEpoch: epoch, NowMs: nowMs})
	switch {
	case errors.Is(err, partition.ErrStaleLeaderEpoch) || errors.Is(err, partition.ErrDropped):
		err = fmt.Errorf("%w: %w", ErrNotLeader, err)
	case err == nil:
		r.markLinks()
	}
	return res, epoch, err
}

// CheckEnough is ErrNotEnoughReplicas while fewer replicas are in sync than the topic asks for.
func (r *Replica) CheckEnough() error {
	if !r.enoughISR() {
		return ErrNotEnoughReplicas
	}
	return nil
}

// enoughISR reports whether as many replicas are in sync as the topic asks for. A topic with fewer replicas than that asks for all.
func (r *Replica) enoughISR() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enoughLocked()
}

func (r *Replica) enoughLocked() bool { return r.view != nil && len(r.view.ISR) >= r.view.MinISR }

// Await calls w.Done when everything below end, appended in epoch, is committed (all), or durable here (not all), or will not be. It
// does not wait longer than until deadlineMs, Unix time.
func (r *Replica) Await(w *Waiter, epoch int32, end int64, all bool, deadlineMs int64) {
	r.mu.Lock()
	if !r.leads.Load() || r.epoch.Load() != epoch || r.dropped {
		r.mu.Unlock()
		finish(w, ErrNotLeader)
		return
	}
	reached := r.log.HighWatermark()
	if !all {
		reached = r.log.DurableEnd()
	}
	if reached >= end {
		r.mu.Unlock()
		finish(w, nil)
		return
	}
	if all && !r.enoughLocked() {
		r.mu.Unlock()
		finish(w, ErrNotEnoughReplicasAfterAppend)
		return
	}
	w.end, w.deadlineMs = end, deadlineMs
	if all {
		r.all.add(w)
	} else {
		r.own.add(w)
	}
	r.mu.Unlock()
}

// AppendInternal adds a batch of the cluster's own (group state) as leader of epoch. done is called once when it is committed or will
// not be; not at all when AppendInternal fails. The batch may be reused when it returns.
func (r *Replica) AppendInternal(batch []byte, epoch int32, done func(error)) error {
	if err := r.checkEpoch(epoch); err != nil {
		return err
	}
	info, err := recordbatch.Validate(batch, recordbatch.Limits{Internal: true})
	if err != nil {
		return fmt.Errorf("append to %s-%d: %w", r.topic, r.id.Partition, err)
	}
	if !r.enoughISR() {
		return ErrNotEnoughReplicas
	}
	now := r.set.o.Now().UnixMilli()
	res, err := r.log.Append(batch, partition.AppendOptions{Info: info, LeaderEpoch: epoch, NowMs: now})
	if err != nil {
		return fmt.Errorf("append to %s-%d: %w", r.topic, r.id.Partition, err)
	}
	r.markLinks()
	w := &Waiter{Done: DoneFunc(func(_ *Waiter, err error) { done(err) })}
	r.Await(w, epoch, res.LastOffset+1, true, now+r.set.o.InternalTimeout.Milliseconds())
	return nil
}

// checkEpoch is nil if this node leads in exactly that epoch.
func (r *Replica) checkEpoch(epoch int32) error {
	if r.log == nil {
		return ErrOffline
	}
	if !r.leads.Load() || r.epoch.Load() != epoch {
		return fmt.Errorf("%s-%d in epoch %d: %w", r.topic, r.id.Partition, epoch, ErrNotLeader)
	}
	return nil
}

// Bounds are the log start and end offsets, for the leader of epoch.
func (r *Replica) Bounds(epoch int32) (start, end int64, err error) {
	if err := r.checkEpoch(epoch); err != nil {
		return 0, 0, err
	}
	return r.log.Start(), r.log.End(), nil
}

// AwaitHighWatermark waits until the high watermark has reached offset, also while too few replicas are in sync. It ends with the
// leadership in epoch.
func (r *Replica) AwaitHighWatermark(ctx context.Context, epoch int32, offset int64) error {
	w := NewFetchWaiter()
	w.Watch([]*Replica{r})
	defer w.Stop()
	for {
		if err := r.checkEpoch(epoch); err != nil {
			return err
		}
		if r.log.HighWatermark() >= offset {
			return nil
		}
		select {
		case <-w.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ReadCommitted appends whole batches below the high watermark to dst, the first holding from, at least one if there is one.
func (r *Replica) ReadCommitted(epoch int32, dst []byte, from int64, maxBytes int) ([]byte, error) {
	if err := r.checkEpoch(epoch); err != nil {
		return dst, err
	}
	out, err := r.log.Read(dst, from, r.log.HighWatermark(), maxBytes, true)
	r.ReportCorrupt(from, err)
	return out, err
}

// AdvanceStart moves the log start (DeleteRecords, or the cleaning of group state); -1 means the high watermark. It returns the log
// start when that is durable here; AwaitStart waits for the others. Offsets above the high watermark are partition.ErrOutOfRange.
func (r *Replica) AdvanceStart(offset int64) (int64, error) {
	if err := r.CheckLeader(-1); err != nil {
		return 0, err
	}
	hw := r.log.HighWatermark()
	if offset == -1 {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return 0, fmt.Errorf("delete records of %s-%d below %d, high watermark %d: %w", r.topic, r.id.Partition, offset, hw,
			partition.ErrOutOfRange)
	}
	if err := r.log.AdvanceStart(offset); err != nil {
		return 0, err
	}
	r.markLinks()
	return r.log.Start(), nil
}

// durable is the log's hook: everything below end is on this node's disk. It runs on the WAL's completion goroutine.
func (r *Replica) durable(end int64) {
	r.mu.Lock()
	if r.leading == nil {
		r.mu.Unlock()
		return
	}
	r.leading.Durable(end) // also of a leader that is isolated: it may go on in the same epoch, and nobody says it again
	if !r.leads.Load() {
		r.mu.Unlock()
		return
	}
	own := r.own.takeUpTo(end)
	all := r.advanceLocked()
	r.mu.Unlock()
	finishIn(own, nil, true)
	finishIn(all, nil, true)
}

func (r *Replica) watch(n *fetchWatch) {
	r.mu.Lock()
	n.next = r.watches
	if n.next != nil {
		n.next.prev = n
	}
	r.watches = n
	r.mu.Unlock()
}

func (r *Replica) unwatch(n *fetchWatch) {
	r.mu.Lock()
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		r.watches = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	}
	r.mu.Unlock()
}

func (r *Replica) wakeLocked() {
	for n := r.watches; n != nil; n = n.next {
		n.w.wake()
	}
}

// update takes over the partition's state from a new image. leads says whether this node may lead now. follows tells that it follows in
// another epoch than before, or may repair its log, which is to be announced.
func (r *Replica) update(v *View, leads bool) (follows bool, err error) {
	r.mu.Lock()
	old := r.view
	newEpoch := old == nil || old.LeaderEpoch != v.LeaderEpoch || leaderOf(old) != v.Leader
	counted := old != nil && old.counts(r.set.o.NodeID) && !v.counts(r.set.o.NodeID)
	changed := newEpoch || r.leads.Load() != leads
	var lost, lostOwn *Waiter
	if changed {
		r.leads.Store(false) // appends of the old epoch end here
		lost, lostOwn = r.all.takeAll(), r.own.takeAll()
	}
	if newEpoch {
		r.since.Store(r.set.since())
	}
	r.view = v
	r.leader.Store(v.Leader)
	r.epoch.Store(v.LeaderEpoch)
	r.mu.Unlock()
	finish(lost, ErrNotLeader)
	finish(lostOwn, ErrNotLeader)
	if r.log == nil {
		return false, nil
	}
	if follows, err = r.takeRole(v, newEpoch, leads); err != nil {
		return false, err
	}
	r.mu.Lock()
	var short *Waiter
	all := r.advanceLocked()
	if !r.enoughLocked() {
		short = r.all.takeAll() // whether they will be committed is open
	}
	r.wakeLocked()
	r.mu.Unlock()
	finish(all, nil)
	finish(short, ErrNotEnoughReplicasAfterAppend)
	return follows || counted && r.corruptAt.Load() != 0, nil // a damaged log may begin anew now
}

// takeRole makes this node the leader or a follower, as the view says. A leader that is isolated keeps what it knows: in the same epoch it
// goes on with it, proposals under way included.
func (r *Replica) takeRole(v *View, newEpoch, leads bool) (follows bool, err error) {
	self := r.set.o.NodeID
	r.mu.Lock()
	kept := !newEpoch && r.leading != nil && v.Leader == self && r.leading.Epoch() == v.LeaderEpoch
	if kept {
		now := r.set.nowMs()
		r.leading.Follow(v, now)
		r.connectAll(v, now)
		r.leads.Store(leads && !r.leading.Unfit())
		r.markLinks()
	}
	r.mu.Unlock()
	switch {
	case kept:
		return false, nil
	case leads:
		if err := r.begin(v); err != nil {
			return false, fmt.Errorf("lead %s-%d in epoch %d: %w", r.topic, r.id.Partition, v.LeaderEpoch, err)
		}
		return false, nil
	}
	if err := r.follow(v); err != nil {
		return false, fmt.Errorf("follow %s-%d in epoch %d: %w", r.topic, r.id.Partition, v.LeaderEpoch, err)
	}
	return newEpoch, nil
}

// expire ends the waits whose time is over.
func (r *Replica) expire(nowMs int64) {
	r.mu.Lock()
	if r.all.first == nil && r.own.first == nil {
		r.mu.Unlock()
		return
	}
	all, own := r.all.takeExpired(nowMs), r.own.takeExpired(nowMs)
	r.mu.Unlock()
	finish(all, ErrTimeout)
	finish(own, ErrTimeout)
}

// drop ends all waits; the replica is out of the table and its log is about to go.
func (r *Replica) drop() {
	r.mu.Lock()
	r.leads.Store(false)
	r.dropped = true
	r.disconnectAll()
	r.leading, r.following = nil, nil
	r.ticks.Store(false)
	all, own := r.all.takeAll(), r.own.takeAll()
	r.wakeLocked()
	r.mu.Unlock()
	finish(all, ErrNotLeader)
	finish(own, ErrNotLeader)
}
