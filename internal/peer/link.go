package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	dialTimeout = 2 * time.Second
	backoffMin  = 20 * time.Millisecond
	backoffMax  = time.Second
	// steady is how long a connection has to last for the next dial to come at once.
	steady = time.Second
)

// link keeps this node's own control connection to one other node.
type link struct {
	m      *Mesh
	node   int32
	conn   atomic.Pointer[conn]
	wake   chan struct{} // bound 1
	quit   chan struct{}
	closed sync.Once
}

func newLink(m *Mesh, node int32) *link {
	return &link{m: m, node: node, wake: make(chan struct{}, 1), quit: make(chan struct{})}
}

// poke ends the wait before the next dial.
func (l *link) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) stop() {
	l.closed.Do(func() { close(l.quit) })
	if c := l.conn.Load(); c != nil {
		c.close(ErrClosed)
	}
}

func (l *link) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-l.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	backoff := time.Duration(0)
	for ctx.Err() == nil {
		began := time.Now()
		connected := l.once(ctx)
		if connected && time.Since(began) > steady {
			backoff = 0
			continue
		}
		backoff = min(max(2*backoff, backoffMin), backoffMax)
		wait := time.NewTimer(backoff/2 + rand.N(backoff/2))
		select {
		case <-l.wake:
			if !connected { // an end that is worth a dial at once, but not a tight loop
				backoff = 0
			}
			select {
			case <-time.After(backoffMin / 4):
			case <-ctx.Done():
			}
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
}

// once dials and serves the connection to its end.
func (l *link) once(ctx context.Context) (connected bool) {
	address := l.m.o.Addr(l.node)
	if address == "" {
		return false
	}
	gen := l.m.gen.Load()
	nc, err := l.m.o.dial(ctx, address)
	if err != nil {
		l.m.unreachable(l.node, err)
		return false
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	own, other, err := l.m.greet(nc, l.node, ClassControl)
	if err != nil {
		_ = nc.Close()
		var r *Refusal
		if asRefusal(err, &r) {
			l.m.refused(l.node, true, r)
		} else {
			l.m.unreachable(l.node, err)
		}
		return false
	}
	c := newConn(l.m, nc, own, other, true)
	l.conn.Store(c)
	if l.m.gen.Load() != gen || ctx.Err() != nil {
		l.conn.Store(nil)
		c.close(errRenewed)
		return false
	}
	l.m.connected(c)
	err = c.serve(ctx)
	l.conn.Store(nil)
	l.m.disconnected(c, err)
	return true
}

// refusedDial reports whether the other machine answered that nobody listens there.
func refusedDial(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// tune makes keep-alives find machines that are gone while nothing is sent.
func tune(nc net.Conn) {
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetKeepAlivePeriod(5 * time.Second) // a wish
	}
}
