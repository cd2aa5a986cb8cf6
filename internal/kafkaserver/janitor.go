package kafkaserver

import (
	"context"
	"syscall"
	"time"
)

// janitor keeps the coarse clock and ends connections that are idle, send a frame too slowly, or are gone without the reader having
// been told. Timers per request would cost more than this one pass a second over all connections.
func (s *Server) janitor(ctx context.Context) {
	t := time.NewTicker(janitorPeriod)
	defer t.Stop()
	var conns []*conn
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.now.Store(time.Now().UnixNano())
		conns = conns[:0]
		s.mu.Lock()
		for c := range s.conns {
			conns = append(conns, c)
		}
		s.mu.Unlock()
		for _, c := range conns {
			c.inspect(s.now.Load())
		}
		clear(conns)
		if n%10 == 9 {
			trimBuffers()
		}
	}
}

// inspect is the janitor's look at one connection.
func (c *conn) inspect(now int64) {
	l := &c.s.limits
	if since := c.frameSince.Load(); since != 0 && now-since > int64(l.FrameTimeout) {
		c.end(errSlowFrame)
		return
	}
	quiet := now - c.lastActive.Load()
	if quiet < int64(janitorPeriod) {
		return
	}
	// Quiet: look once for an end of stream that came together with the last data. While a handler blocks nobody reads, so look each
	// time: a client that has gone need not be waited for.
	if serving := c.serving.Load(); serving || !c.peeked.Swap(true) {
		if c.peerGone() {
			c.end(errPeerGone)
			return
		}
	}
	if quiet > int64(keepBuffer) && c.holds.Load() {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
	if quiet > int64(l.IdleTimeout) && !c.serving.Load() && c.out.outstanding() == 0 {
		c.end(errIdle)
	}
}

// peerGone looks at the socket without taking anything from it.
func (c *conn) peerGone() bool {
	gone := false
	err := c.rc.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = err == nil && n == 0 || err == syscall.ECONNRESET
	})
	return gone || err != nil
}
