package peer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options configures New.
type Options struct {
	// Listener is the bound wal port. Run closes it.
	Listener net.Listener
	// Hello says who this process is now. It must not block, and changes only together with Renew.
	Hello func() Hello
	// Addr is where a node's wal port is; "" if that is not known (yet).
	Addr func(nodeID int32) string
	// Admit says whether a process of this cluster may talk to this one: nil, or a *Refusal. It is asked by both sides in every handshake,
	// after cluster and genesis were found equal; nil admits all.
	Admit  func(h *Hello) error
	Logger *slog.Logger

	dial func(ctx context.Context, address string) (net.Conn, error) // tests
}

// maxInbound bounds the nodes that have connections to this one.
const maxInbound = 256

// Mesh is this node's end of all connections on wal ports.
type Mesh struct {
	o        Options
	gen      atomic.Uint64 // raised by Renew: handshakes of before do not count
	calls    atomic.Uint64 // request ids
	methods  sync.Map      // Method -> CallHandler
	casts    sync.Map      // FrameType -> CastHandler
	streams  sync.Map      // Class -> StreamHandler
	watchers []func(Event)
	events   chan Event
	lost     atomic.Int64 // events that did not fit

	mu      sync.Mutex // guards the rest
	ctx     context.Context
	links   map[int32]*link
	inbound map[int32]*conn // the newest control connection of each node
	nodes   map[int32]*nodeState
	bulk    map[net.Conn]struct{}
	wg      sync.WaitGroup
}

// New makes a mesh. Handlers and watchers may be set before Run.
func New(o Options) *Mesh {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.dial == nil {
		o.dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
		}
	}
	return &Mesh{
		o: o, events: make(chan Event, maxEvents), links: map[int32]*link{}, inbound: map[int32]*conn{},
		nodes: map[int32]*nodeState{}, bulk: map[net.Conn]struct{}{},
	}
}

// Run serves the port and keeps the connections until ctx is done. It returns when everything it started has ended.
func (m *Mesh) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.mu.Lock()
	m.ctx = ctx
	for _, l := range m.links {
		m.start(l)
	}
	m.wg.Go(func() { m.watch(ctx) })
	m.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		_ = m.o.Listener.Close()
		m.closeAll()
	})
	defer stop()
	err := m.accept(ctx)
	cancel()
	_ = m.o.Listener.Close()
	m.closeAll()
	m.wg.Wait()
	return err
}

// SetPeers names the nodes to which a control connection is kept.
func (m *Mesh) SetPeers(nodes []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, l := range m.links {
		if !slices.Contains(nodes, id) {
			l.stop()
			delete(m.links, id)
		}
	}
	for _, id := range nodes {
		if _, ok := m.links[id]; ok {
			continue
		}
		l := newLink(m, id)
		m.links[id] = l
		if m.ctx != nil {
			m.start(l)
		}
	}
}

// start runs a link. mu is held.
func (m *Mesh) start(l *link) {
	if m.ctx.Err() == nil {
		m.wg.Go(func() { l.run(m.ctx) })
	}
}

// Renew ends all connections, so that both sides say hello again: who this process is has changed.
func (m *Mesh) Renew() {
	m.gen.Add(1)
	m.closeAll()
}

// HangUp ends the control connections with the processes of a member, except for the one with the nonce keep (0: none is kept): they are
// refused from now on, and a process learns why only when it says hello. One that is just being admitted may stay; it learns nothing.
func (m *Mesh) HangUp(member Member, keep uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	end := func(c *conn) {
		if c != nil && c.peer.Member == member && c.peer.Nonce != keep {
			c.close(errRenewed)
		}
	}
	end(m.inbound[member.NodeID])
	if l := m.links[member.NodeID]; l != nil {
		end(l.conn.Load())
	}
}

func (m *Mesh) closeAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.inbound {
		c.close(errRenewed)
	}
	for _, l := range m.links {
		if c := l.conn.Load(); c != nil {
			c.close(errRenewed)
		}
		l.poke()
	}
	for c := range m.bulk {
		_ = c.Close()
	}
}

// Probe dials a node at once if it is not connected, so that its state is of now.
func (m *Mesh) Probe(node int32) {
	if l := m.link(node); l != nil {
		l.poke()
	}
}

func (m *Mesh) link(node int32) *link {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.links[node]
}

// accept takes connections until the listener is closed.
func (m *Mesh) accept(ctx context.Context) error {
	slots := make(chan struct{}, maxHandshakes)
	for {
		nc, err := m.o.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of file descriptors, most probably
			time.Sleep(10 * time.Millisecond)
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = nc.Close() // too many strangers at once
			continue
		}
		m.wg.Go(func() { m.greeted(ctx, nc, func() { <-slots }) })
	}
}

// greeted answers the handshake of a connection and serves it to its end.
func (m *Mesh) greeted(ctx context.Context, nc net.Conn, release func()) {
	gen := m.gen.Load()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	own, other, class, err := m.answer(nc)
	release()
	if err != nil {
		_ = nc.Close()
		var r *Refusal
		if asRefusal(err, &r) && other != nil {
			m.refused(other.Member.NodeID, false, r)
		}
		return
	}
	if class != ClassControl {
		m.serveStream(ctx, nc, class, own, other)
		return
	}
	c := newConn(m, nc, own, other, false)
	if !m.enter(c, gen) {
		_ = nc.Close()
		return
	}
	m.connected(c)
	err = c.serve(ctx)
	m.leave(c, err)
}

// enter makes an inbound control connection the node's current one.
func (m *Mesh) enter(c *conn, gen uint64) bool {
	id := c.peer.Member.NodeID
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.inbound[id]
	if m.gen.Load() != gen || m.ctx.Err() != nil || old == nil && len(m.inbound) >= maxInbound {
		return false
	}
	m.inbound[id] = c
	if old != nil {
		old.close(errReplaced)
	}
	if l := m.links[id]; l != nil {
		if out := l.conn.Load(); out != nil && out.peer.Nonce != c.peer.Nonce && out.peer.Boot < c.peer.Boot {
			out.close(errReplaced) // of a process that is gone
		}
		l.poke() // it is there: no need to wait for the next attempt
	}
	return true
}

func (m *Mesh) leave(c *conn, err error) {
	id := c.peer.Member.NodeID
	m.mu.Lock()
	current := m.inbound[id] == c
	if current {
		delete(m.inbound, id)
	}
	l := m.links[id]
	m.mu.Unlock()
	if !current {
		return
	}
	m.disconnected(c, err)
	if l != nil {
		l.poke()
	}
}
