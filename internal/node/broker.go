package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/peer"
)

const (
	// isolatedAfter is how long a broker goes on to lead without a controller. By then the controller has fenced it, if there is one.
	isolatedAfter = 6 * time.Second
	// pausedFor is a time in which this process did not run that makes it ask before it goes on to lead: others may lead by now.
	pausedFor = 2 * time.Second
	// pauseToldFor is how long heartbeats tell of a pause: until the broker is in service again, which takes three of them.
	pauseToldFor = 5 * time.Second
	// heartbeatTimeout and heartbeatsMost bound the heartbeats under way: one that is late must not hold up the next.
	heartbeatTimeout = 2 * time.Second
	heartbeatsMost   = 4
)

var errNotRegistered = errors.New("this process is not the registered broker")

// broker is this node's life as a broker among others: it tells the controller that it is alive and what its image shows, stops leading
// when no controller answers any more, and, while this node is the controller, takes what the others tell.
//
// run owns the clock of the lease; the rest is atomics. Heartbeats are sent from goroutines of their own, behind no disk and no lock.
type broker struct {
	n        *Node
	sessions *controller.Sessions
	groups   *groupWatch

	ready    atomic.Bool
	isolated atomic.Bool
	heard    atomic.Int64 // when the newest heartbeat that was answered had been sent, on the clock of began
	current  atomic.Int64 // the same of those whose answer's metadata this node shows
	paused   atomic.Int64 // how long the last pause of this process was at least; nanoseconds
	pauseEnd atomic.Int64 // when it ended
	resumed  atomic.Int64 // when this process ran again after a pause or a time without a controller: what was shown before may be old
	ran      atomic.Int64 // when run last looked, on that clock: long ago in a process that has not run
	former   atomic.Int32 // the controller that heartbeats went to last, if it was another node
	asked    questions
	began    time.Time
	kick     chan struct{} // bound 1: a heartbeat is wanted now
	shown    chan struct{} // bound 1: the image has changed
	slots    chan struct{} // heartbeats under way
}

// heartbeatAnswer is what the controller says.
type heartbeatAnswer struct {
	Fenced bool `json:"fenced"`
	// Unknown: another incarnation is registered, or none.
	Unknown bool `json:"unknown,omitempty"`
	// Offset is the metadata offset that the controller shows.
	Offset int64 `json:"offset,omitempty"`
}

// newBroker connects a broker to the metadata log, before it runs, and to the mesh, which may run already.
func newBroker(n *Node, groups *groupWatch) *broker {
	b := &broker{n: n, groups: groups, began: time.Now(), kick: make(chan struct{}, 1), shown: make(chan struct{}, 1),
		slots: make(chan struct{}, heartbeatsMost)}
	b.sessions = controller.NewSessions(controller.SessionsOptions{Controller: n.controller, Ended: b.ended, Former: b.former.Load, Silent: b.silent,
		HandOver: b.handOver, Logger: n.logger})
	n.meta.Subscribe(b.sessions.Follow)
	n.meta.Subscribe(func(_, _ *metadata.Image, _ *metadata.Delta) { poke(b.shown) })
	n.meta.SubscribeRole(b.sessions.Lead)
	n.meta.SubscribeRole(func(bool, uint64) { poke(b.kick) })
	n.mesh.Handle(peer.MethodHeartbeat, b.handleHeartbeat)
	n.mesh.HandleCast(peer.FrameHeartbeat, b.handleApplied)
	return b
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// start begins to send heartbeats; the node is registered.
func (b *broker) start() {
	b.heard.Store(b.clock())
	b.ran.Store(b.clock())
	b.n.run("sessions", b.sessions.Run)
	b.n.run("heartbeats", b.run)
	b.n.run("applied", b.push)
}

// enter puts the broker into service, now that clients can reach it, and returns when its own image shows that.
func (b *broker) enter(ctx context.Context) error {
	b.n.mesh.Handle(peer.MethodForward, func(ctx context.Context, _ *peer.Hello, payload []byte) ([]byte, error) {
		return b.n.kafka.ServeForwarded(ctx, payload)
	})
	b.ready.Store(true)
	poke(b.kick)
	for {
		im := b.n.meta.Image()
		if self := im.Broker(b.n.id.NodeID); self != nil && self.Incarnation == b.n.incarnation && !self.Fenced {
			return nil
		}
		look, cancel := context.WithTimeout(ctx, controller.HeartbeatEvery)
		_ = b.n.meta.WaitApplied(look, im.Offset()+1) // the next image, or another look
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the broker to be in service: %w", ctx.Err())
		}
	}
}

// run sends heartbeats and watches how long no controller has answered.
func (b *broker) run(ctx context.Context) error {
	tick := time.NewTicker(controller.HeartbeatEvery)
	defer tick.Stop()
	defer func() { // heartbeats under way end with ctx
		for range heartbeatsMost {
			b.slots <- struct{}{}
		}
	}()
	for {
		now := b.clock()
		if paused := time.Duration(now - b.ran.Load()); paused > pausedFor {
			b.n.logger.Warn("this process was not running", "ms", paused.Milliseconds())
			b.paused.Store(int64(paused - controller.HeartbeatEvery)) // it ran for some of it
			b.resumed.Store(now)
			b.pauseEnd.Store(now)
		}
		b.checkLease()
		b.ran.Store(now) // after checkLease: Isolated is true all the time
		select {
		case b.slots <- struct{}{}:
			go func() {
				defer func() { <-b.slots }()
				b.beat(ctx)
			}()
		default: // the controller does not answer; the ones under way count
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-b.kick:
		}
	}
}

// beat sends one heartbeat.
func (b *broker) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	sent := b.clock()
	answer, err := b.tell(ctx)
	switch {
	case err != nil:
		b.n.logger.Debug("heartbeat not answered", "err", err)
	case answer.Unknown:
		b.n.logger.Warn("heartbeat refused", "err", errNotRegistered)
	default:
		raise(&b.heard, sent)
		if b.n.meta.WaitApplied(ctx, answer.Offset) == nil { // else a later one will show it
			raise(&b.current, sent)
		}
		if b.isolated.Load() {
			poke(b.kick) // lead again at once
		}
	}
}

// pausedMs is for how long this process did not run, while the controller judges its silence.
func (b *broker) pausedMs() int64 {
	if end := b.pauseEnd.Load(); end == 0 || b.clock()-end > int64(pauseToldFor) {
		return 0
	}
	return b.paused.Load() / int64(time.Millisecond)
}

// clock is the time since this broker was made, in nanoseconds.
func (b *broker) clock() int64 { return int64(time.Since(b.began)) }

// raise sets a time to a later one.
func raise(at *atomic.Int64, to int64) {
	for {
		last := at.Load()
		if to <= last || at.CompareAndSwap(last, to) {
			return
		}
	}
}

// tell gives a heartbeat to the controller, here or elsewhere.
func (b *broker) tell(ctx context.Context) (heartbeatAnswer, error) {
	im := b.n.meta.Image()
	self := im.Broker(b.n.id.NodeID)
	if self == nil || self.Incarnation != b.n.incarnation {
		return heartbeatAnswer{}, errNotRegistered
	}
	h := controller.Heartbeat{BrokerID: self.ID, Epoch: self.Epoch, Applied: im.Offset(), Ready: b.ready.Load(), PausedMs: b.pausedMs()}
	st := b.n.meta.Status()
	switch {
	case st.Role >= metalog.RoleOpening:
		return b.take(ctx, h)
	case st.Leader.DiskID.IsZero() || st.Leader == b.n.self():
		return heartbeatAnswer{}, metalog.ErrNotController
	}
	payload, err := json.Marshal(h)
	if err != nil {
		return heartbeatAnswer{}, fmt.Errorf("encode heartbeat: %w", err)
	}
	b.former.Store(st.Leader.NodeID)
	back, err := b.n.callController(ctx, st.Leader, peer.MethodHeartbeat, payload)
	if err != nil {
		return heartbeatAnswer{}, err
	}
	var answer heartbeatAnswer
	if err := json.Unmarshal(back, &answer); err != nil {
		return heartbeatAnswer{}, fmt.Errorf("read answer to heartbeat: %w", err)
	}
	return answer, nil
}

// take gives a heartbeat to this node's sessions.
func (b *broker) take(ctx context.Context, h controller.Heartbeat) (heartbeatAnswer, error) {
	fenced, err := b.sessions.Heartbeat(ctx, h)
	if errors.Is(err, controller.ErrUnknownIncarnation) {
		return heartbeatAnswer{Fenced: true, Unknown: true}, nil
	}
	return heartbeatAnswer{Fenced: fenced, Offset: b.n.meta.Image().Offset()}, err
}

// handleHeartbeat takes a heartbeat of another node.
func (b *broker) handleHeartbeat(ctx context.Context, from *peer.Hello, payload []byte) ([]byte, error) {
	var h controller.Heartbeat
	if err := json.Unmarshal(payload, &h); err != nil {
		return nil, fmt.Errorf("read heartbeat: %w", err)
	}
	if h.BrokerID != from.Member.NodeID {
		return nil, fmt.Errorf("heartbeat of broker %d: %w: sent by node %d", h.BrokerID, ErrIdentity, from.Member.NodeID)
	}
	answer, err := b.take(ctx, h)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// checkLease stops leading when no controller has answered for too long, and leads again when one has and this node shows what the
// controller does: else it would lead on what others lead by now.
func (b *broker) checkLease() {
	now := b.clock()
	silent, isolated := time.Duration(now-b.heard.Load()), b.over(now)
	if !b.isolated.CompareAndSwap(!isolated, isolated) {
		return
	}
	if isolated {
		raise(&b.resumed, now)
		b.n.logger.Warn("no controller: this broker leads nothing", "silent_ms", silent.Milliseconds())
	} else {
		b.n.logger.Info("a controller answers: this broker leads again")
	}
	b.n.replicas.SetIsolated(isolated)
	b.groups.refresh(b.n.meta.Image())
}

// over reports whether this broker may not go on to lead.
func (b *broker) over(now int64) bool {
	return time.Duration(now-b.heard.Load()) > isolatedAfter || b.current.Load() < b.resumed.Load()
}

// push tells the controller which metadata this node shows, whenever that changes: admin requests are answered when all show them.
func (b *broker) push(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.shown:
		}
		st := b.n.meta.Status()
		if st.Role >= metalog.RoleOpening || st.Leader.DiskID.IsZero() || st.Leader == b.n.self() {
			continue
		}
		offset := binary.BigEndian.AppendUint64(nil, uint64(b.n.meta.Image().Offset()))
		b.n.mesh.Cast(st.Leader.NodeID, peer.ClassControl, peer.FrameHeartbeat, offset) // when it is lost, a heartbeat says it too
	}
}

// handleApplied takes what another node shows, if it is the registered process.
func (b *broker) handleApplied(from *peer.Hello, payload []byte) {
	if len(payload) != 8 {
		return
	}
	r := b.n.meta.Image().Broker(from.Member.NodeID)
	if r != nil && controller.NonceOf(r.Incarnation) == from.Nonce {
		b.sessions.Applied(r.ID, int64(binary.BigEndian.Uint64(payload)))
	}
}
