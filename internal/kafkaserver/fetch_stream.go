package kafkaserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
)

// A large fetch response is not built in memory. Its exact size is found from the indexes, the heads of its partitions are encoded, and
// then the connection's goroutine sends piece after piece from one buffer: the client works on the first megabyte while the next is
// read, and memory that is used over and over stays in the processor's caches. Batches are verbatim, so a piece is what was measured,
// wherever it has moved meanwhile; where it is not, the connection is closed rather than fed with something else.
const (
	// streamAbove is how many bytes of records make a response one that is streamed.
	streamAbove = 1<<20 - 64<<10
	// streamBuffer is the size of the pieces; a batch that is larger is a piece of its own.
	streamBuffer = 1 << 20
	// streamLead is left free before the first batch in a buffer: reads from the WAL then need no second copy.
	streamLead = 128
	// maxSuspects bounds the partitions that are not streamed.
	maxSuspects = 1024
	// suspectFor is how long a partition is not streamed after its log was found damaged in the middle of a response. Its clients then get
	// what is before the damage, and after that the error.
	suspectFor = 10 * time.Minute
)

// errStreamBroken ends a connection in the middle of a response.
var errStreamBroken = errors.New("kafkaserver: records of a response that had begun could not be read")

// suspects are the partitions that are not to be streamed for a while.
type suspects struct {
	mu    sync.Mutex // guards until
	until map[partition.ID]time.Time
}

func (s *suspects) add(id partition.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil || len(s.until) >= maxSuspects {
		s.until = map[partition.ID]time.Time{}
	}
	s.until[id] = time.Now().Add(suspectFor)
}

func (s *suspects) has(id partition.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.until[id]
	if ok && time.Now().After(until) {
		delete(s.until, id)
		ok = false
	}
	return ok
}

// streams reports whether a response with so many bytes of records is streamed.
func (s *Server) streams(f *fetcher, planned int) bool {
	if planned <= streamAbove {
		return false
	}
	for i := range f.parts {
		if p := &f.parts[i]; p.available > 0 && (p.replica == nil || s.suspects.has(p.replica.ID())) {
			return false
		}
	}
	return true
}

// measureRecords writes the length of a partition's records and notes where they go.
func (s *Server) measureRecords(b []byte, p *fetchPart, q *fetchQuery, maxBytes int, first bool) ([]byte, error) {
	e, err := p.replica.Log().Extent(p.offset, p.limit(q), maxBytes, first)
	if err != nil {
		s.logReadError(p, err)
		return b, err
	}
	b = appendBytesLength(b, int(e.Bytes), q.version >= fetchFlexible)
	p.extent, p.recordsAt, p.sent = e, len(b), int(e.Bytes)
	return b, nil
}

// stream is one response on its way: heads with the records between them.
type stream struct {
	s      *Server
	c      *conn
	buf    *buffer
	heads  []byte
	cut    int // how much of heads has been taken
	lapsed time.Time
}

// streamFetch sends a response whose heads are encoded and takes heads over, and streamBuffer bytes taken from the budget. The slot is
// complete afterwards.
func (s *Server) streamFetch(r *request, f *fetcher, heads *buffer) error {
	defer heads.release()
	c := r.conn
	t := stream{s: s, c: c, heads: heads.b}
	t.use(streamBuffer)
	defer func() { t.buf.release() }()
	if !c.out.seize(r.slot) {
		return errPeerGone
	}
	err := t.send(f)
	if err != nil {
		c.out.fail(err)
		return err
	}
	c.out.yield(r.slot)
	return nil
}

func (t *stream) send(f *fetcher) error {
	for i := range f.parts {
		p := &f.parts[i]
		if !p.include || p.sent == 0 {
			continue
		}
		if err := t.copyHeads(p.recordsAt); err != nil {
			return err
		}
		if err := t.sendRecords(p); err != nil {
			return err
		}
	}
	if err := t.copyHeads(len(t.heads)); err != nil {
		return err
	}
	return t.flush()
}

// copyHeads puts the heads up to a mark into the buffer.
func (t *stream) copyHeads(to int) error {
	for t.cut < to {
		free := t.buf.b[len(t.buf.b):cap(t.buf.b)]
		n := copy(free, t.heads[t.cut:to])
		t.buf.b = t.buf.b[:len(t.buf.b)+n]
		t.cut += n
		if t.cut < to {
			if err := t.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendRecords puts exactly the measured records of a partition into the buffer and sends what is full.
func (t *stream) sendRecords(p *fetchPart) error {
	log := p.replica.Log()
	at, left := p.offset, p.extent.Bytes
	for left > 0 {
		have := len(t.buf.b)
		out, err := log.Read(t.buf.b, at, p.extent.End, int(min(left, int64(cap(t.buf.b)-have))), false)
		if err != nil {
			return t.broken(p, at, err)
		}
		n := len(out) - have
		if cap(out) == cap(t.buf.b) {
			t.buf.b = out
		} else { // the read needed more room for a while
			t.buf.b = append(t.buf.b, out[have:]...)
		}
		left -= int64(n)
		if n > 0 {
			if at, err = endOfBatches(out[have:], at); err != nil {
				return t.broken(p, at, err)
			}
			continue
		}
		if err := t.widen(p, at, left); err != nil {
			return err
		}
	}
	if at != p.extent.End {
		return t.broken(p, at, errors.New("the records are not those that were measured"))
	}
	return nil
}

// widen sends what is in the buffer and, where the next batch does not fit even then, takes a buffer for it.
func (t *stream) widen(p *fetchPart, at, left int64) error {
	empty := len(t.buf.b) == streamLead
	if !empty {
		return t.flush()
	}
	next, err := p.replica.Log().Extent(at, p.extent.End, 1, true)
	if err == nil && (next.Bytes == 0 || next.Bytes > left || next.Bytes <= int64(cap(t.buf.b)-streamLead)) {
		err = errors.New("the records are not those that were measured")
	}
	if err != nil {
		return t.broken(p, at, err)
	}
	return t.room(int(next.Bytes) + streamLead)
}

// room takes a buffer of n bytes. The old one, which is empty, goes first: nobody holds memory while waiting for memory.
func (t *stream) room(n int) error {
	t.buf.release()
	t.buf = nil
	if class := bufferClassOf(n); class >= 0 {
		n = smallestBuffer << class
	}
	if !t.s.takeFetchMemory(t.c.ctx, int64(n)) {
		return errNoMemory
	}
	t.use(n)
	return nil
}

// use begins a buffer of n bytes, which have been taken from the budget.
func (t *stream) use(n int) {
	t.buf = getBuffer(n)
	t.buf.taken, t.buf.cost = t.s.fetchBudget, int64(n)
	t.buf.b = t.buf.b[:streamLead]
}

// flush sends what is in the buffer.
func (t *stream) flush() error {
	if t.c.ctx.Err() != nil { // as for other responses, a connection that ends has a moment to take what is under way
		now := time.Now()
		if t.lapsed.IsZero() {
			t.lapsed = now
		}
		if now.Sub(t.lapsed) > lingerOnClose {
			return context.Cause(t.c.ctx)
		}
	}
	b := t.buf.b[streamLead:]
	t.buf.b = t.buf.b[:streamLead]
	if len(b) == 0 {
		return nil
	}
	t.c.lastActive.Store(t.s.now.Load())
	return t.c.out.send(b)
}

// broken is the end of a response that cannot be finished.
func (t *stream) broken(p *fetchPart, at int64, err error) error {
	if !errors.Is(err, partition.ErrOutOfRange) {
		t.s.suspects.add(p.replica.ID())
	}
	t.s.logReadError(p, err)
	return fmt.Errorf("%w: %s-%d at %d: %w", errStreamBroken, p.replica.Topic(), p.index, at, err)
}

// endOfBatches is the offset behind the last of whole batches, the first of which contains offset at.
func endOfBatches(b []byte, at int64) (int64, error) {
	for len(b) > 0 {
		h, err := recordbatch.ParseHeader(b)
		if err != nil || h.Size() > len(b) {
			return at, fmt.Errorf("batch at %d: %w", at, partition.ErrCorrupt)
		}
		at = h.LastOffset() + 1
		b = b[h.Size():]
	}
	return at, nil
}
