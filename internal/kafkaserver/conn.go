package kafkaserver

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is one client connection. Its goroutine (run) owns everything but the responder and the atomics.
//
// The goroutine spends its life inside one RawConn.Read: the callback reads, serves what is complete, and after a read that did not fill
// the buffer returns false, which parks it until the socket's next edge. So a request costs one read and no EAGAIN. An edge that was
// used up before (data and FIN in one) is caught by the janitor.
type conn struct {
	s    *Server
	nc   net.Conn
	rc   syscall.RawConn
	host string
	out  responder

	ctx    context.Context // done when the connection is over
	cancel context.CancelFunc

	buf     *buffer // nil while nothing is buffered; bytes r..len(buf.b) are unread
	r       int
	err     error   // why the connection ends
	req     request // reused: one request is served at a time
	soft    software
	topics  topicCache
	fetcher fetcher

	// For the janitor. Times are in nanoseconds of the server's coarse clock.
	frameSince atomic.Int64 // when the frame that is incomplete began; 0: none is
	lastActive atomic.Int64
	serving    atomic.Bool // a handler runs
	peeked     atomic.Bool // looked for a lost end of stream since the last activity
	holds      atomic.Bool // an empty buffer is kept
	endReason  atomic.Pointer[error]
}

// software is what the client called itself in ApiVersions.
type software struct{ name, version string }

func newConn(s *Server, nc net.Conn, host string) (*conn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, errors.New("listener's connections have no descriptor")
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{s: s, nc: nc, rc: rc, host: host}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.out.init(nc, rc, s.limits.WriteTimeout, func(err error) {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errSlowReader
		}
		c.end(err)
	})
	c.out.total = &s.stats.bytesOut
	c.lastActive.Store(s.now.Load())
	return c, nil
}

// run serves the connection until it ends, and returns why.
func (c *conn) run() error {
	defer c.close()
	err := c.rc.Read(c.readable)
	for errors.Is(err, os.ErrDeadlineExceeded) && c.endReason.Load() == nil {
		// The janitor wants the buffer of a connection that is quiet. end works across this: it cancels ctx before it sets the deadline.
		if err = c.nc.SetReadDeadline(time.Time{}); err == nil {
			c.dropIfEmpty()
			err = c.rc.Read(c.readable)
		}
	}
	if why := c.endReason.Load(); why != nil {
		return *why
	}
	if c.err != nil {
		return c.err
	}
	return err
}

// end makes the connection's goroutine stop, from any goroutine: a blocked handler by its context, a parked read by its deadline.
func (c *conn) end(why error) {
	c.endReason.CompareAndSwap(nil, &why)
	c.cancel()
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// close gives everything back. Responses that are still pending are dropped when they complete.
func (c *conn) close() {
	// What was accepted is still answered, so that a mistake does not take the requests before it along.
	c.out.drain(time.Now().Add(lingerOnClose))
	c.cancel()
	c.out.drop()
	_ = c.nc.Close()
	c.dropBuffer()
}

// readable is the callback of RawConn.Read: true ends the connection.
func (c *conn) readable(fd uintptr) bool {
	for {
		if c.ctx.Err() != nil {
			return true
		}
		if c.err = c.room(); c.err != nil {
			return true
		}
		free := c.buf.b[len(c.buf.b):cap(c.buf.b)]
		n, err := readSocket(int(fd), free)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			c.park()
			return false
		case err != nil:
			c.err = err
			return true
		case n == 0:
			c.err = io.EOF
			return true
		}
		c.buf.b = c.buf.b[:len(c.buf.b)+n]
		c.s.stats.bytesIn.Add(int64(n))
		c.lastActive.Store(c.s.now.Load())
		c.peeked.Store(false)
		if c.err = c.serveBuffered(); c.err != nil {
			return true
		}
		if n < len(free) {
			c.park()
			return false
		}
	}
}

// serveBuffered serves the complete frames in the buffer.
func (c *conn) serveBuffered() error {
	for {
		if c.buf == nil || c.r == len(c.buf.b) {
			c.frameSince.Store(0)
			return nil
		}
		b := c.buf.b[c.r:]
		size, err := c.s.frameSize(b)
		if err != nil {
			return err
		}
		if size == 0 || len(b) < 4+size {
			if c.frameSince.Load() == 0 {
				c.frameSince.Store(c.s.now.Load())
			}
			return nil
		}
		c.r += 4 + size
		c.frameSince.Store(0)
		if err := c.serveFrame(b[4 : 4+size : 4+size]); err != nil {
			return err
		}
	}
}

// room makes place for the next read: at least something, and as much as the frame that has begun needs, but never more than twice what
// has arrived of it, so that a length alone reserves nothing.
func (c *conn) room() error {
	if c.buf == nil {
		return c.newBuffer(readChunkBytes, nil)
	}
	unread := c.buf.b[c.r:]
	need := readChunkBytes / 4
	if size, _ := c.s.frameSize(unread); size > 0 {
		need = min(4+size-len(unread), max(len(unread), readChunkBytes))
	}
	switch {
	case cap(c.buf.b)-len(c.buf.b) >= need && cap(c.buf.b) >= readChunkBytes:
		return nil
	case cap(c.buf.b) >= len(unread)+need && cap(c.buf.b) >= readChunkBytes:
		c.buf.b = c.buf.b[:copy(c.buf.b, unread)]
		c.r = 0
		return nil
	}
	return c.newBuffer(max(len(unread)+need, readChunkBytes), unread)
}

// newBuffer takes a buffer with room for n bytes from the budget, waiting for it at most for FrameTimeout, and moves data into it.
// Buffers of the common size have a budget of their own, so that frames that are large or slow do not stop all others. When there is not
// room for both, the old buffer's share goes to the new one, or a frame of more than half of the budget would wait for itself.
func (c *conn) newBuffer(n int, data []byte) error {
	if class := bufferClassOf(n); class >= 0 {
		n = smallestBuffer << class
	}
	budget := c.s.frameBudget
	if n <= readChunkBytes {
		budget = c.s.chunkBudget
	}
	if !budget.try(int64(n)) {
		var own int64
		if c.buf != nil && c.buf.taken == budget {
			own = min(c.buf.cost, int64(n))
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.s.limits.FrameTimeout)
		err := budget.take(ctx, int64(n)-own)
		cancel()
		if err != nil {
			return errNoMemory
		}
		if own > 0 {
			c.buf.cost -= own
		}
	}
	b := getBuffer(n)
	b.taken, b.cost = budget, int64(n)
	b.b = append(b.b, data...)
	c.dropBuffer()
	c.buf, c.r = b, 0
	return nil
}

// dropBuffer gives the read buffer back.
func (c *conn) dropBuffer() {
	c.buf.release()
	c.buf, c.r = nil, 0
}

// dropIfEmpty gives the read buffer back if nothing is in it.
func (c *conn) dropIfEmpty() {
	if c.buf != nil && c.r == len(c.buf.b) {
		c.dropBuffer()
		c.holds.Store(false)
	}
}

// park is called when the socket is empty: a connection with nothing pending keeps no buffer, but for a large one, which it will need
// again, until it has been quiet for a while; one with the beginning of a frame keeps as little as holds it.
func (c *conn) park() {
	if c.buf == nil {
		return
	}
	unread := len(c.buf.b) - c.r
	switch {
	case unread == 0 && cap(c.buf.b) > readChunkBytes && c.s.frameBudget.roomy():
		c.buf.b, c.r = c.buf.b[:0], 0
		c.holds.Store(true)
	case unread == 0:
		c.dropBuffer()
	case unread <= parkedBytes && cap(c.buf.b) > parkedBytes:
		// The old buffer goes back first: this must not wait for a budget that the connection itself holds.
		var begun [parkedBytes]byte
		n := copy(begun[:], c.buf.b[c.r:])
		c.dropBuffer()
		c.buf = getBuffer(parkedBytes)
		c.buf.b = append(c.buf.b, begun[:n]...)
	}
}

// serveFrame serves one request. An error closes the connection.
func (c *conn) serveFrame(frame []byte) error {
	h, body, err := parseHeader(frame, flexibleHeader)
	if err != nil {
		return err
	}
	c.s.stats.countRequest(h.key)
	a := lookup(h.key, h.version)
	switch {
	case a != nil && a.private && !chronikapi.IsClient(c.soft.name):
		return errUnknownKey
	case a != nil:
	case h.key == int16(kmsg.ApiVersions):
		return c.answerUnknownAPIVersions(h)
	case apiPlace(h.key) < 0 || apis[apiPlace(h.key)] == nil:
		return errUnknownKey
	default:
		return errVersion
	}
	if _, err := walkRequest(a.schemas[h.version-a.serveMin], body); err != nil {
		return err
	}
	n, ok := c.out.reserve(c.s.limits.MaxInFlight, c.s.limits.MaxResponseBytes)
	if !ok {
		return errPeerGone
	}
	c.begin(h, n)
	if a.raw != nil {
		return a.raw(c.s, &c.req, body)
	}
	if len(body) <= parkedBytes && c.r == len(c.buf.b) {
		// The handler may wait for minutes (JoinGroup): it shall not hold a read buffer for that.
		own := getBuffer(len(body))
		defer own.release()
		own.b = append(own.b, body...)
		body = own.b
		c.dropBuffer()
	}
	c.serving.Store(true)
	if a.controller && c.s.forwards() {
		return c.serveThroughController(a, n, body)
	}
	resp, err := a.handle(c.s, &c.req, body)
	c.serving.Store(false)
	c.lastActive.Store(c.s.now.Load())
	if err != nil {
		return err
	}
	if c.ctx.Err() != nil && c.s.ctx.Err() == nil {
		return errPeerGone
	}
	if resp == nil {
		c.out.completeBlocking(n, nil)
		return nil
	}
	c.out.completeBlocking(n, encode(a, &c.req, resp))
	return nil
}

// serveThroughController serves a request that the controller answers.
func (c *conn) serveThroughController(a *api, n uint64, body []byte) error {
	buf, err := c.s.throughController(a, &c.req, body)
	c.serving.Store(false)
	c.lastActive.Store(c.s.now.Load())
	switch {
	case err != nil:
		return err
	case c.ctx.Err() != nil && c.s.ctx.Err() == nil:
		buf.release()
		return errPeerGone
	}
	c.out.completeBlocking(n, buf)
	return nil
}

// begin fills the request that handlers see.
func (c *conn) begin(h header, n uint64) {
	r := &c.req
	var id *string
	if !h.nullClientID {
		if r.clientID != nil && *r.clientID == string(h.clientID) {
			id = r.clientID // the same client as before: no new string
		} else {
			s := string(h.clientID)
			id = &s
		}
	}
	*r = request{ctx: c.ctx, key: h.key, version: h.version, corrID: h.corrID, clientID: id, host: c.host,
		conn: c, slot: n}
}
