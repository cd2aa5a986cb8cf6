package metalog

import (
	"fmt"
	"math"
	"slices"
)

// CoreConfig is what a core must know besides what is on disk.
type CoreConfig struct {
	Self  Member
	Boot  uint64
	Nonce uint64
	// MaxAppendBytes bounds the entries in one message [1 MiB]; a single proposal may be larger.
	MaxAppendBytes int64
	// WindowBytes bounds what is sent to one member and not acknowledged [4 MiB].
	WindowBytes int64
	// MaxUncommittedBytes bounds what a leader has appended and not committed [16 MiB].
	MaxUncommittedBytes int64
	// TailBytes bounds the committed entries kept in memory [16 MiB].
	TailBytes int64
	// ResendTicks is after how many ticks without an answer a message is repeated [3].
	ResendTicks int64
	// GiveUpTicks is after how many ticks without progress another log is chosen while adopting [20].
	GiveUpTicks int64
}

func (c *CoreConfig) defaults() {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.MaxAppendBytes, 1<<20)
	set(&c.WindowBytes, 4<<20)
	set(&c.MaxUncommittedBytes, 16<<20)
	set(&c.TailBytes, 16<<20)
	set(&c.ResendTicks, 3)
	set(&c.GiveUpTicks, 20)
}

// ReadRequest asks for entries that are no longer in memory; the answer is Core.EntriesRead.
type ReadRequest struct {
	To       Member
	For      MessageType // MsgAppend or MsgFetched
	Ballot   Ballot
	Offset   int64
	MaxBytes int64
}

// ImageRequest asks for the newest image file; the answer is Core.ImageRead.
type ImageRequest struct {
	To     Member
	For    MessageType // MsgInstall or MsgFetched
	Ballot Ballot
}

// Output is what a core wants done. The slices are valid until the next Take.
type Output struct {
	// Batch numbers the Frames; 0 if there are none. They are written in order; Persisted(Batch) follows when they are durable.
	Batch  int64
	Frames []Frame
	// Messages may be sent at once.
	Messages []*Message
	Reads    []ReadRequest
	Images   []ImageRequest
	// Store is an image to be written to a file; ImageStored follows when it is durable.
	Store *ImageFile
	// Installed says that the image stored last is in force now: the entries from its end on follow it.
	Installed *ImageMeta
	// Changed says that the ballot, the role or the leader is another one than at the last Take.
	Changed bool
	// Halt is set once, when the core stops for good.
	Halt error
}

// Core is the protocol on one node. It does no I/O: every method is a step, and Take returns what the steps since the last Take want
// done. It belongs to one goroutine.
type Core struct {
	cfg  CoreConfig
	bugs Bugs

	promised  Ballot
	bootFloor uint64 // term of the promise when the process started
	booted    bool   // this process stands on its own disk, twice
	copyDue   bool   // the promise has not been written for the second time
	copyBatch int64  // the batch that holds the second copy
	log       tail
	start     int64 // first offset on disk
	lineage   []EpochSpan
	voters    []VoterSet // the one in force at the commit, then uncommitted ones
	fault     int64      // entries from here on may be lost; -1 for none
	peers     []PeerBoot
	boots     []PeerBoot // own processes, this one included, oldest first
	image     Position   // of the newest image file
	commit    int64

	// What is on its way to the disk.
	batch      int64
	done       int64
	pending    []pendingBatch
	durableEnd int64
	outbox     []heldMessage

	// What holds for the promised ballot only.
	verified     int64 // the log up to here is the leader's
	leaderCommit int64
	leader       Member
	faultUntil   int64 // a fault may be cleared here; -1 as long as unknown
	storing      *storingImage

	swapped *ImageMeta // an image that replaced the log and is not committed here yet
	lead    *lead
	members []Member
	raft    VoterSet // BugQuorumFromRaft only
	ticks   int64
	halted  error
	out     Output
	spare   Output
}

type pendingBatch struct {
	seq   int64
	end   int64
	copy  bool // holds the first copy of a promise
	clear bool // holds the end of a fault
}

type heldMessage struct {
	need int64 // batch that must be durable first
	m    *Message
}

type storingImage struct {
	ballot Ballot
	from   Member
	file   *ImageFile
	adopt  bool
}

// NewCore makes a core from what was recovered.
func NewCore(cfg CoreConfig, r Recovered) *Core { return newCore(cfg, r, 0) }

// NewSimCore is NewCore with seeded bugs. Only internal/sim may call it.
func NewSimCore(cfg CoreConfig, r Recovered, bugs Bugs) *Core { return newCore(cfg, r, bugs) }

func newCore(cfg CoreConfig, r Recovered, bugs Bugs) *Core {
	cfg.defaults()
	c := &Core{cfg: cfg, bugs: bugs, promised: r.Promised, bootFloor: r.Promised.Term, start: r.Start, lineage: r.Lineage,
		voters: r.Voters, fault: -1, peers: r.Peers, image: r.Image, commit: r.Commit, faultUntil: -1}
	c.log = tail{base: r.Base, ents: r.Entries}
	for i := range r.Entries {
		c.log.bytes += r.Entries[i].encodedSize()
	}
	c.durableEnd, c.verified = c.log.end(), c.commit
	if r.Fault != nil {
		c.fault = r.Fault.From
	}
	c.boots = append(slices.Clone(r.Boots), PeerBoot{cfg.Self, cfg.Boot, cfg.Nonce})
	c.boots = c.boots[max(0, len(c.boots)-maxBoots):]
	if r.NewFault {
		c.emit(Frame{Kind: FrameFault, Offset: c.fault})
	}
	c.booted = c.bug(BugNoBootCarry)
	if !c.booted {
		c.Carry() // so that a promise never stands in one commit only, whatever was cut
	}
	switch {
	case r.Anchor:
		c.emit(Frame{Kind: FrameReset, At: r.Base})
	case r.NewFault:
		c.emit(Frame{Kind: FrameTruncate, Offset: c.log.end()})
	}
	return c
}

// Take returns what is to be done, and forgets it. It is called after one or more steps: what they append becomes one batch.
func (c *Core) Take() *Output {
	if len(c.out.Frames) > 0 {
		c.batch++
		c.out.Batch = c.batch
		p := pendingBatch{seq: c.batch, end: c.log.end()}
		for i := range c.out.Frames {
			switch c.out.Frames[i].Kind {
			case FramePromise, FrameBoot:
				p.copy = true
			case FrameClear:
				p.clear = true
			}
		}
		c.pending = append(c.pending, p)
	}
	c.out, c.spare = c.spare, c.out
	c.out = Output{Frames: c.out.Frames[:0], Messages: c.out.Messages[:0], Reads: c.out.Reads[:0], Images: c.out.Images[:0]}
	return &c.spare
}

// halt stops the core: it found something that cannot be, and anything it did from here on could make it worse.
func (c *Core) halt(format string, args ...any) {
	if c.halted != nil {
		return
	}
	c.halted = fmt.Errorf("%w: node %d, ballot %s, commit %d, end %d: %s", ErrHalted, c.cfg.Self.NodeID, c.promised, c.commit,
		c.log.end(), fmt.Sprintf(format, args...))
	c.out.Halt = c.halted
	c.lead, c.outbox = nil, nil
	c.out.Messages = c.out.Messages[:0]
	c.out.Changed = true
}

func (c *Core) emit(f Frame) {
	if f.Kind == FrameFault && c.bug(BugFaultForgotten) {
		return
	}
	f.Known = c.commit
	c.out.Frames = append(c.out.Frames, f)
}

// need is the batch after which everything up to now is durable.
func (c *Core) need() int64 {
	if len(c.out.Frames) > 0 {
		return c.batch + 1
	}
	return c.batch
}

func (c *Core) message(t MessageType, to Member) *Message {
	return &Message{Type: t, From: c.cfg.Self, To: to, FromBoot: c.cfg.Boot, FromNonce: c.cfg.Nonce, Ballot: c.promised}
}

// maxOutbox bounds the messages that wait for the disk; what does not fit is lost, as on the way.
const maxOutbox = 4096

// send sends a message at once, but nothing before this process is known on its own disk: it would be unknown after a crash.
func (c *Core) send(m *Message) {
	if c.booted || c.bug(BugAckBeforeSync|BugLateAck) {
		c.out.Messages = append(c.out.Messages, m)
		return
	}
	c.hold(m)
}

// PromiseSafe reports whether the promise is durable in two commits, so that damage to one cannot make the node forget it. Before that
// nothing is said that rests on the promise.
func (c *Core) PromiseSafe() bool { return !c.copyDue && c.done >= c.copyBatch }

// hold sends a message once everything up to now is durable.
func (c *Core) hold(m *Message) {
	need := max(c.need(), c.copyBatch)
	if c.copyDue {
		need = math.MaxInt64 // until the second copy has a batch
	}
	if need <= c.done && c.booted || c.bug(BugAckBeforeSync) {
		c.out.Messages = append(c.out.Messages, m)
		return
	}
	if len(c.outbox) >= maxOutbox {
		return
	}
	c.outbox = append(c.outbox, heldMessage{need, m})
}

// accepts is the receiver's rule for ballots: a higher term, or the very same ballot. Never an order on nodes.
func (c *Core) accepts(b Ballot) bool {
	if c.bug(BugPromiseByTermOnly) {
		return b.Term >= c.promised.Term
	}
	return b.Term > c.promised.Term || b == c.promised
}

// promise accepts a ballot. Everything that was under way for lower ones ends: leadership, acks that have not left, images.
func (c *Core) promise(b Ballot) {
	if b == c.promised {
		return
	}
	if b.Term < c.promised.Term {
		c.halt("I1: promise would fall to %s", b)
		return
	}
	c.promised = b
	if !c.bug(BugPromiseNotDurable) {
		c.emit(Frame{Kind: FramePromise, Ballot: b})
		c.copyDue = !c.bug(BugOnePromiseCopy)
	}
	c.verified, c.leaderCommit, c.leader = c.commit, 0, Member{}
	c.faultUntil, c.lead = -1, nil
	if !c.bug(BugInstallNoRecheck) {
		c.storing = nil
	}
	if !c.bug(BugLateAck) {
		c.outbox = slices.DeleteFunc(c.outbox, func(h heldMessage) bool { return h.m.Ballot != b })
	}
	c.out.Changed = true
}

// Persisted says that the frames of all batches up to this one are durable.
func (c *Core) Persisted(batch int64) {
	if c.halted != nil || batch <= c.done {
		return
	}
	c.done = batch
	n := 0
	for n < len(c.pending) && c.pending[n].seq <= batch {
		c.durableEnd = c.pending[n].end
		if c.pending[n].copy && c.copyDue {
			c.secondCopy()
		}
		if c.pending[n].clear {
			c.fault = -1
		}
		n++
	}
	c.pending = append(c.pending[:0], c.pending[n:]...)
	c.booted = c.booted || c.PromiseSafe()
	n = 0
	for n < len(c.outbox) && c.outbox[n].need <= batch {
		c.out.Messages = append(c.out.Messages, c.outbox[n].m)
		n++
	}
	c.outbox = append(c.outbox[:0], c.outbox[n:]...)
	if c.swapped != nil && c.durableEnd >= c.swapped.At.End {
		c.setCommit(c.swapped.At.End) // whatever the ballot is now: an image is of what was committed
	}
	c.clearFault()
	c.followCommit()
	c.leadPersisted()
}

// secondCopy writes the promise again, in a commit of its own, since the first is durable.
func (c *Core) secondCopy() {
	c.copyDue = false
	if !c.promised.IsZero() {
		c.emit(Frame{Kind: FramePromise, Ballot: c.promised})
	}
	if c.fault >= 0 && !c.clearing() {
		c.emit(Frame{Kind: FrameFault, Offset: c.fault})
	}
	c.emit(Frame{Kind: FrameBoot, Peer: c.boots[len(c.boots)-1]})
	c.copyBatch = c.need()
	for i := range c.outbox {
		c.outbox[i].need = min(c.outbox[i].need, max(c.copyBatch, c.need()))
	}
}

// appendEntry puts an entry, already in its place in the chain, at the end of the log.
func (c *Core) appendEntry(e Entry) {
	last := c.log.last()
	if e.Offset != last.End || (e.PrevHash != last.Hash && !c.bug(BugNoPrevCheck|BugSkipChainCheck)) || e.Epoch < last.Epoch && !c.bug(BugNoPrevCheck|BugSkipChainCheck) {
		c.halt("I4: entry %d of epoch %d does not follow %d of epoch %d", e.Offset, e.Epoch, last.End-1, last.Epoch)
		return
	}
	if len(c.lineage) == 0 || c.lineage[len(c.lineage)-1].Epoch != e.Epoch {
		c.lineage = append(c.lineage, EpochSpan{e.Epoch, e.Offset})
	}
	if e.Type == EntryVoters {
		v, err := DecodeVoters(&e)
		if err != nil {
			c.halt("%v", err)
			return
		}
		c.voters = append(c.voters, v)
	}
	c.log.append(e)
	c.emit(Frame{Kind: FrameEntry, Entry: e})
}

// truncate ends the log at an offset.
func (c *Core) truncate(to int64) {
	if to >= c.log.end() {
		return
	}
	if to < c.commit {
		c.halt("I6: truncation to %d, below the commit", to)
		return
	}
	c.log.cut(to)
	c.cutIndexes(to)
	c.emit(Frame{Kind: FrameTruncate, Offset: to})
	c.durableEnd, c.verified = min(c.durableEnd, to), min(c.verified, to)
	for i := range c.pending {
		c.pending[i].end = min(c.pending[i].end, to)
	}
}

// cutIndexes takes back what entries from an offset on have said: epochs and voters.
func (c *Core) cutIndexes(to int64) {
	for n := len(c.lineage); n > 0 && c.lineage[n-1].Start >= to; n-- {
		c.lineage = c.lineage[: n-1 : n-1]
	}
	if c.bug(BugVotersNotReverted) {
		return
	}
	for n := len(c.voters); n > 1 && c.voters[n-1].Offset >= to; n-- {
		c.voters = c.voters[: n-1 : n-1]
	}
}

// setCommit moves the commit up.
func (c *Core) setCommit(to int64) {
	if to <= c.commit {
		return
	}
	if to > c.durableEnd && !c.bug(BugLeaderCountsUnsynced|BugCommitNotDurable|BugCommitUnverified) {
		c.halt("I6: commit %d above the durable end %d", to, c.durableEnd)
		return
	}
	if to > c.log.end() {
		c.halt("I6: commit %d above the end", to)
		return
	}
	c.commit = to
	n := 0
	for n+1 < len(c.voters) && c.voters[n+1].Offset < to {
		n++
	}
	c.voters = c.voters[n:]
	if c.swapped != nil && to >= c.swapped.At.End {
		c.out.Installed, c.swapped = c.swapped, nil
	}
}

// Trim forgets entries below an offset (at most the commit) that the owner has taken, as far as the bound on memory asks for it.
func (c *Core) Trim(below int64) { c.log.trim(min(below, c.commit), c.cfg.TailBytes) }

// Committed is the committed entries from an offset on, all of which are in memory.
func (c *Core) Committed(from int64) []Entry {
	if from >= c.commit || from < c.log.base.End {
		return nil
	}
	return c.log.ents[from-c.log.base.End : c.commit-c.log.base.End : c.commit-c.log.base.End]
}

// MetaAt describes an image of everything that is committed now.
func (c *Core) MetaAt() (ImageMeta, bool) {
	at, ok := c.log.at(c.commit)
	if !ok {
		return ImageMeta{}, false
	}
	m := ImageMeta{At: at, Voters: c.voters[0], Lineage: c.lineage}
	for n := len(m.Lineage); n > 0 && m.Lineage[n-1].Start >= at.End; n-- {
		m.Lineage = m.Lineage[: n-1 : n-1]
	}
	if c.bug(BugPartialLineage) && len(m.Lineage) > 1 {
		m.Lineage = m.Lineage[len(m.Lineage)-1:]
	}
	return m, true
}

// ImageSaved says that an image of MetaAt is durable as a file.
func (c *Core) ImageSaved(at Position) {
	if at.End > c.image.End {
		c.image = at
	}
}

// Recycled says that entries below start are no longer on disk.
func (c *Core) Recycled(start int64) { c.start = max(c.start, min(start, c.image.End)) }

// Carry writes promise, fault mark and known boots again, so that older files are not needed for them once PromiseSafe holds.
func (c *Core) Carry() {
	if c.halted != nil {
		return
	}
	if !c.promised.IsZero() {
		c.emit(Frame{Kind: FramePromise, Ballot: c.promised})
	}
	c.copyDue = !c.bug(BugOnePromiseCopy)
	if c.fault >= 0 {
		c.emit(Frame{Kind: FrameFault, Offset: c.fault})
	}
	for _, p := range c.peers {
		c.emit(Frame{Kind: FramePeer, Peer: p})
	}
	for _, p := range c.boots {
		c.emit(Frame{Kind: FrameBoot, Peer: p})
	}
}

// votersInForce is the last set in the log, committed or not.
func (c *Core) votersInForce() VoterSet {
	if c.bug(BugQuorumFromRaft) && len(c.raft.Members) > 0 {
		return c.raft
	}
	return c.voters[len(c.voters)-1]
}

// Promised is the ballot promised last.
func (c *Core) Promised() Ballot { return c.promised }

// Commit is the offset after the last committed entry.
func (c *Core) Commit() int64 { return c.commit }

// End is the offset after the last entry.
func (c *Core) End() int64 { return c.log.end() }

// Durable is the end of what is on disk.
func (c *Core) Durable() int64 { return c.durableEnd }

// Faulty reports whether entries may have been lost.
func (c *Core) Faulty() bool { return c.fault >= 0 }

// VotersInForce is the last set of voters in the log, committed or not.
func (c *Core) VotersInForce() VoterSet { return c.voters[len(c.voters)-1] }

// EpochStartOffset is where the epoch of this leader begins; -1 for others.
func (c *Core) EpochStartOffset() int64 {
	if c.lead == nil || c.lead.phase < RoleOpening {
		return -1
	}
	return c.lead.start
}

// Boots are the processes that this member's disk has seen, this one last.
func (c *Core) Boots() []PeerBoot { return c.boots }

// Booted reports whether the record of this process is durable.
func (c *Core) Booted() bool { return c.booted }

// Banned reports whether a member is not heard any more, since its disk was put back.
func (c *Core) Banned(m Member) bool {
	return slices.ContainsFunc(c.peers, func(p PeerBoot) bool { return p.Member == m && p.Boot == bannedBoot })
}

// Halted is why the core stopped, or nil.
func (c *Core) Halted() error { return c.halted }

// LastEpoch is the epoch of the last entry.
func (c *Core) LastEpoch() uint64 { return c.log.last().Epoch }
