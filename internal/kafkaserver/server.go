package kafkaserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/group"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/replica"
)

// lingerOnClose is how long a connection that ends waits for responses that are still to come, and Shutdown for all connections.
const lingerOnClose = time.Second

// Deps is what the server works on. All of it outlives the server.
type Deps struct {
	NodeID     int32
	ClusterID  string
	Config     *config.Config
	Meta       *metalog.Log
	Controller *controller.Controller
	Replicas   *replica.Set
	Store      *partition.Store
	Groups     *group.Coordinator
	Logger     *slog.Logger
	// Cluster is the way to the other nodes; nil for a node that is alone.
	Cluster Cluster
	// Started is when the process began [New].
	Started time.Time
	// SyncTimes are percentiles of the times of the node WAL's syncs, false before the first; nil where they are not measured.
	SyncTimes func() (p50, p99 time.Duration, ok bool)
	// Peers says how things are with the other nodes; nil for a node that is alone.
	Peers func() []chronikapi.Peer
}

// Listener is one bound address. What clients are told about it stands in the broker's registration.
type Listener struct {
	Name string // Kafka's listener name, such as PLAINTEXT; for logs
	Net  net.Listener
}

// Limits bound what clients can make the server hold or wait for. Zero fields take Kafka's defaults (see defaultLimits).
type Limits struct {
	RequestMaxBytes  int           // socket.request.max.bytes: Produce and Fetch frames; other keys have lower bounds of their own
	MaxConnections   int           // max.connections
	MaxPerIP         int           // max.connections.per.ip
	IdleTimeout      time.Duration // connections.max.idle.ms
	InFlightBytes    int64         // all frames larger than 64 KiB being read or served, over all connections
	ChunkBytes       int64         // read buffers of 64 KiB, over all connections; one is held only while something is in it
	FetchBytes       int64         // all fetch responses being built or sent
	FrameTimeout     time.Duration // from a frame's first byte to its last
	WriteTimeout     time.Duration // a response that makes no progress for so long closes the connection
	MaxInFlight      int           // unanswered requests per connection; the reader stops at it
	MaxResponseBytes int           // unsent response bytes per connection; the reader stops at it
}

// Server serves the Kafka protocol. Make it with New, run it with Serve, end it with Shutdown.
type Server struct {
	deps   Deps
	limits Limits
	log    *slog.Logger
	given  map[string]string // the Kafka settings this node was started with

	ctx    context.Context // done when the server stops
	cancel context.CancelFunc

	now         atomic.Int64 // coarse clock, nanoseconds; janitor
	frameBudget *byteBudget
	chunkBudget *byteBudget
	fetchBudget *byteBudget
	sessions    *fetchSessions
	fetchMax    int64         // fetch.max.bytes
	rackAware   bool          // replica.selector.class: consumers are sent to a replica in their rack
	imaging     chan struct{} // bound 1: held by who makes an image for a client
	summing     chan struct{} // bound 1: held by who computes a partition's checksum for a client
	stats       counters
	producerIDs producerIDs
	ready       readyConns
	readErrors  logGate
	suspects    suspects // partitions whose fetches are not streamed

	mu      sync.Mutex // guards the rest
	conns   map[*conn]struct{}
	perIP   map[string]int
	serving []Listener
	closed  bool
	wg      sync.WaitGroup // connections
}

// image is the committed image that answers are made from.
func (s *Server) image() *metadata.Image { return s.deps.Meta.Image() }

// brokerLayers are the places from which the values of this broker's settings come.
func (s *Server) brokerLayers(im *metadata.Image) config.Layers {
	return controller.Layers(im, s.given, s.deps.NodeID, "")
}

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("kafka server closed")

// New makes a server. It listens nowhere before Serve.
func New(d Deps, l Limits) (*Server, error) {
	if d.Logger == nil || d.Config == nil {
		return nil, errors.New("make kafka server: no logger or no config")
	}
	l = l.withDefaults()
	if d.Started.IsZero() {
		d.Started = time.Now()
	}
	s := &Server{imaging: make(chan struct{}, 1), summing: make(chan struct{}, 1), deps: d, limits: l, log: d.Logger, given: d.Config.StaticKafka(), frameBudget: newBudget(l.InFlightBytes), chunkBudget: newBudget(l.ChunkBytes), fetchBudget: newBudget(l.FetchBytes),
		sessions: newFetchSessions(0), producerIDs: newProducerIDs(), conns: map[*conn]struct{}{}, perIP: map[string]int{}}
	given := func(name string) int64 { return config.BrokerInt(name, config.Layers{Static: s.given}) }
	s.fetchMax, s.sessions.max = given(config.FetchMaxBytes), int(given(config.FetchSessionSlots))
	s.rackAware = selectsByRack(config.BrokerString(config.ReplicaSelector, config.Layers{Static: s.given}))
	s.now.Store(time.Now().UnixNano())
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if d.Replicas != nil { // produce responses leave together when a commit, or an ack of a follower, has been told to all
		d.Replicas.OnCommitted(s.ready.flush)
	}
	return s, nil
}

// Serve accepts connections on all listeners until Shutdown (then it returns ErrServerClosed) or until one of them fails.
func (s *Server) Serve(listeners ...Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.serving = append(s.serving, listeners...)
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	go s.janitor(ctx)
	errs := make(chan error, len(listeners))
	for i := range listeners {
		go func() { errs <- s.accept(&listeners[i]) }()
	}
	err := <-errs
	for i := range listeners {
		_ = listeners[i].Net.Close() // ends the other accept loops; closed already after Shutdown
	}
	for range len(listeners) - 1 {
		<-errs
	}
	return err
}

// accept is one listener's loop.
func (s *Server) accept(l *Listener) error {
	var pause time.Duration
	for {
		nc, err := l.Net.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(nc)
		case s.ctx.Err() != nil:
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", l.Net.Addr(), err)
		default:
			// Out of descriptors, or a connection that died in the queue: go on, but do not spin.
			pause = min(max(2*pause, time.Millisecond), time.Second)
			s.log.Warn("accept failed", "listener", l.Name, "err", err, "retry_ms", pause.Milliseconds())
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
}

// start gives a new connection its goroutine, or closes it when there are too many.
func (s *Server) start(nc net.Conn) {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		host = nc.RemoteAddr().String()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.conns) >= s.limits.MaxConnections || s.perIP[host] >= s.limits.MaxPerIP {
		s.stats.refused.Add(1)
		_ = nc.Close() // nothing to be done about a failing close
		return
	}
	c, err := newConn(s, nc, host)
	if err != nil {
		s.stats.refused.Add(1)
		_ = nc.Close()
		return
	}
	s.stats.accepted.Add(1)
	s.conns[c] = struct{}{}
	s.perIP[host]++
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		err := c.run()
		s.gone(c, err)
	}()
}

// gone takes a connection that has ended off the books.
func (s *Server) gone(c *conn, err error) {
	s.mu.Lock()
	delete(s.conns, c)
	if s.perIP[c.host]--; s.perIP[c.host] <= 0 {
		delete(s.perIP, c.host)
	}
	s.mu.Unlock()
	if clientsFault(err) {
		s.stats.closed.Add(1)
		s.log.Debug("connection closed", "peer", c.host, "client", printable(c.req.clientName()), "err", err)
	}
}

// Shutdown stops accepting, lets requests in progress finish for about a second, closes all connections and waits for them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	listeners := s.serving
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	s.cancel()
	for i := range listeners {
		_ = listeners[i].Net.Close() // closed already when Serve ended by itself
	}
	for _, c := range conns {
		c.end(errServerStops)
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("shut down kafka server: %w", ctx.Err())
	}
}

// clientsFault reports whether a connection ended by something that its client did, rather than by either side's leaving.
func clientsFault(err error) bool {
	for _, e := range []error{errFrameSize, errHeader, errUnknownKey, errVersion, errBody, errBodyTooBig, errSlowFrame, errSlowReader,
		errNoMemory, errAcksZero} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
