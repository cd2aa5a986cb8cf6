package peer

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Stream is a connection of its own for replication: framed, checked, in order. Reading and writing may go on side by side, each by one
// goroutine.
type Stream interface {
	// Peer is the process at the other end.
	Peer() *Hello
	// WriteFrame queues a frame in a buffer; Flush sends it.
	WriteFrame(t FrameType, payload []byte) error
	Flush() error
	// ReadFrame returns the next frame, its payload appended to dst.
	ReadFrame(dst []byte) (FrameType, []byte, error)
	// SetDeadline bounds reads and writes, as of net.Conn.
	SetDeadline(t time.Time) error
	Close() error
}

// StreamHandler serves a stream that another node has opened; the stream is closed when it returns.
type StreamHandler func(ctx context.Context, s Stream)

// HandleStream sets who serves the streams of a class.
func (m *Mesh) HandleStream(class Class, fn StreamHandler) { m.streams.Store(class, fn) }

const streamBuffer = 256 << 10

type stream struct {
	m    *Mesh
	nc   net.Conn
	peer Hello
	r    *bufio.Reader
	w    *bufio.Writer
	head [frameHeader]byte
	once sync.Once
}

func newStream(m *Mesh, nc net.Conn, other *Hello) (*stream, error) {
	tune(nc)
	s := &stream{m: m, nc: nc, peer: *other, r: bufio.NewReaderSize(nc, streamBuffer), w: bufio.NewWriterSize(nc, streamBuffer)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil || m.ctx.Err() != nil {
		return nil, ErrClosed
	}
	m.bulk[nc] = struct{}{}
	return s, nil
}

// Open dials a stream to a node.
func (m *Mesh) Open(ctx context.Context, node int32, class Class) (Stream, error) {
	if class != ClassLive && class != ClassCatchUp {
		return nil, fmt.Errorf("open %s stream to node %d: %w", class, node, ErrNoHandler)
	}
	nc, err := m.o.dial(ctx, m.o.Addr(node))
	if err != nil {
		return nil, fmt.Errorf("open %s stream to node %d: %w: %w", class, node, ErrUnreachable, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	_, other, err := m.greet(nc, node, class)
	if stop(); err != nil {
		_ = nc.Close() // the handshake's error is what matters
		return nil, fmt.Errorf("open %s stream to node %d: %w", class, node, err)
	}
	s, err := newStream(m, nc, other)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return s, nil
}

func (m *Mesh) serveStream(ctx context.Context, nc net.Conn, class Class, _, other *Hello) {
	fn, ok := m.streams.Load(class)
	s, err := newStream(m, nc, other)
	if !ok || err != nil {
		_ = nc.Close()
		return
	}
	defer s.Close()
	fn.(StreamHandler)(ctx, s)
}

func (s *stream) Peer() *Hello { return &s.peer }

func (s *stream) WriteFrame(t FrameType, payload []byte) error {
	if len(payload) > MaxFrame {
		return fmt.Errorf("write frame: %w: %d bytes", ErrMalformed, len(payload))
	}
	sealHeader(s.head[:], payload, t)
	if _, err := s.w.Write(s.head[:]); err != nil {
		return err
	}
	_, err := s.w.Write(payload)
	return err
}

func (s *stream) Flush() error { return s.w.Flush() }

func (s *stream) ReadFrame(dst []byte) (FrameType, []byte, error) {
	h, b, err := readFrame(s.r, dst)
	return h.typ, b, err
}

func (s *stream) SetDeadline(t time.Time) error { return s.nc.SetDeadline(t) }

func (s *stream) Close() error {
	s.once.Do(func() {
		s.m.mu.Lock()
		delete(s.m.bulk, s.nc)
		s.m.mu.Unlock()
	})
	return s.nc.Close()
}
