package peer

import "sync"

// The lanes of a control connection, the most urgent first.
const (
	laneMetalog = iota
	laneHeartbeat
	laneRest
	lanes
)

// Bounds of one lane. A single frame may be larger than laneBytes: an image of the metadata must pass.
const (
	laneFrames = 4096
	laneBytes  = 32 << 20
	// writeBytes is how much a writer takes at once, so that an urgent frame waits behind no more than that (or one frame).
	writeBytes = 256 << 10
)

func laneOf(t FrameType, method Method) int {
	switch {
	case t < FrameMetalog && (t == framePing || t == framePong || method > 0 && method < MethodOther):
		return laneHeartbeat
	case t < FrameMetalog:
		return laneRest
	case t < FrameHeartbeat:
		return laneMetalog
	case t < FrameOther:
		return laneHeartbeat
	}
	return laneRest
}

// queue holds what one connection has still to write. mu guards all but wake.
type queue struct {
	mu     sync.Mutex
	lanes  [lanes][]outgoing
	bytes  [lanes]int
	closed bool
	wake   chan struct{} // bound 1
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put adds a frame, or reports that it does not fit or that the connection is gone. The frame is the queue's only if it was taken.
func (q *queue) put(lane int, o outgoing) error {
	q.mu.Lock()
	switch {
	case q.closed:
		q.mu.Unlock()
		return ErrUnreachable
	case len(q.lanes[lane]) > 0 && (len(q.lanes[lane]) >= laneFrames || q.bytes[lane]+len(o.b) > laneBytes):
		q.mu.Unlock()
		return ErrBusy
	}
	q.lanes[lane] = append(q.lanes[lane], o)
	q.bytes[lane] += len(o.b)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// take moves what is to be written next to into: the most urgent lane first.
func (q *queue) take(into []outgoing) []outgoing {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	for lane := range q.lanes {
		n := 0
		for _, o := range q.lanes[lane] {
			if size > 0 && size+len(o.b) > writeBytes {
				break
			}
			into = append(into, o)
			size += len(o.b)
			q.bytes[lane] -= len(o.b)
			n++
		}
		rest := copy(q.lanes[lane], q.lanes[lane][n:])
		clear(q.lanes[lane][rest:])
		q.lanes[lane] = q.lanes[lane][:rest]
		if rest > 0 {
			break // full: lower lanes wait
		}
	}
	return into
}

// close drops what is queued and refuses more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for lane := range q.lanes {
		for _, o := range q.lanes[lane] {
			freeFrame(o.b)
		}
		q.lanes[lane], q.bytes[lane] = nil, 0
	}
}

// depth is the number of frames and bytes queued.
func (q *queue) depth() (frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for lane := range q.lanes {
		frames += len(q.lanes[lane])
		bytes += q.bytes[lane]
	}
	return frames, bytes
}
