package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/peer"
)

const (
	// frameBytes is about how much goes into one frame; a larger batch goes alone.
	frameBytes = 1 << 20
	// turnBytes is how much of one partition goes into a frame while others wait.
	turnBytes = 256 << 10
	// markDelay bounds how long a new high watermark waits for records to travel with.
	markDelay = 5 * time.Millisecond
	// pingEvery keeps an idle stream known as alive. answerSilence ends one on which nothing comes back, streamSilence one on which nothing
	// comes: the other end may be gone without a word. By then the follower has left the ISR, and dialling again costs little.
	pingEvery     = 300 * time.Millisecond
	answerSilence = 3 * time.Second
	streamSilence = 10 * time.Second
	dialBackoff   = 20 * time.Millisecond
	dialBackoffTo = time.Second
	// catchUpFlight bounds what is under way on a catch-up stream: it shares the follower's commits with what is pushed live, which must
	// not wait for long.
	catchUpFlight = 2 << 20
)

// link is what a leader keeps of one follower for pushing: the sender to its node and what the follower was last told.
type link struct {
	r      *Replica
	node   int32
	lane   atomic.Pointer[sender] // changed with r.mu held: live, or catch-up while the follower lacks much
	queued atomic.Bool            // in the lane's dirty list
	marked atomic.Bool            // in the lane's marks

	// Guarded by r.mu.
	probe     bool  // push even if there is nothing new: the follower's end is not known
	sentHW    int64 // what the follower was last told
	sentStart int64
	carrier   *session       // whose frames the next two are of
	carried   int64          // the largest log start under way or acked; -1: none
	starts    []carriedStart // under way; bounded by the moves of the log start

	repairing atomic.Bool // the follower is to begin anew: that is under way
}

// mark says that the follower is to be pushed to.
func (l *link) mark() {
	if l.queued.CompareAndSwap(false, true) {
		l.lane.Load().enqueue(l)
	}
}

// markHW says that the high watermark has moved; records that are pushed soon carry it along.
func (l *link) markHW() {
	if l.marked.CompareAndSwap(false, true) {
		l.lane.Load().enqueueMark(l)
	}
}

// sender pushes what this node leads to the followers on one other node, over one stream: there is one for what is appended now, and one
// for what followers have missed, so that the one does not wait for the other.
type sender struct {
	set   *Set
	node  int32
	class peer.Class
	wake  chan struct{} // bound 1
	poked chan struct{} // bound 1: a reason to dial now

	heardMs atomic.Int64 // when the follower's node last said anything on the stream

	mu      sync.Mutex // guards the rest; after Replica.mu in the lock order
	links   map[*Replica]*link
	dirty   []*link
	marks   []*link
	session *session // nil while there is no stream
}

func newSender(s *Set, node int32, class peer.Class) *sender {
	return &sender{set: s, node: node, class: class, wake: make(chan struct{}, 1), poked: make(chan struct{}, 1), links: map[*Replica]*link{}}
}

func (s *sender) enqueue(l *link) {
	s.mu.Lock()
	s.dirty = append(s.dirty, l)
	s.mu.Unlock()
	poke(s.wake)
}

func (s *sender) enqueueMark(l *link) {
	s.mu.Lock()
	s.marks = append(s.marks, l)
	s.mu.Unlock()
	poke(s.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// attach begins to push to a follower over this stream. l.r.mu is held.
func (s *sender) attach(l *link, nowMs int64) {
	r := l.r
	s.mu.Lock()
	l.lane.Store(s)
	s.links[r] = l
	if x := s.session; x != nil {
		r.leading.Connected(s.node, x.brokerEpoch, x.window.Current(), nowMs)
		l.probe = true
	} else {
		r.leading.Ended(s.node)
	}
	s.mu.Unlock()
	l.queued.Store(false) // it may still be in another stream's list, which then leaves it alone
	l.marked.Store(false)
	l.mark()
	poke(s.poked)
}

// detach ends pushing a replica over this stream. r.mu is held.
func (s *sender) detach(r *Replica) {
	s.mu.Lock()
	delete(s.links, r)
	s.mu.Unlock()
}

// idle reports whether there is no need for a stream: nobody has anything to catch up with.
func (s *sender) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.class == peer.ClassCatchUp && len(s.links) == 0
}

// run keeps a stream to the node until ctx is done.
func (s *sender) run(ctx context.Context) {
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		if s.idle() {
			select {
			case <-s.poked:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Second {
			backoff = 0
		}
		s.set.log.Debug("replication stream ended", "node", s.node, "class", s.class, "err", err)
		backoff = min(max(2*backoff, dialBackoff), dialBackoffTo)
		t := time.NewTimer(backoff/2 + rand.N(backoff/2))
		select {
		case <-t.C:
		case <-s.poked:
			backoff = 0
			select {
			case <-time.After(dialBackoff / 4):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		t.Stop()
	}
}

var errNotRegistered = errors.New("the node's process is not the registered one, as far as is known here")

// once opens a stream and serves it to its end.
func (s *sender) once(ctx context.Context) error {
	stream, err := s.set.o.Open(ctx, s.node, s.class)
	if err != nil {
		return err
	}
	defer stream.Close()
	epoch, ok := s.set.brokerEpoch(s.node, stream.Peer().Nonce)
	if !ok {
		return errNotRegistered
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer stop()
	x := &session{brokerEpoch: epoch}
	s.heardMs.Store(s.set.nowMs())
	s.begin(x)
	done := make(chan error, 1)
	go func() {
		err := s.readAnswers(stream, x)
		cancel()
		done <- err
	}()
	err = s.push(ctx, stream, x)
	cancel()
	_ = stream.Close()
	err = errors.Join(err, <-done)
	s.end(x)
	return err
}

// begin makes a session current and connects all replicas to it.
func (s *sender) begin(x *session) {
	s.mu.Lock()
	s.session = x
	links := s.allLinks()
	s.mu.Unlock()
	for _, l := range links {
		l.r.connect(l, s, x)
		l.mark()
	}
}

func (s *sender) end(x *session) {
	s.mu.Lock()
	if s.session == x {
		s.session = nil
	}
	links := s.allLinks()
	s.mu.Unlock()
	for _, l := range links {
		l.r.disconnect(l, s)
	}
}

// allLinks lists the links. mu is held.
func (s *sender) allLinks() []*link {
	links := make([]*link, 0, len(s.links))
	for _, l := range s.links {
		links = append(links, l)
	}
	return links
}
