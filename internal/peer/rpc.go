package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// Method names what is called. 1 to 15 travel with the heartbeats, before all other calls; 240 to 255 belong to founding and are the only
// ones between processes of which one has not adopted a genesis.
type Method uint16

// The ranges of methods.
const (
	MethodHeartbeat Method = 1   // a broker to the controller: its session
	MethodSuspect   Method = 2   // among voters: is the process that leads gone?
	MethodIsr       Method = 3   // a leader of partitions to the controller: changes of ISRs
	MethodAlive     Method = 4   // is the process there?
	MethodOther     Method = 16  // and above: behind the heartbeats
	MethodRegister  Method = 16  // a broker to the controller: an incarnation
	MethodForward   Method = 17  // a client's request, to the controller
	MethodResign    Method = 19  // a broker to the controller: it stops
	MethodApplied   Method = 18  // which metadata offset a broker shows
	MethodCompare   Method = 20  // a leader to a follower: the checksum of a range
	MethodFound     Method = 240 // and above, to 255: founding
)

func (m Method) founding() bool { return m >= MethodFound && m <= 255 }

// CallHandler answers a call. The context ends with the caller's deadline or the connection. The payload is the handler's.
type CallHandler func(ctx context.Context, from *Hello, payload []byte) ([]byte, error)

// CastHandler takes a cast. It runs on the connection's reader: it must not block, and the payload is valid only during the call.
type CastHandler func(from *Hello, payload []byte)

// Handle sets who answers a method; nil for nobody.
func (m *Mesh) Handle(method Method, fn CallHandler) {
	if fn == nil {
		m.methods.Delete(method)
		return
	}
	m.methods.Store(method, fn)
}

// HandleCast sets who takes a type of frames from FrameMetalog on.
func (m *Mesh) HandleCast(t FrameType, fn CastHandler) { m.casts.Store(t, fn) }

// Cast sends a frame without waiting and reports whether it was queued. Only ClassControl has casts. The payload is copied.
func (m *Mesh) Cast(node int32, class Class, t FrameType, payload []byte) bool {
	if class != ClassControl || len(payload) > MaxFrame {
		return false
	}
	return m.cast(node, t, append(newFrame(), payload...))
}

// cast sends a frame made with newFrame.
func (m *Mesh) cast(node int32, t FrameType, b []byte) bool {
	c := m.out(node)
	if c == nil || c.founding || t < FrameMetalog {
		freeFrame(b)
		return false
	}
	seal(b, t, 0, 0, 0)
	return c.send(b, nil, t, 0) == nil
}

// out is the own connection to a node, or nil.
func (m *Mesh) out(node int32) *conn {
	if l := m.link(node); l != nil {
		return l.conn.Load()
	}
	return nil
}

const (
	callQueued int32 = iota
	callSent
	callGivenUp
)

// callsMost bounds the calls that wait on one connection.
const callsMost = 4096

// call is a request that waits for its response.
type call struct {
	state  atomic.Int32
	answer chan result // bound 1
}

type result struct {
	payload []byte
	err     error
}

// begin reports whether the request is still wanted; from then on it counts as sent.
func (k *call) begin() bool { return k.state.CompareAndSwap(callQueued, callSent) }

// lost ends the call with its connection.
func (k *call) lost(err error) {
	why := ErrUnknown
	if k.state.CompareAndSwap(callQueued, callGivenUp) {
		why = ErrUnreachable
	}
	k.finish(result{err: fmt.Errorf("%w: connection ended: %w", why, err)})
}

func (k *call) finish(r result) {
	select {
	case k.answer <- r:
	default: // it has an answer
	}
}

// Call runs a method on another node and returns its answer. ErrUnreachable, ErrBusy and ErrNoHandler: it did not run. ErrRemote: the
// handler's error. ErrUnknown, also when ctx ends first: it may have run.
func (m *Mesh) Call(ctx context.Context, node int32, method Method, payload []byte) ([]byte, error) {
	out, err := m.call(ctx, node, method, payload)
	if err != nil {
		return nil, fmt.Errorf("call method %d of node %d: %w", method, node, err)
	}
	return out, nil
}

func (m *Mesh) call(ctx context.Context, node int32, method Method, payload []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c := m.out(node)
	switch {
	case c == nil:
		return nil, ErrUnreachable
	case c.founding && !method.founding():
		return nil, fmt.Errorf("%w: one of the two has not adopted a cluster", ErrNoHandler)
	case len(payload) > MaxFrame-4:
		return nil, fmt.Errorf("%w: %d bytes", ErrMalformed, len(payload))
	}
	b := binary.BigEndian.AppendUint32(newFrame(), remainingMs(ctx))
	b = append(b, payload...)
	k := &call{answer: make(chan result, 1)}
	id := m.calls.Add(1)
	c.mu.Lock()
	full, gone := len(c.calls) >= callsMost, c.calls == nil
	if !full && !gone {
		c.calls[id] = k
	}
	c.mu.Unlock()
	if full || gone {
		freeFrame(b)
		if gone {
			return nil, ErrUnreachable
		}
		return nil, ErrBusy
	}
	defer func() {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
	}()
	seal(b, frameRequest, 0, method, id)
	if err := c.send(b, k, frameRequest, method); err != nil {
		return nil, err
	}
	select {
	case r := <-k.answer:
		return r.payload, r.err
	case <-ctx.Done():
		if k.state.CompareAndSwap(callQueued, callGivenUp) {
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
		}
		return nil, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// remainingMs is the time that a context leaves, 0 for no end.
func remainingMs(ctx context.Context) uint32 {
	end, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return uint32(min(max(time.Until(end).Milliseconds(), 1), math.MaxInt32))
}

// request runs the handler of a call on a goroutine of its own.
func (c *conn) request(ctx context.Context, h header, payload []byte) {
	fn, ok := c.m.methods.Load(h.method)
	if !ok || c.founding && !h.method.founding() || len(payload) < 4 {
		c.respond(h, flagNoHandler, nil)
		return
	}
	slots := c.slots[laneOf(frameRequest, h.method)]
	select {
	case slots <- struct{}{}:
	default:
		c.respond(h, flagBusy, nil)
		return
	}
	timeoutMs := binary.BigEndian.Uint32(payload)
	own := append([]byte(nil), payload[4:]...)
	c.handlers.Go(func() {
		defer func() { <-slots }()
		ending := ctx
		ctx, cancel := ctx, context.CancelFunc(func() {})
		if timeoutMs > 0 {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(timeoutMs)*time.Millisecond)
		}
		defer cancel()
		out, err := fn.(CallHandler)(ctx, &c.peer, own)
		switch {
		case err != nil && ending.Err() != nil: // broken off with the connection: what it has done is not known, and its end says so
		case err != nil:
			c.respond(h, flagError, []byte(err.Error()))
		case len(out) > MaxFrame:
			c.respond(h, flagError, []byte("answer too large"))
		default:
			c.respond(h, 0, out)
		}
	})
}

func (c *conn) respond(h header, flags uint8, payload []byte) {
	b := append(newFrame(), payload...)
	seal(b, frameResponse, flags, h.method, h.id)
	if err := c.send(b, nil, frameResponse, h.method); errors.Is(err, ErrBusy) {
		c.close(fmt.Errorf("%w: it does not read its answers", ErrBusy))
	}
}

// response gives an answer to the call that waits for it, if it still does.
func (c *conn) response(h header, payload []byte) {
	c.mu.Lock()
	k := c.calls[h.id]
	c.mu.Unlock()
	if k == nil {
		return
	}
	switch h.flags {
	case 0:
		k.finish(result{payload: append([]byte(nil), payload...)})
	case flagNoHandler:
		k.finish(result{err: ErrNoHandler})
	case flagBusy:
		k.finish(result{err: ErrBusy})
	default:
		k.finish(result{err: fmt.Errorf("%w: %s", ErrRemote, payload)})
	}
}
