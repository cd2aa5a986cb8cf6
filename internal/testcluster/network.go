package testcluster

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Port is one of a node's ports for other nodes.
type Port int

// The ports.
const (
	WALPort Port = iota
	RaftPort
	ports
)

const (
	chunkBytes = 64 << 10
	inFlight   = 64 // chunks that a delayed or cut direction of a connection holds
	dialWithin = 5 * time.Second
)

// Network is the connections between the nodes of a cluster. Each port for other nodes is behind a proxy, which tells by the process at the
// other end who has dialled. A direction that is cut delivers nothing, not even the end of a connection, until it is healed; then all of it
// comes, as with TCP.
//
// It may be used by all goroutines.
type Network struct {
	pids func() []int

	mu     sync.Mutex // guards the rest
	nodes  []*proxied
	links  map[route]link
	change chan struct{} // closed when links change
	conns  map[*conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// proxied is one node's two ports.
type proxied struct {
	front, back [ports]string
	listeners   [ports]net.Listener // nil while the process does not run
}

// route is one direction between two nodes, indexes from 0.
type route struct {
	from, to int
	port     Port
}

type link struct {
	cut   bool
	delay time.Duration
}

// conn is a connection through the proxy.
type conn struct {
	dialer, target int
	port           Port
	front, back    *net.TCPConn // to the dialler, to the target; back is nil before it is dialled
	gone           chan struct{}
	once           sync.Once
	deaf           chan struct{} // closed: what comes is thrown away (half-open)
}

func newNetwork(pids func() []int) *Network {
	return &Network{pids: pids, links: map[route]link{}, change: make(chan struct{}), conns: map[*conn]struct{}{}}
}

func (n *Network) add(t testing.TB, front, back [2]string) (node int) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes = append(n.nodes, &proxied{front: front, back: back})
	return len(n.nodes) - 1
}

// up listens for a node that is about to start.
func (n *Network) up(t testing.TB, node int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.nodes[node]
	for port := range ports {
		if p.listeners[port] != nil || n.closed {
			continue
		}
		l, err := net.Listen("tcp", p.front[port])
		for range 50 { // the port may be taken for a moment by somebody who looks for a free one
			if err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
			l, err = net.Listen("tcp", p.front[port])
		}
		if err != nil {
			t.Errorf("proxy of node %d: %v", node+1, err)
			return
		}
		p.listeners[port] = l
		n.wg.Go(func() { n.accept(l, node, port) })
	}
}

// downed has dials refused, as they are where nobody listens.
func (n *Network) downed(node int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for port, l := range n.nodes[node].listeners {
		if l != nil {
			_ = l.Close() // it only has to be gone
			n.nodes[node].listeners[port] = nil
		}
	}
}

// Close ends all.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	for node := range n.nodes {
		n.downed(node)
	}
	n.mu.Lock()
	for c := range n.conns {
		c.reset()
	}
	n.mu.Unlock()
	n.wg.Wait()
}

// Cut stops everything from one node to another on the ports; the other direction is not touched.
func (n *Network) Cut(from, to int, some ...Port) {
	n.set(from, to, some, func(l *link) { l.cut = true })
}

// Delay makes everything from one node to another late, but for zero.
func (n *Network) Delay(from, to int, by time.Duration) {
	n.set(from, to, nil, func(l *link) { l.delay = by })
}

// Heal ends all cuts and delays.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
	n.changed()
}

func (n *Network) set(from, to int, some []Port, fn func(*link)) {
	if len(some) == 0 {
		some = []Port{WALPort, RaftPort}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, port := range some {
		r := route{from, to, port}
		l := n.links[r]
		fn(&l)
		n.links[r] = l
	}
	n.changed()
}

func (n *Network) changed() {
	close(n.change)
	n.change = make(chan struct{})
}

// Reset ends all connections between two nodes with a reset, and returns how many there were.
func (n *Network) Reset(a, b int) int { return n.each(between(a, b), (*conn).reset) }

// HalfOpen ends all connections between two nodes at b's end only: a sends into the void and hears nothing.
func (n *Network) HalfOpen(a, b int) int {
	return n.each(between(a, b), func(c *conn) {
		if c.back == nil {
			c.reset()
			return
		}
		close(c.deaf)
		lost := c.back
		if c.target == a {
			lost = c.front
		}
		hardClose(lost)
	})
}

func between(a, b int) func(*conn) bool {
	return func(c *conn) bool { return c.dialer == a && c.target == b || c.dialer == b && c.target == a }
}

func (n *Network) each(which func(*conn) bool, do func(*conn)) (count int) {
	n.mu.Lock()
	var some []*conn
	for c := range n.conns {
		if which(c) && !c.isDeaf() {
			some = append(some, c)
		}
	}
	n.mu.Unlock()
	for _, c := range some {
		do(c)
	}
	return len(some)
}

func (c *conn) isDeaf() bool {
	select {
	case <-c.deaf:
		return true
	default:
		return false
	}
}

func hardClose(c *net.TCPConn) {
	_ = c.SetLinger(0) // it may be closed already
	_ = c.Close()
}

// reset ends a connection at both ends.
func (c *conn) reset() {
	c.once.Do(func() { close(c.gone) })
	hardClose(c.front)
	if c.back != nil {
		hardClose(c.back)
	}
}

func (n *Network) accept(l net.Listener, node int, port Port) {
	for {
		front, err := l.Accept()
		if err != nil {
			return
		}
		n.wg.Go(func() { n.serve(front.(*net.TCPConn), node, port) })
	}
}

// serve forwards one connection. It is not made while a direction is cut.
func (n *Network) serve(front *net.TCPConn, node int, port Port) {
	c := &conn{dialer: n.dialer(front), target: node, port: port, front: front, gone: make(chan struct{}), deaf: make(chan struct{})}
	if !n.passes(c, c.dialer, node) || !n.passes(c, node, c.dialer) {
		hardClose(front)
		return
	}
	back, err := net.DialTimeout("tcp", n.nodes[node].back[port], dialWithin)
	if err != nil {
		hardClose(front)
		return
	}
	c.back = back.(*net.TCPConn)
	n.mu.Lock()
	closed := n.closed
	n.conns[c] = struct{}{}
	n.mu.Unlock()
	if closed {
		c.reset()
	}
	var both sync.WaitGroup
	both.Go(func() { n.forward(c, c.front, c.back, route{c.dialer, node, port}) })
	both.Go(func() { n.forward(c, c.back, c.front, route{node, c.dialer, port}) })
	both.Wait()
	c.reset()
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
}

type chunk struct {
	b   []byte
	at  time.Time
	err error // instead of bytes: how the stream ended
}

// forward carries one direction.
func (n *Network) forward(c *conn, from, to *net.TCPConn, r route) {
	flight := make(chan chunk, inFlight)
	go func() {
		defer close(flight)
		for {
			b := make([]byte, chunkBytes)
			k, err := from.Read(b)
			if k > 0 {
				flight <- chunk{b: b[:k], at: time.Now()}
			}
			if err != nil {
				flight <- chunk{err: err, at: time.Now()}
				return
			}
		}
	}()
	defer func() {
		for range flight { // the reader must not be left waiting
		}
	}()
	for k := range flight {
		if c.isDeaf() {
			continue // also the end is not told
		}
		if !n.arrives(c, r, k.at) {
			_ = from.Close()
			return
		}
		if k.err != nil {
			if errors.Is(k.err, io.EOF) {
				_ = to.CloseWrite() // it may be gone
				return
			}
			c.reset()
			return
		}
		if _, err := to.Write(k.b); err != nil && !c.isDeaf() {
			c.reset()
			return
		}
	}
}

// arrives waits until what was sent at a time gets to the other end; false if the connection is gone meanwhile.
func (n *Network) arrives(c *conn, r route, sent time.Time) bool {
	for {
		n.mu.Lock()
		l, change := n.links[r], n.change
		n.mu.Unlock()
		var late <-chan time.Time
		if !l.cut {
			left := l.delay - time.Since(sent)
			if l.delay == 0 || left <= 0 {
				return true
			}
			late = time.After(left)
		}
		select {
		case <-late:
			return true
		case <-change:
		case <-c.deaf:
			return true
		case <-c.gone:
			return false
		}
	}
}

// passes waits while a direction is cut, as a dial does.
func (n *Network) passes(c *conn, from, to int) bool {
	wait := time.NewTimer(dialWithin)
	defer wait.Stop()
	for {
		n.mu.Lock()
		l, change, closed := n.links[route{from, to, c.port}], n.change, n.closed
		n.mu.Unlock()
		if closed {
			return false
		}
		if !l.cut {
			return true
		}
		select {
		case <-change:
		case <-wait.C:
			return false
		}
	}
}
