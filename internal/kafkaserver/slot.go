package kafkaserver

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// slotState is the state of a response's place in its connection's order.
type slotState uint8

const (
	slotPending slotState = iota
	slotReady             // buf is to be sent; nil: nothing is sent (acks=0)
)

// slot is one place: responses leave in the order of the slots.
type slot struct {
	state slotState
	buf   *buffer
}

// slotQueue is a FIFO of slots, numbered from the connection's first request on.
type slotQueue struct {
	ring       []slot // length a power of two
	head, tail uint64 // numbers of the first slot and of the next one
}

func (q *slotQueue) len() int { return int(q.tail - q.head) }

func (q *slotQueue) at(n uint64) *slot { return &q.ring[n&uint64(len(q.ring)-1)] }

// push adds a pending slot and returns its number.
func (q *slotQueue) push() uint64 {
	if q.len() == len(q.ring) {
		ring := make([]slot, max(8, 2*len(q.ring)))
		for n := q.head; n != q.tail; n++ {
			ring[n&uint64(len(ring)-1)] = *q.at(n)
		}
		q.ring = ring
	}
	n := q.tail
	*q.at(n) = slot{}
	q.tail++
	return n
}

// responder is the writing half of a connection: the slots and what is being sent. Any goroutine completes slots; at most one at a time
// writes (writing), and only that one touches out and sent.
type responder struct {
	nc     net.Conn
	rc     syscall.RawConn
	wait   time.Duration // WriteTimeout
	onFail func(error)   // tells the reading half, once or more
	total  *atomic.Int64 // counts the bytes sent; nil: nobody does

	mu       lockWithCond // guards the rest but out and sent
	slots    slotQueue
	unsent   int // bytes in ready slots and in out
	writing  bool
	failed   bool // no response will be sent any more
	stopping bool

	out  []*buffer // taken from the slots, being sent
	sent int       // bytes of out[0] that the socket has

	iovecs   [][]byte
	wrote    int
	writeErr error
	tryFn    func(fd uintptr)
	waitFn   func(fd uintptr) bool
}

// init makes the closures that the write calls need, once per connection.
func (w *responder) init(nc net.Conn, rc syscall.RawConn, wait time.Duration, onFail func(error)) {
	w.nc, w.rc, w.wait, w.onFail = nc, rc, wait, onFail
	w.mu.init()
	w.tryFn = func(fd uintptr) { w.wrote, w.writeErr = writeSocket(int(fd), w.iovecs) }
	w.waitFn = func(fd uintptr) bool {
		w.wrote, w.writeErr = writeSocket(int(fd), w.iovecs)
		return w.writeErr != syscall.EAGAIN
	}
}

// reserve adds a pending slot. It waits while too many are unanswered or too much is unsent; false means that the connection is done.
func (w *responder) reserve(maxSlots, maxBytes int) (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.failed && (w.slots.len() >= maxSlots || w.unsent >= maxBytes) {
		w.mu.Wait()
	}
	if w.failed {
		return 0, false
	}
	return w.slots.push(), true
}

// complete fills slot n with its response (nil: none is sent) and sends what has come to the head, as far as the socket takes it at
// once. It never blocks.
func (w *responder) complete(n uint64, buf *buffer) {
	if w.fill(n, buf) {
		w.flush(false)
	}
}

// completeBlocking is complete for the connection's own goroutine, which may wait for the socket.
func (w *responder) completeBlocking(n uint64, buf *buffer) {
	if w.fill(n, buf) {
		w.flush(true)
	}
}

// seize makes the caller, who is to send the response of slot n by itself, the writer as soon as the slot is at the head. False: the
// connection is done. The caller sends, and then calls yield or fail.
func (w *responder) seize(n uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.failed && (w.writing || w.slots.head != n) {
		w.mu.Wait()
	}
	if w.failed {
		return false
	}
	w.writing = true
	return true
}

// send writes b, waiting for the socket. Only for one who has seized the head.
func (w *responder) send(b []byte) error {
	for len(b) > 0 {
		w.iovecs = append(w.iovecs[:0], b)
		if err := w.writeOnce(true); err != nil && err != syscall.EINTR {
			return err
		} else if err != nil {
			continue
		}
		if w.total != nil {
			w.total.Add(int64(w.wrote))
		}
		b = b[w.wrote:]
	}
	w.iovecs[0] = nil
	return nil
}

// yield ends what seize began: slot n has been sent, and what is ready behind it follows.
func (w *responder) yield(n uint64) {
	w.mu.Lock()
	if !w.failed {
		w.slots.at(n).state = slotReady
	}
	w.mu.Unlock()
	w.flush(true)
}

// fill makes slot n ready and reports whether the caller has become the writer and must flush.
func (w *responder) fill(n uint64, buf *buffer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed {
		buf.release()
		return false
	}
	s := w.slots.at(n)
	s.state, s.buf = slotReady, buf
	if buf != nil {
		w.unsent += len(buf.b) + responseOverhead
	}
	if w.writing || n != w.slots.head {
		return false
	}
	w.writing = true
	return true
}

// flush sends consecutive ready responses from the head on until there are none. The caller has set writing.
func (w *responder) flush(mayWait bool) {
	for w.gather() {
		err := w.write(mayWait)
		if err == syscall.EAGAIN {
			go w.flush(true) // one at a time: writing stays set
			return
		}
		if err != nil {
			w.fail(err)
			return
		}
	}
}

// gather moves ready responses into out. False means that there are none and that the caller is no longer the writer.
func (w *responder) gather() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.failed && w.slots.len() > 0 && len(w.out) < flushIovecs {
		s := w.slots.at(w.slots.head)
		if s.state != slotReady {
			break
		}
		if s.buf != nil {
			w.out = append(w.out, s.buf)
		}
		*s = slot{}
		w.slots.head++
	}
	if len(w.out) > 0 && !w.failed {
		return true
	}
	w.writing = false
	w.mu.Broadcast()
	return false
}

// write sends out, in one call as far as the socket takes it. Without mayWait a full socket is EAGAIN.
func (w *responder) write(mayWait bool) error {
	for len(w.out) > 0 {
		w.iovecs = w.iovecs[:0]
		for i, b := range w.out {
			p := b.b
			if i == 0 {
				p = p[w.sent:]
			}
			w.iovecs = append(w.iovecs, p)
		}
		err := w.writeOnce(mayWait)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		w.advance(w.wrote)
	}
	return nil
}

// writeOnce sends of iovecs what the socket takes in one call; wrote is how much.
func (w *responder) writeOnce(mayWait bool) error {
	err := w.rc.Control(w.tryFn)
	if err == nil {
		err = w.writeErr
	}
	if err == syscall.EAGAIN && mayWait {
		if err = w.nc.SetWriteDeadline(time.Now().Add(w.wait)); err == nil {
			err = w.rc.Write(w.waitFn)
		}
		if err == nil {
			err = w.writeErr
		}
	}
	return err
}

// advance drops n sent bytes from out.
func (w *responder) advance(n int) {
	done := 0
	bytes := 0
	w.sent += n
	if w.total != nil {
		w.total.Add(int64(n))
	}
	for done < len(w.out) && w.sent >= len(w.out[done].b) {
		w.sent -= len(w.out[done].b)
		bytes += len(w.out[done].b) + responseOverhead
		w.out[done].release()
		done++
	}
	if done == 0 {
		return
	}
	rest := copy(w.out, w.out[done:])
	clear(w.out[rest:])
	w.out = w.out[:rest]
	w.mu.Lock()
	w.unsent -= bytes
	w.mu.Broadcast()
	w.mu.Unlock()
}

// fail ends the sending for good and drops what is queued. The caller is the writer.
func (w *responder) fail(err error) {
	w.drop()
	for _, b := range w.out {
		b.release()
	}
	w.out = w.out[:0]
	w.mu.Lock()
	w.writing = false
	w.mu.Broadcast()
	w.mu.Unlock()
	w.onFail(err)
}

// drop makes every further response vanish and releases the queued ones. What is being written is left to the writer.
func (w *responder) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = true
	for ; w.slots.head != w.slots.tail; w.slots.head++ {
		w.slots.at(w.slots.head).buf.release()
		*w.slots.at(w.slots.head) = slot{}
	}
	w.mu.Broadcast()
}

// drain waits until every slot is answered and sent, or until the deadline.
func (w *responder) drain(deadline time.Time) {
	timer := time.AfterFunc(time.Until(deadline), func() {
		w.mu.Lock()
		w.stopping = true
		w.mu.Broadcast()
		w.mu.Unlock()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.failed && !w.stopping && (w.slots.len() > 0 || w.writing) {
		w.mu.Wait()
	}
}

// outstanding is the number of requests without a sent response.
func (w *responder) outstanding() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots.len() + len(w.out)
}

// readyConns are the connections that a commit, or an ack of a follower, has made ready to send.
type readyConns struct {
	mu    sync.Mutex   // guards both
	list  []*responder // each has writing set
	spare []*responder
}

func (r *readyConns) add(w *responder) {
	r.mu.Lock()
	r.list = append(r.list, w)
	r.mu.Unlock()
}

// flush sends what is ready. It never blocks.
func (r *readyConns) flush() {
	r.mu.Lock()
	list := r.list
	r.list, r.spare = r.spare[:0], nil
	r.mu.Unlock()
	for _, w := range list {
		w.flush(false)
	}
	clear(list)
	r.mu.Lock()
	r.spare = list[:0]
	r.mu.Unlock()
}
