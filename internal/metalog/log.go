package metalog

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
)

// Options say where a log lives and who it is.
type Options struct {
	FS vfs.FS // [vfs.OS]
	// Dir is the metadata directory. Its files belong to this package.
	Dir  string
	Self Member
	// Boot is the durable boot counter of Self's disk, raised before this process calls Open. 1 is the first.
	Boot uint64
	// Nonce names this process; 0 draws one.
	Nonce   uint64
	Genesis Genesis
	// Transport carries messages to the other members; nil for a cluster of one.
	Transport Transport
	// SlotBytes [8 MiB], HistoryBytes [1 GiB] and TailBytes [16 MiB] bound the files and the memory for recent entries.
	SlotBytes    int64
	HistoryBytes int64
	TailBytes    int64
	// ImageBytes is after how many bytes of entries a new image file is written [8 MiB].
	ImageBytes int64
	// TickEvery is the unit of the core's timeouts [25 ms].
	TickEvery time.Duration
	// OnHalt is called once when the log halts, with an error that wraps ErrHalted. The process must stop: nothing is served after.
	OnHalt func(error)
	Logger *slog.Logger
}

// History is recycled when it is larger than HistoryBytes and older than historyAge, or larger than historyFactor times HistoryBytes.
const (
	historyAge    = 7 * 24 * time.Hour
	historyFactor = 4
)

func (o *Options) defaults() {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Nonce == 0 {
		o.Nonce = rand.Uint64() | 1
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.SlotBytes, 8<<20)
	set(&o.HistoryBytes, 1<<30)
	set(&o.TailBytes, 16<<20)
	set(&o.ImageBytes, 8<<20)
	if o.TickEvery == 0 {
		o.TickEvery = 25 * time.Millisecond
	}
}

// Proposal returns the events to append, given the image with everything that was appended before. It runs on the owner goroutine and
// must be quick; it may be run on a node that then fails to commit. No events and no error is a proposal that waits for everything
// before it, and for a majority's word that this node still leads: what it saw then holds. An error refuses the proposal and is returned by Propose as it is.
type Proposal func(working *metadata.Image) ([]metadata.Event, error)

// Log is the metadata log on this node.
type Log struct {
	o       Options
	storage *storage
	owner   *owner
	applier *applier

	proposals chan *proposal // bound 4096: Propose waits for room
	inbox     chan *Message  // bound 4096: Deliver drops
	control   chan func(*owner)
	durable   chan struct{} // bound 1: durableBatch holds the value
	durableTo atomic.Int64

	image   atomic.Pointer[metadata.Image]
	status  atomic.Pointer[Status]
	tail    atomic.Pointer[tail] // committed entries in memory, for ReadEntries
	commit  waitable             // the commit offset
	applied waitable             // the offset after the last applied entry

	subscribers []changed
	roleSubs    []func(leads bool, epoch uint64)

	quit     chan struct{}
	quitOnce sync.Once
	haltOnce sync.Once
	wg       sync.WaitGroup
	started  bool
}

// Open recovers the log from its directory. Nothing is sent or applied to subscribers before Start.
func Open(o Options) (*Log, error) {
	o.defaults()
	if o.Dir == "" || o.Boot == 0 || len(o.Genesis.Founders) == 0 {
		return nil, fmt.Errorf("open metadata log: directory, boot counter and founders must be given")
	}
	l := &Log{
		o: o, quit: make(chan struct{}), durable: make(chan struct{}, 1), control: make(chan func(*owner), 256),
		proposals: make(chan *proposal, 4096), inbox: make(chan *Message, 4096),
	}
	s, r, im, err := openStorage(&o, l.onDurable, l.onFatal)
	if err != nil {
		return nil, fmt.Errorf("open metadata log in %s: %w", o.Dir, err)
	}
	if r.Fault != nil && len(o.Genesis.Founders) == 1 && len(r.Voters[len(r.Voters)-1].Members) == 1 {
		_ = s.close() // the fault is what matters
		return nil, fmt.Errorf("open metadata log in %s: %w: %w: entries from %d on are damaged, and no other member has them", o.Dir, ErrHalted, ErrDamaged, r.Fault.From)
	}
	if r.Fault != nil {
		o.Logger.Warn("metadata log: this member neither votes nor leads until other members have given it again what is damaged; nothing has to be done but to keep them running",
			"from", r.Fault.From)
	}
	l.storage = s
	l.image.Store(im)
	l.commit.set(r.Commit)
	l.applied.set(im.Offset() + 1)
	core := NewCore(CoreConfig{Self: o.Self, Boot: o.Boot, Nonce: o.Nonce, TailBytes: o.TailBytes}, r)
	l.owner = newOwner(l, core)
	l.applier = newApplier(l)
	l.owner.publish()
	return l, nil
}

// Subscribe registers fn to be called on the apply goroutine for each new image, in order. Call it before Start; start from Image. fn
// must not wait for a proposal. Propose returns after all subscribers have seen its events.
func (l *Log) Subscribe(fn func(old, cur *metadata.Image, d *metadata.Delta)) {
	l.subscribers = append(l.subscribers, fn)
}

// SubscribeRole registers fn to be called on the apply goroutine when this node begins to serve as leader (after its EpochStart is
// committed and applied) or ceases to lead. Call it before Start.
func (l *Log) SubscribeRole(fn func(leads bool, epoch uint64)) { l.roleSubs = append(l.roleSubs, fn) }

// Start begins to run.
func (l *Log) Start() {
	if l.started {
		return
	}
	l.started = true
	l.wg.Add(2)
	go func() { defer l.wg.Done(); l.owner.run() }()
	go func() { defer l.wg.Done(); l.applier.run() }()
}

// Close stops. What was committed is on disk; proposals under way end with ErrUnknownOutcome.
func (l *Log) Close() error {
	l.stop()
	l.wg.Wait()
	return l.storage.close()
}

func (l *Log) stop() {
	l.quitOnce.Do(func() {
		close(l.quit)
		l.commit.close()
		l.applied.close()
	})
}

// halt reports why the log cannot go on, once, and stops it.
func (l *Log) halt(err error) {
	l.haltOnce.Do(func() {
		l.o.Logger.Error("metadata log halted", "err", err)
		l.stop()
		if l.o.OnHalt != nil {
			go l.o.OnHalt(err) // it may close the log, which waits for the goroutine that is here
		}
	})
}

// onDurable runs on the wal's completion goroutine.
func (l *Log) onDurable(batch int64) {
	l.durableTo.Store(batch)
	select {
	case l.durable <- struct{}{}:
	default:
	}
}

// onFatal runs on the wal's goroutine: the disk failed, and what is on it is not known.
func (l *Log) onFatal(err error) { l.halt(fmt.Errorf("%w: %w", ErrHalted, err)) }

// do runs fn on the owner goroutine, unless the log is closed.
func (l *Log) do(fn func(*owner)) {
	select {
	case l.control <- fn:
	case <-l.quit:
	}
}

// SelfBallot is the ballot (without a term) that membership puts into its claim.
func (l *Log) SelfBallot() Ballot { return Ballot{Member: l.o.Self, Nonce: l.o.Nonce} }

// Claimed tells that the claim of ballot, an own one, was applied in Raft's log with this term. Claims of other processes are ignored.
func (l *Log) Claimed(term uint64, ballot Ballot) {
	if ballot.Member != l.o.Self || ballot.Nonce != l.o.Nonce {
		return
	}
	l.do(func(o *owner) { o.core.Claim(term) })
}

// SetMembers names all members that are to have the log, voters or not.
func (l *Log) SetMembers(members []Member) {
	l.do(func(o *owner) { o.core.SetMembers(members) })
}

// Deliver hands in a message from the transport. It never blocks; messages beyond the queue's bound are dropped.
func (l *Log) Deliver(m *Message) {
	select {
	case l.inbox <- m:
	default:
	}
}

// Propose appends the events of p and returns the offset of the last one after it is committed and applied here. It fails with
// ErrNotController or ErrBusy if nothing was appended, and with ErrUnknownOutcome if the fate of what was appended is not known.
func (l *Log) Propose(ctx context.Context, p Proposal) (offset int64, err error) {
	return l.propose(ctx, &proposal{events: p})
}

// ChangeVoters replaces the voters by a set that differs by one member; it returns after commit.
func (l *Log) ChangeVoters(ctx context.Context, members []Member) (offset int64, err error) {
	return l.propose(ctx, &proposal{voters: members})
}

func (l *Log) propose(ctx context.Context, p *proposal) (int64, error) {
	p.done = make(chan struct{})
	if st := l.status.Load(); st.Role < RoleOpening {
		return 0, ErrNotController
	}
	select {
	case l.proposals <- p:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-l.quit:
		return 0, ErrClosed
	}
	select {
	case <-p.done:
		return p.offset, p.err
	case <-ctx.Done():
		if p.state.CompareAndSwap(proposalQueued, proposalGivenUp) {
			return 0, ctx.Err()
		}
		return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, ctx.Err())
	case <-l.quit:
	}
	select {
	case <-p.done:
		return p.offset, p.err
	default:
	}
	if p.state.CompareAndSwap(proposalQueued, proposalGivenUp) {
		return 0, ErrClosed
	}
	return 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, ErrClosed)
}

// Image is the committed and applied image.
func (l *Log) Image() *metadata.Image { return l.image.Load() }

// WaitApplied returns when the entry at offset is in Image.
func (l *Log) WaitApplied(ctx context.Context, offset int64) error {
	return l.applied.wait(ctx, offset+1)
}

// WaitCommit returns when the entry at offset is committed, for fetches that wait.
func (l *Log) WaitCommit(ctx context.Context, offset int64) error {
	return l.commit.wait(ctx, offset+1)
}

// ReadEntries returns committed entries from an offset on, at least one if there is one, about maxBytes in all, and the offset to go on
// from. Below the start or above the commit it is ErrOffsetOutOfRange; at the commit it returns nothing.
func (l *Log) ReadEntries(from int64, maxBytes int) (entries []Entry, next int64, err error) {
	t := l.tail.Load()
	st := l.status.Load()
	commit := t.end()
	switch {
	case from < st.Start || from > commit:
		return nil, from, fmt.Errorf("read metadata entries from %d: %w: %d to %d", from, ErrOffsetOutOfRange, st.Start, commit)
	case from == commit:
		return nil, from, nil
	case from >= t.base.End:
		entries = t.slice(from, commit, int64(maxBytes))
	default:
		if entries, err = l.storage.read(from, commit, int64(maxBytes)); err != nil {
			return nil, from, err
		}
	}
	return entries, from + int64(len(entries)), nil
}

// StartOffset is the first offset that can be read.
func (l *Log) StartOffset() int64 { return l.status.Load().Start }

// Commit is the offset after the last committed entry: the high watermark.
func (l *Log) Commit() int64 { return l.commit.get() }

// End is the offset after the last entry of this node's log.
func (l *Log) End() int64 { return l.status.Load().End }

// Status describes the log on this node.
func (l *Log) Status() Status {
	st := *l.status.Load()
	st.Applied = l.applied.get()
	return st
}
