package metalog

import (
	"context"
	"log/slog"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
)

// Options say where a log lives and who it is.
type Options struct {
	FS vfs.FS
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
	// SlotBytes (8 MiB), HistoryBytes (1 GiB), TailBytes (16 MiB) bound the files and the memory for recent entries; 0 for the default.
	SlotBytes    int64
	HistoryBytes int64
	TailBytes    int64
	// OnHalt is called once when the log halts, with an error that wraps ErrHalted. The process must stop: nothing is served after.
	OnHalt func(error)
	Logger *slog.Logger
}

// Proposal returns the events to append, given the image with everything that was appended before. It runs on the owner goroutine and
// must be quick; it may be run on a node that then fails to commit. No events and no error is a proposal that waits for everything
// before it. An error refuses the proposal and is returned by Propose as it is.
type Proposal func(working *metadata.Image) ([]metadata.Event, error)

// Log is the metadata log on this node.
type Log struct{}

// Open recovers the log from its directory. Nothing is sent or applied to subscribers before Start.
func Open(o Options) (*Log, error) { return nil, ErrClosed }

// Subscribe registers fn to be called on the apply goroutine for each new image, in order. Call it before Start. Propose returns after
// all subscribers have seen its events.
func (l *Log) Subscribe(fn func(old, cur *metadata.Image, d *metadata.Delta)) {}

// SubscribeRole registers fn to be called on the apply goroutine when this node begins to serve as leader (after its EpochStart is
// committed and applied) or ceases to lead. Call it before Start.
func (l *Log) SubscribeRole(fn func(leads bool, epoch uint64)) {}

// Start begins to run.
func (l *Log) Start() {}

// Close stops without a snapshot; what was committed is on disk.
func (l *Log) Close() error { return nil }

// Claimed tells that the claim of ballot, an own one, was applied in Raft's log with this term. Claims of other processes are ignored.
func (l *Log) Claimed(term uint64, ballot Ballot) {}

// SelfBallot is the ballot (without a term) that membership puts into its claim.
func (l *Log) SelfBallot() Ballot { return Ballot{} }

// SetMembers names all members that are to have the log, voters or not.
func (l *Log) SetMembers(members []Member) {}

// Deliver hands in a message from the transport. It never blocks; messages beyond the queue's bound are dropped.
func (l *Log) Deliver(m *Message) {}

// Propose appends the events of p and returns the offset of the last one after it is committed and applied here. It fails with
// ErrNotController or ErrBusy if nothing was appended, and with ErrUnknownOutcome if the fate of what was appended is not known.
func (l *Log) Propose(ctx context.Context, p Proposal) (offset int64, err error) {
	return 0, ErrNotController
}

// ChangeVoters replaces the voters by a set that differs by one member; it returns after commit.
func (l *Log) ChangeVoters(ctx context.Context, members []Member) (offset int64, err error) {
	return 0, ErrNotController
}

// Image is the committed and applied image.
func (l *Log) Image() *metadata.Image { return metadata.Empty() }

// WaitApplied returns when the entry at offset is in Image.
func (l *Log) WaitApplied(ctx context.Context, offset int64) error { return ErrClosed }

// WaitCommit returns when the entry at offset is committed, for fetches that wait.
func (l *Log) WaitCommit(ctx context.Context, offset int64) error { return ErrClosed }

// ReadEntries returns committed entries from an offset on, at least one if there is one, about maxBytes in all, and the offset to go on
// from. Below the start or above the commit it is ErrOffsetOutOfRange; at the commit it returns nothing.
func (l *Log) ReadEntries(from int64, maxBytes int) (entries []Entry, next int64, err error) {
	return nil, 0, ErrClosed
}

// StartOffset is the first offset that can be read.
func (l *Log) StartOffset() int64 { return 0 }

// Commit is the offset after the last committed entry: the high watermark.
func (l *Log) Commit() int64 { return 0 }

// End is the offset after the last entry of this node's log.
func (l *Log) End() int64 { return 0 }

// Status describes the log on this node.
func (l *Log) Status() Status { return Status{} }
