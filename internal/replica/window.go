package replica

// SendWindow remembers what was sent on one stream and not yet acked: which part of which partition is in which frame. P names a
// partition. It belongs to one stream; the caller holds its lock.
type SendWindow[P comparable] struct {
	items []sentItem[P]
	head  int
	next  uint64 // sequence of the frame begun last; the first is 1
}

type sentItem[P comparable] struct {
	seq   uint64
	p     P
	epoch int32 // leader epoch
	end   int64 // offset after what the frame has of the partition
	void  bool  // refused
}

// Current is the sequence of the frame begun last, which may still be built; 0 before the first.
func (w *SendWindow[P]) Current() uint64 { return w.next }

// Frame begins the next frame and returns its sequence.
func (w *SendWindow[P]) Frame() uint64 {
	w.next++
	return w.next
}

// Sent adds a partition's part to the frame begun last.
func (w *SendWindow[P]) Sent(p P, epoch int32, end int64) {
	if w.head > 1024 && w.head*2 > len(w.items) {
		n := copy(w.items, w.items[w.head:])
		clear(w.items[n:])
		w.items, w.head = w.items[:n], 0
	}
	w.items = append(w.items, sentItem[P]{seq: w.next, p: p, epoch: epoch, end: end})
}

// Acked takes the parts of all frames up to upTo out of the window and hands out those that were not refused, in order. false: upTo was
// never sent.
func (w *SendWindow[P]) Acked(upTo uint64, fn func(p P, epoch int32, end int64)) bool {
	if upTo > w.next {
		return false
	}
	for w.head < len(w.items) && w.items[w.head].seq <= upTo {
		it := &w.items[w.head]
		if !it.void {
			fn(it.p, it.epoch, it.end)
		}
		*it = sentItem[P]{}
		w.head++
	}
	if w.head == len(w.items) {
		w.items, w.head = w.items[:0], 0
	}
	return true
}

// Refused makes void what the frames up to seq have of a partition: an ack of them says nothing about it.
func (w *SendWindow[P]) Refused(seq uint64, p P) {
	for i := w.head; i < len(w.items) && w.items[i].seq <= seq; i++ {
		if w.items[i].p == p {
			w.items[i].void = true
		}
	}
}

// AckQueue is the receiving end of a stream: frames that were taken and are not durable yet.
type AckQueue struct {
	frames []ackFrame
	acked  uint64
	last   uint64
}

type ackFrame struct {
	seq uint64
	wal uint64 // commit of the WAL after which all of the frame is durable
}

// Begin tells that a frame is being taken: a refusal from now on is of it too.
func (q *AckQueue) Begin(seq uint64) { q.last = seq }

// Received adds the frame begun last: all it had is durable when the WAL's commit wal is.
func (q *AckQueue) Received(wal uint64) {
	seq := q.last
	if n := len(q.frames); n > 0 && q.frames[n-1].wal >= wal { // the same commit, or nothing of its own
		q.frames[n-1].seq = seq
		return
	}
	q.frames = append(q.frames, ackFrame{seq, wal})
}

// Last is the sequence of the frame begun last.
func (q *AckQueue) Last() uint64 { return q.last }

// Durable takes the frames that are durable with the WAL's commit wal, and returns the newest of them; false if there is nothing new.
func (q *AckQueue) Durable(wal uint64) (upTo uint64, ok bool) {
	n := 0
	for n < len(q.frames) && q.frames[n].wal <= wal {
		q.acked, ok = q.frames[n].seq, true
		n++
	}
	q.frames = q.frames[:copy(q.frames, q.frames[n:])]
	return q.acked, ok
}
