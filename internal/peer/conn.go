package peer

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errRenewed  = errors.New("ended by this node")
	errReplaced = errors.New("replaced by a newer connection")
)

const (
	pingEvery = time.Second
	// silence ends a connection on which nothing came, pings included; a machine under full load was seen silent for 2.7 s.
	silence      = 10 * time.Second
	writeTimeout = 10 * time.Second
	readBuffer   = 64 << 10
	// keepRead bounds the buffer for casts that is kept between frames.
	keepRead = 1 << 20
	// handlersMost bounds the calls of one lane of a connection that run at once.
	handlersMost = 256
)

// conn is a control connection. The side that dialed sends casts and requests; the other one only answers.
type conn struct {
	m         *Mesh
	nc        net.Conn
	own, peer Hello
	out       bool // this side dialed
	founding  bool
	q         *queue
	heard     atomic.Int64 // Unix ms of the last frame
	done      chan struct{}
	once      sync.Once
	slots     [lanes]chan struct{}
	handlers  sync.WaitGroup

	mu    sync.Mutex // guards the rest
	err   error
	calls map[uint64]*call // nil once closed
}

func newConn(m *Mesh, nc net.Conn, own, other *Hello, out bool) *conn {
	tune(nc)
	c := &conn{m: m, nc: nc, own: *own, peer: *other, out: out, founding: own.Founding || other.Founding, q: newQueue(),
		done: make(chan struct{}), calls: map[uint64]*call{}}
	for i := range c.slots {
		c.slots[i] = make(chan struct{}, handlersMost)
	}
	c.heard.Store(time.Now().UnixMilli())
	return c
}

// close ends the connection; the first reason is the one that counts.
func (c *conn) close(err error) {
	c.once.Do(func() {
		c.mu.Lock()
		calls := c.calls
		c.calls, c.err = nil, err
		c.mu.Unlock()
		close(c.done)
		_ = c.nc.Close() // the reason is err
		c.q.close()
		for _, k := range calls {
			k.lost(err)
		}
	})
}

// serve reads and writes until the connection ends, and returns why.
func (c *conn) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { c.close(ErrClosed) })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { c.close(c.write()) })
	c.close(c.read(ctx))
	cancel()
	wg.Wait()
	c.handlers.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) write() error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	var batch []outgoing
	var bufs net.Buffers
	for {
		select {
		case <-c.done:
			return nil
		case <-tick.C:
			if c.out {
				c.ping(framePing)
			}
		case <-c.q.wake:
		}
		for {
			if batch = c.q.take(batch[:0]); len(batch) == 0 {
				break
			}
			list := bufs[:0]
			for _, o := range batch {
				if o.call == nil || o.call.begin() {
					list = append(list, o.b)
				}
			}
			if len(list) > 0 {
				if err := c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
					return err
				}
				bufs = list // WriteTo consumes the slice it is called on
				if _, err := bufs.WriteTo(c.nc); err != nil {
					return err
				}
				bufs = list
			}
			for _, o := range batch {
				freeFrame(o.b)
			}
			clear(batch)
		}
	}
}

func (c *conn) ping(t FrameType) {
	b := newFrame()
	seal(b, t, 0, 0, 0)
	if c.q.put(laneHeartbeat, outgoing{b: b}) != nil {
		freeFrame(b) // there is enough to hear without it
	}
}

func (c *conn) read(ctx context.Context) error {
	r := bufio.NewReaderSize(c.nc, readBuffer)
	var buf []byte
	var deadline time.Time
	for {
		now := time.Now()
		c.heard.Store(now.UnixMilli())
		if now.Sub(deadline) > -silence+pingEvery {
			deadline = now.Add(silence)
			if err := c.nc.SetReadDeadline(deadline); err != nil {
				return err
			}
		}
		h, payload, err := readFrame(r, buf[:0])
		if err != nil {
			return err
		}
		if buf = payload; cap(buf) > keepRead {
			buf = nil
		}
		switch {
		case h.typ == framePing && !c.out:
			c.ping(framePong)
		case h.typ == framePong:
		case h.typ == frameRequest && !c.out:
			c.request(ctx, h, payload)
		case h.typ == frameResponse && c.out:
			c.response(h, payload)
		case h.typ >= FrameMetalog && !c.out:
			if fn, ok := c.m.casts.Load(h.typ); ok && !c.founding {
				fn.(CastHandler)(&c.peer, payload)
			}
		default:
			return ErrMalformed
		}
	}
}

// send queues a sealed frame, which belongs to the connection from now on.
func (c *conn) send(b []byte, k *call, t FrameType, method Method) error {
	err := c.q.put(laneOf(t, method), outgoing{b: b, call: k})
	if err != nil {
		freeFrame(b)
	}
	return err
}
