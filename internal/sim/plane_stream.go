package sim

import "github.com/chronik-io/chronik/internal/replica"

// stream is one connection on which a leader's node pushes to a follower's. Its ends learn apart that it is broken; until then what is
// under way may still be read.
type stream struct {
	id       int
	from, to *machine
	// The incarnations it connects.
	fromNonce, toNonce uint64

	sending     bool // the sender's end is open
	brokerEpoch int64
	window      replica.SendWindow[int]
	building    *pushFrame

	receiving bool // the receiver's end is open
	queue     replica.AckQueue
	refusals  []answer
	readies   []answer
	pinged    bool
	acked     uint64

	down []*pushFrame
	up   []answer
}

// part is what a frame has of one partition.
type part struct {
	p    int
	push replica.Push
	recs []rec
}

type pushFrame struct {
	seq   uint64
	ping  bool
	parts []part
}

type answerKind uint8

const (
	answerAck answerKind = iota + 1
	answerRefuse
	answerReady
)

type answer struct {
	kind  answerKind
	seq   uint64
	p     int
	epoch int32
	r     replica.Refusal
}

// link is what a leader keeps of one follower for pushing.
type link struct {
	to        int32
	probe     bool
	sentHW    int64
	sentStart int64
	after     uint64 // the frame begun last when the link was made: its parts go into later ones
}

// dial opens a stream, if the node's process is the registered one as far as is known here.
func (w *plane) dial(a, b *machine) {
	if a == b || !a.up || !b.up || a.session[b.id] != nil || w.cut[a.id][b.id] {
		return
	}
	im := w.imageOf(a)
	if im == nil {
		return
	}
	br := im.Broker(b.id)
	if br == nil || br.Incarnation != b.inc {
		return
	}
	w.streams++
	x := &stream{id: w.streams, from: a, to: b, fromNonce: a.nonce, toNonce: b.nonce, sending: true, receiving: true, brokerEpoch: br.Epoch}
	a.session[b.id] = x
	a.heard[b.id] = w.now
	w.open = append(w.open, x)
	w.trace("stream %d: %d to %d (broker epoch %d)", x.id, a.id, b.id, br.Epoch)
	for _, r := range a.replicas {
		if r != nil && r.leading != nil && r.linkTo(b.id) != nil {
			r.leading.Connected(b.id, x.brokerEpoch, x.window.Current(), w.now)
			r.linkTo(b.id).probe, r.linkTo(b.id).after = true, 0
		}
	}
}

// endSending is the sender's end going: what is under way to the follower may arrive, answers do not.
func (w *plane) endSending(x *stream) {
	if !x.sending {
		return
	}
	x.sending, x.up, x.building = false, nil, nil
	a := x.from
	if a.session[x.to.id] == x {
		a.session[x.to.id] = nil
		for _, r := range a.replicas {
			if r != nil && r.leading != nil {
				r.leading.Ended(x.to.id)
			}
		}
	}
	w.Some.StreamsBroken++
}

func (w *plane) endReceiving(x *stream) {
	x.receiving, x.down, x.refusals, x.readies = false, nil, nil, nil
}

// breakStream cuts a connection: what is under way is lost in part, and the ends learn of it when they next look.
func (w *plane) breakStream(x *stream) {
	w.trace("stream %d breaks", x.id)
	x.down = x.down[:w.rng.IntN(len(x.down)+1)]
	x.up = x.up[:w.rng.IntN(len(x.up)+1)]
	switch w.rng.IntN(3) {
	case 0:
		w.endSending(x)
	case 1:
		w.endReceiving(x)
	default:
		w.endSending(x)
		w.endReceiving(x)
	}
}

// sweep forgets streams whose ends are both closed, and lets an end see that the other has gone once all is read.
func (w *plane) sweep() {
	kept := w.open[:0]
	for _, x := range w.open {
		if !x.receiving && x.sending && len(x.up) == 0 {
			w.endSending(x)
		}
		if !x.sending && x.receiving && len(x.down) == 0 {
			w.endReceiving(x)
		}
		if x.sending || x.receiving {
			kept = append(kept, x)
		}
	}
	clear(w.open[len(kept):])
	w.open = kept
}

// build adds one partition's part to the frame that is being built, or sends it.
func (w *plane) build(x *stream, limit int) {
	if !x.sending {
		return
	}
	a := x.from
	if x.building == nil {
		x.building = &pushFrame{seq: x.window.Frame()}
	}
	f := x.building
	at := w.rng.IntN(len(a.replicas))
	for i := range a.replicas {
		r := a.replicas[(at+i)%len(a.replicas)]
		if r == nil || f.has(r.p) {
			continue
		}
		if w.appendPush(f, x, r, limit) {
			break
		}
	}
}

// write sends the frame that was built. One that stays empty is never sent.
func (w *plane) write(x *stream) {
	if f := x.building; f != nil {
		x.building = nil
		if len(f.parts) > 0 && x.receiving {
			x.down = append(x.down, f)
		}
	}
}

func (f *pushFrame) has(p int) bool {
	for i := range f.parts {
		if f.parts[i].p == p {
			return true
		}
	}
	return false
}

// appendPush is replica.appendPush: the part that a follower is to get, if there is anything for it.
func (w *plane) appendPush(f *pushFrame, x *stream, r *preplica, limit int) bool {
	l := r.linkTo(x.to.id)
	if l == nil || r.leading == nil || !r.leads || f.seq <= l.after {
		return false
	}
	c := r.leading
	from, reset, ok := c.Next(x.to.id)
	if !ok {
		return false
	}
	p := replica.Push{Leader: x.from.id, LeaderNonce: x.fromNonce, LeaderEpoch: c.Epoch(), Base: from, HighWatermark: c.HighWatermark(),
		LogStart: r.log.Start(), Reset: reset}
	if from >= r.log.End() && !l.probe && !reset && p.HighWatermark <= l.sentHW && p.LogStart <= l.sentStart {
		return false
	}
	if from > r.log.End() {
		w.fail("node %d pushes partition %d from %d, its log ends at %d", x.from.id, r.p, from, r.log.End())
		return false
	}
	p.PrevEpoch = c.PrevEpoch(from)
	recs := r.log.recs[from-r.log.start:]
	recs = append([]rec(nil), recs[:min(len(recs), limit)]...)
	next := from + int64(len(recs))
	c.Sent(x.to.id, next)
	l.probe, l.sentHW, l.sentStart = false, p.HighWatermark, p.LogStart
	x.window.Sent(r.p, p.LeaderEpoch, next)
	f.parts = append(f.parts, part{r.p, p, recs})
	w.trace("node %d pushes %d/%d to %d: frame %d epoch %d prev %d base %d n %d hw %d start %d reset %v", x.from.id, x.id, r.p, x.to.id, f.seq, p.LeaderEpoch,
		p.PrevEpoch, p.Base, len(recs), p.HighWatermark, p.LogStart, reset)
	return true
}

// take is the receiver taking one frame.
func (w *plane) take(x *stream) {
	if !x.receiving || len(x.down) == 0 {
		return
	}
	f := x.down[0]
	x.down = x.down[1:]
	if f.ping {
		x.pinged = true
		return
	}
	x.queue.Begin(f.seq)
	for i := range f.parts {
		pt := &f.parts[i]
		refusal, ok := w.receive(x, pt)
		if !ok {
			return
		}
		if refusal != nil {
			w.Some.Refused++
			w.trace("node %d refuses %d/%d frame %d: %+v", x.to.id, x.id, pt.p, f.seq, *refusal)
			x.refusals = append(x.refusals, answer{kind: answerRefuse, seq: f.seq, p: pt.p, r: *refusal})
		}
	}
	x.queue.Received(x.to.wal.last)
}

// answer writes refusals, then the acks that they come before, then readiness.
func (w *plane) answer(x *stream) {
	if !x.receiving {
		return
	}
	durable := x.to.wal.durable
	if w.o.Replica&replica.BugAckBeforeSync != 0 {
		durable = x.to.wal.last
	}
	upTo, ok := x.queue.Durable(durable)
	ok = ok || x.pinged
	x.acked = max(x.acked, upTo)
	if x.sending {
		x.up = append(x.up, x.refusals...)
		if ok {
			x.up = append(x.up, answer{kind: answerAck, seq: x.acked})
		}
		for _, an := range x.readies { // as of now: what is acked is in it
			if f := x.to.replicas[an.p]; f != nil && f.following != nil && x.to.registered && f.view.Leader == x.from.id {
				an.epoch, an.r = f.view.LeaderEpoch, f.following.Ready()
				x.up = append(x.up, an)
			}
		}
	}
	x.refusals, x.readies, x.pinged = nil, nil, false
}

// void refuses all that was taken of a partition and not acked, and says that the follower is ready for another leader.
func (w *plane) announce(r *preplica, v *replica.View) {
	for _, x := range w.open {
		if x.to != r.m || !x.receiving {
			continue
		}
		if x.queue.Last() > 0 {
			x.refusals = append(x.refusals, answer{kind: answerRefuse, seq: x.queue.Last(), p: r.p, r: replica.Refusal{NotReady: true}})
		}
		if x.from.id == v.Leader {
			x.readies = append(x.readies, answer{kind: answerReady, p: r.p})
		}
	}
}

// hear is the sender taking one answer.
func (w *plane) hear(x *stream) {
	if !x.sending || len(x.up) == 0 {
		return
	}
	an := x.up[0]
	x.up = x.up[1:]
	a := x.from
	a.heard[x.to.id] = w.now
	switch an.kind {
	case answerAck:
		w.hearAck(x, an.seq)
	case answerRefuse:
		r := a.replicas[an.p]
		if r == nil || r.leading == nil || r.linkTo(x.to.id) == nil || a.session[x.to.id] != x {
			return
		}
		if w.o.Replica&replica.BugAckCoversRefused == 0 {
			x.window.Refused(an.seq, an.p)
		}
		r.leading.Refused(x.to.id, x.brokerEpoch, an.seq, an.r, x.window.Current(), w.now)
		w.told(r, x, &an.r)
		r.linkTo(x.to.id).probe = true
	case answerReady:
		r := a.replicas[an.p]
		if r == nil || r.leading == nil || r.linkTo(x.to.id) == nil || a.session[x.to.id] != x {
			return
		}
		w.Some.Ready++
		r.leading.Ready(x.to.id, x.brokerEpoch, an.epoch, an.r, x.window.Current(), w.now)
		w.told(r, x, &an.r)
		r.linkTo(x.to.id).probe = true
	}
}

func (w *plane) hearAck(x *stream, upTo uint64) {
	a := x.from
	ok := x.window.Acked(upTo, func(p int, epoch int32, end int64) {
		r := a.replicas[p]
		if r == nil || r.leading == nil || w.failure != "" {
			return
		}
		w.checkAck(r, x, epoch, end)
		r.leading.Ack(x.to.id, x.brokerEpoch, epoch, end, w.now)
		w.advance(r)
	})
	if !ok {
		w.fail("node %d hears an ack of frame %d on stream %d, which was not sent", a.id, upTo, x.id)
	}
}
