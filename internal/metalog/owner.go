package metalog

import (
	"fmt"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
)

// owner is the goroutine that steps the core. All its fields belong to that goroutine.
type owner struct {
	l    *Log
	core *Core

	ballot   Ballot // in which inflight was appended
	serving  bool   // working is set: proposals are taken
	barrier  int64  // what the applier must have passed before serving; 0 for none
	working  *metadata.Image
	inflight []applyItem // appended groups with what they make of the image, in order
	// unconfirmed are proposals of this step without events; see confirm.
	unconfirmed []*proposal
	handed      int64 // committed entries below were given to the applier
	accepted    int64 // proposals since the start
	hashAt      int64 // the next image hash is due at this offset

	sinceImage int64      // bytes of entries since the last image
	stored     *ImageFile // from another member, durable as a file
	imageSize  int64
	imaging    bool
	carry      bool   // a Carry was emitted for a recycling
	carryBatch int64  // the batch it is in; 0 until taken
	recycleSeq uint64 // commits up to here are given back then
	ticks      int64
}

func newOwner(l *Log, core *Core) *owner {
	return &owner{l: l, core: core, handed: l.image.Load().Offset() + 1, sinceImage: l.storage.replayed, imageSize: l.storage.imageSize}
}

func nextHash(end int64) int64 { return (end/imageHashEvery + 1) * imageHashEvery }

// drainMost bounds the events that are taken before what they ask for is done.
const drainMost = 1024

func (o *owner) run() {
	l := o.l
	tick := time.NewTicker(l.o.TickEvery)
	defer tick.Stop()
	defer o.fail(fmt.Errorf("%w: %w", ErrUnknownOutcome, ErrClosed))
	o.flush()
	for o.core.halted == nil {
		select {
		case <-l.quit:
			return
		case m := <-l.inbox:
			o.core.Receive(m)
		case fn := <-l.control:
			fn(o)
		case <-l.durable:
			o.persisted()
		case p := <-o.proposals():
			o.propose(p)
		case <-tick.C:
			o.tick()
		}
		o.drain()
		o.flush()
	}
	l.halt(o.core.halted)
}

// drain takes what else is there, so that it shares one commit.
func (o *owner) drain() {
	for range drainMost {
		select {
		case m := <-o.l.inbox:
			o.core.Receive(m)
		case fn := <-o.l.control:
			fn(o)
		case <-o.l.durable:
			o.persisted()
		case p := <-o.proposals():
			o.propose(p)
		default:
			return
		}
	}
}

// proposals is where proposals come from; nil while they must wait: until the leader serves, and while too much is not committed.
func (o *owner) proposals() <-chan *proposal {
	if o.core.Role() >= RoleOpening && !o.serving || o.core.Full() {
		return nil
	}
	return o.l.proposals
}

func (o *owner) tick() {
	o.core.Tick()
	if o.ticks++; o.ticks%64 == 0 && o.l.storage.wal.Usage().NoSpace {
		o.sinceImage = o.imageThreshold() // an image lets old files be reused
	}
}

func (o *owner) persisted() {
	batch := o.l.durableTo.Load()
	o.core.Persisted(batch)
	if o.carryBatch > 0 && batch >= o.carryBatch && o.core.PromiseSafe() {
		o.recycled()
	}
}

// flush does what the steps since the last one ask for.
func (o *owner) flush() {
	l := o.l
	o.confirm()
	o.core.Replicate()
	out := o.core.Take()
	l.storage.mark.Store(o.core.commit)
	if len(out.Frames) > 0 {
		for i := range out.Frames {
			if out.Frames[i].Kind == FrameEntry {
				o.sinceImage += out.Frames[i].Entry.encodedSize()
			}
		}
		if o.carry && o.carryBatch == 0 {
			o.carryBatch = out.Batch
		}
		if err := l.storage.write(out.Batch, out.Frames); err != nil {
			o.core.halt("%v", err)
			return
		}
	}
	if l.o.Transport != nil {
		for _, m := range out.Messages {
			l.o.Transport.Send(m)
		}
	}
	for _, r := range out.Reads {
		o.read(r)
	}
	for _, r := range out.Images {
		o.readImage(r)
	}
	if out.Store != nil {
		o.storeImage(out.Store)
	}
	o.leadership()
	if out.Installed != nil {
		o.installed(out.Installed)
	}
	o.handOver()
	o.serve()
	o.considerImage()
	o.core.Trim(o.handed)
	o.publish()
}

// leadership ends what belonged to a ballot that this node does not lead in any more. Whether its proposals will be committed is not
// known here.
func (o *owner) leadership() {
	if o.core.Role() >= RoleOpening && o.core.promised == o.ballot {
		return
	}
	was := o.serving
	o.fail(ErrUnknownOutcome)
	o.serving, o.working, o.barrier = false, nil, 0
	o.ballot = o.core.promised
	if was {
		o.give(applyItem{role: roleEnded, epoch: o.ballot.Term})
	}
}

// fail ends all proposals in hand. One that appended nothing certainly did nothing.
func (o *owner) fail(err error) {
	for _, it := range o.inflight {
		if it.p != nil && it.p.empty {
			it.p.finish(0, ErrNotController)
			continue
		}
		it.p.finish(0, err)
	}
	for _, p := range o.unconfirmed {
		p.finish(0, ErrNotController)
	}
	o.inflight, o.unconfirmed = nil, nil
}

// handOver gives newly committed entries to the applier: as prepared images where this node made them, else as entries.
func (o *owner) handOver() {
	to := o.core.commit
	for {
		if len(o.inflight) > 0 && o.inflight[0].from == o.handed && o.inflight[0].end <= to {
			o.give(o.inflight[0])
			o.handed = o.inflight[0].end
			o.inflight = o.inflight[1:]
			continue
		}
		if o.handed >= to {
			break
		}
		stop := to
		if len(o.inflight) > 0 {
			stop = min(stop, o.inflight[0].from)
		}
		entries := o.core.Committed(o.handed)
		if stop <= o.handed || int64(len(entries)) < stop-o.handed {
			o.core.halt("I12: committed entries from %d to %d are not in memory", o.handed, stop)
			return
		}
		o.give(applyItem{from: o.handed, end: stop, entries: entries[:stop-o.handed]})
		o.handed = stop
	}
	if to > o.l.commit.get() {
		t := o.core.log
		t.ents = t.ents[: to-t.base.End : to-t.base.End]
		o.l.tail.Store(&t)
		o.l.commit.set(to)
	}
}

// give hands an item to the applier; it waits when the applier is far behind.
func (o *owner) give(it applyItem) {
	select {
	case o.l.applier.items <- it:
	case <-o.l.quit:
		it.p.finish(0, ErrUnknownOutcome)
	}
}

// serve begins to take proposals: in the image that holds everything before them.
func (o *owner) serve() {
	if o.serving || o.core.Role() != RoleLeader || o.core.halted != nil {
		return
	}
	if o.barrier == 0 {
		o.barrier = o.core.commit
	}
	if o.l.applied.get() < o.barrier {
		return // the applier wakes the owner
	}
	if o.core.log.end() != o.barrier {
		o.core.halt("I12: entries after %d before anything was proposed", o.barrier)
		return
	}
	o.serving, o.working, o.hashAt = true, o.l.image.Load(), nextHash(o.core.log.end())
	o.found()
	o.inflight = append(o.inflight, applyItem{from: o.core.log.end(), end: o.core.log.end(), role: roleBegan, epoch: o.ballot.Term})
	o.core.Replicate()
	o.again()
}

// again makes the owner run once more, for what was appended outside a step.
func (o *owner) again() {
	select {
	case o.l.durable <- struct{}{}:
	default:
	}
}

// found appends what a new cluster's log begins with: its voters and its name.
func (o *owner) found() {
	g := &o.l.o.Genesis
	if o.core.Founding() {
		o.foundBy(&proposal{voters: g.Founders})
	}
	if o.working.Cluster().ID == "" && g.ClusterID != "" {
		ev := &metadata.ClusterFounded{ClusterID: g.ClusterID, MetadataVersion: g.MetadataVersion, Features: g.Features,
			Founders: g.Founders, TimestampMs: g.TimestampMs}
		o.foundBy(&proposal{events: func(*metadata.Image) ([]metadata.Event, error) { return []metadata.Event{ev}, nil }})
	}
}

func (o *owner) foundBy(p *proposal) {
	p.done = make(chan struct{})
	if o.propose(p); p.err != nil {
		o.core.halt("found the cluster: %v", p.err)
	}
}

// publish makes the state readable for others.
func (o *owner) publish() {
	c, l := o.core, o.l
	st := &Status{Self: c.cfg.Self, Role: c.Role(), Ballot: c.promised, Leader: c.leader, Epoch: c.log.last().Epoch, LastHash: c.log.last().Hash,
		Start: c.start, Commit: c.commit, End: c.log.end(), Durable: c.durableEnd, Snapshot: c.image.End, Voters: c.voters[len(c.voters)-1],
		ProposalsIn: o.accepted, Contested: c.Contested()}
	if c.fault >= 0 {
		st.Fault = &Fault{From: c.fault}
	}
	if before := l.status.Load(); before != nil && before.Fault != nil && st.Fault == nil {
		l.o.Logger.Info("metadata log: damage repaired from the other members", "from", before.Fault.From, "end", st.End)
	}
	for i := range c.peers {
		if p := &c.peers[i]; p.Boot == bannedBoot {
			st.Banned = append(st.Banned, p.Member)
		}
	}
	if c.lead != nil && c.lead.phase >= RoleOpening {
		now := time.Now().UnixMilli()
		for _, p := range c.lead.progress {
			st.Followers = append(st.Followers, o.followerStatus(p, now))
		}
	}
	l.status.Store(st)
	if l.tail.Load() == nil {
		t := c.log
		t.ents = t.ents[: c.commit-t.base.End : c.commit-t.base.End]
		l.tail.Store(&t)
	}
}

func (o *owner) followerStatus(p progress, nowMs int64) FollowerStatus {
	f := FollowerStatus{Member: p.member, Voter: p.voter, Faulty: p.faulty, Match: p.match, Next: p.next}
	tickMs := o.l.o.TickEvery.Milliseconds()
	if p.acks > 0 {
		f.LastAckMs = nowMs - (o.core.ticks-p.ackTick)*tickMs
	}
	if p.caughtUp > 0 {
		f.CaughtUpMs = nowMs - (o.core.ticks-p.caughtUpTick)*tickMs
	}
	return f
}

// read answers a request for old entries from the files, on a goroutine of its own: a member has one at a time.
func (o *owner) read(r ReadRequest) {
	commit := o.core.commit
	l := o.l
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		entries, err := l.storage.read(r.Offset, commit, r.MaxBytes)
		if err != nil {
			l.o.Logger.Warn("metadata log: cannot read for a member", "member", r.To.NodeID, "offset", r.Offset, "err", err)
		}
		l.do(func(o *owner) { o.core.EntriesRead(r, entries) })
	}()
}
