package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
)

// proposeWithin bounds the proposal that fences or unfences a broker.
const proposeWithin = 5 * time.Second

// majorityWithin is how recently a controller must have heard from a majority of the voters to count as one, for its own broker too.
const majorityWithin = 2 * time.Second

// ErrUnknownIncarnation: the heartbeat is of an incarnation that is not the registered one; the broker must register (again).
var ErrUnknownIncarnation = errors.New("this incarnation of the broker is not registered")

// SessionsOptions are what Sessions work with.
type SessionsOptions struct {
	Controller *Controller
	// Ended lists the processes that have certainly ended, by node: nobody listens there any more and their connections are closed, or
	// another process answers. It is asked before each look at the sessions.
	Ended func() map[int32][]uint64
	// Former is the node that led the metadata log before, as far as this node knows; nil for never anybody.
	Former func() int32
	// Silent is for how long nothing has come from a node, 0 if that is not known. It is asked for the former leader.
	Silent func(node int32) time.Duration
	// HandOver gives the leadership of the metadata log to another node; nil if that is not possible.
	HandOver func(reason string)
	Logger   *slog.Logger
}

// Sessions watch over the brokers while this node leads the metadata log: they take heartbeats, fence who is gone or silent, and put back
// into service who is well. They also know which metadata each broker shows.
type Sessions struct {
	o       SessionsOptions
	c       *Controller
	applied *applied
	started time.Time

	mu    sync.Mutex // guards the rest
	leads bool
	ended bool // Run is over
	core  *sessions
	wg    sync.WaitGroup // proposals under way; at most one per broker
}

// NewSessions makes sessions that are idle until this node leads. Connect Follow and Lead to the metadata log, and run Run.
func NewSessions(o SessionsOptions) *Sessions {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Sessions{o: o, c: o.Controller, applied: newApplied(), started: time.Now().Add(-time.Hour),
		core: newSessions(o.Controller.nodeID)}
}

// now is the clock of the core. It is never near zero.
func (s *Sessions) now() time.Duration { return time.Since(s.started) }

// Lead tells that this node begins or ceases to lead; a subscriber of the log's role.
func (s *Sessions) Lead(leads bool, _ uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leads = leads && !s.ended
	if !s.leads {
		return
	}
	var former int32
	var silent time.Duration
	if s.o.Former != nil {
		former = s.o.Former()
		silent = s.o.Silent(former)
	}
	s.core.begin(s.now(), s.c.log.Image(), former, silent)
}

// Follow takes over a new image; a subscriber of the log.
func (s *Sessions) Follow(_, cur *metadata.Image, d *metadata.Delta) {
	if len(d.Brokers) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leads {
		s.core.follow(s.now(), cur)
	}
}

// Run looks at the sessions while this node leads, until ctx is done. It is behind nothing: proposals run on goroutines of their own.
func (s *Sessions) Run(ctx context.Context) error {
	tick := time.NewTicker(TickEvery)
	defer tick.Stop()
	defer s.end()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.look(ctx)
	}
}

// end waits for what is under way, and lets nothing begin.
func (s *Sessions) end() {
	s.mu.Lock()
	s.leads, s.ended = false, true
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Sessions) look(ctx context.Context) {
	s.mu.Lock()
	leads := s.leads
	s.mu.Unlock()
	if !leads {
		return
	}
	var ended map[int32][]uint64
	if s.o.Ended != nil {
		ended = s.o.Ended()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leads {
		return
	}
	for id, nonces := range ended {
		for _, n := range nonces {
			s.core.ended(id, n)
		}
	}
	for _, id := range s.core.deposed() {
		s.core.heardOf(s.now(), id, s.o.Silent(id))
	}
	s.core.tick(s.now())
	s.act(ctx)
}

// act begins to do what the core has decided. mu is held.
func (s *Sessions) act(ctx context.Context) {
	for _, d := range s.core.take() {
		if d.kind == decideHandOver {
			s.o.Logger.Warn("leadership of the metadata is handed over", "reason", d.reason)
			if s.o.HandOver != nil {
				s.wg.Go(func() { s.o.HandOver(d.reason) })
			}
			continue
		}
		s.wg.Go(func() { s.propose(ctx, d) })
	}
}

func (s *Sessions) propose(ctx context.Context, d decision) {
	ctx, cancel := context.WithTimeout(ctx, proposeWithin)
	defer cancel()
	var err error
	if d.kind == decideFence {
		if err = s.c.FenceBroker(ctx, d.broker, d.epoch); err == nil {
			s.mu.Lock()
			s.core.left(d.broker, d.epoch)
			s.mu.Unlock()
		}
	} else {
		err = s.c.UnfenceBroker(ctx, d.broker, d.epoch)
	}
	switch {
	case err == nil && d.kind == decideFence:
		s.o.Logger.Warn("broker fenced", "broker", d.broker, "epoch", d.epoch, "reason", d.reason)
	case err == nil:
		s.o.Logger.Info("broker in service", "broker", d.broker, "epoch", d.epoch)
	case ctx.Err() == nil && !errors.Is(err, metalog.ErrNotController): // without a majority it is tried again and again
		s.o.Logger.Warn("broker neither fenced nor unfenced", "broker", d.broker, "epoch", d.epoch, "err", err)
	}
}

// Register registers an incarnation; see Controller.RegisterBroker. The broker shows nothing yet.
func (s *Sessions) Register(ctx context.Context, r Registration) (epoch int64, err error) {
	s.applied.reset(r.BrokerID)
	if epoch, err = s.c.RegisterBroker(ctx, r); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leads {
		s.core.follow(s.now(), s.c.log.Image())
		s.core.registered(s.now(), r.BrokerID, epoch)
	}
	return epoch, nil
}

// Heartbeat takes a broker's heartbeat, and says whether the broker is fenced. ErrNotController: this node does not lead, or has not
// heard from a majority of the voters for so long that it cannot tell.
func (s *Sessions) Heartbeat(ctx context.Context, h Heartbeat) (fenced bool, err error) {
	s.Applied(h.BrokerID, h.Applied)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.leads {
		return false, fmt.Errorf("heartbeat of broker %d: %w", h.BrokerID, metalog.ErrNotController)
	}
	fenced, known := s.core.heartbeat(s.now(), &h)
	s.act(context.WithoutCancel(ctx))
	if !known {
		return true, fmt.Errorf("heartbeat of broker %d, epoch %d: %w", h.BrokerID, h.Epoch, ErrUnknownIncarnation)
	}
	voters := s.c.log.Image().Voters()
	if len(voters) > 1 && s.core.heardFrom(s.now(), majorityWithin, voters) <= len(voters)/2 {
		return fenced, fmt.Errorf("heartbeat of broker %d: a majority of the voters is silent: %w", h.BrokerID, metalog.ErrNotController)
	}
	return fenced, nil
}

// Applied tells which metadata offset a broker shows.
func (s *Sessions) Applied(broker int32, offset int64) { s.applied.report(broker, offset, time.Now()) }

// AwaitApplied returns when all brokers in service show the offset, as far as is known here; at the latest after ShownWithin. A broker
// that took longer is skipped until it has caught up.
func (s *Sessions) AwaitApplied(ctx context.Context, offset int64) {
	im := s.c.log.Image()
	brokers := make([]int32, 0, im.BrokerCount())
	for b := range im.Brokers() {
		if !b.Fenced && b.ID != s.c.nodeID {
			brokers = append(brokers, b.ID)
		}
	}
	s.applied.await(ctx, slices.Clip(brokers), offset)
}
