package wal

import (
	"errors"
	"log/slog"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// Errors of this package; match with errors.Is.
var (
	// ErrCorrupt: bytes that were durable once are damaged or missing. Open returns it unless Options.OnFault is set.
	ErrCorrupt = errors.New("wal: corrupt")
	// ErrNoSpace: the disk is full; the record was not accepted. Appends succeed again when there is space.
	ErrNoSpace = errors.New("wal: no space left on disk")
	// ErrFull: all MaxBytes are in use; the record was not accepted. Recycle makes room.
	ErrFull = errors.New("wal: full")
	// ErrTooLarge: a record that does not fit into a slot.
	ErrTooLarge = errors.New("wal: record larger than a slot")
	// ErrNotFound: no commit of that sequence: recycled, in a faulty range, or never written.
	ErrNotFound = errors.New("wal: no such commit")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("wal: closed")
	// ErrFailed: an I/O error stopped the log; nothing more becomes durable in this process.
	ErrFailed = errors.New("wal: stopped by an I/O error")
	// ErrOptions: options that contradict each other or the files.
	ErrOptions = errors.New("wal: bad options")
	// ErrVersion: files of a format version that this program does not know.
	ErrVersion = errors.New("wal: unknown format version")
)

// Kinds below FirstUserKind are the log's own.
const (
	kindSeal byte = 1
	kindRoll byte = 2
	// FirstUserKind is the lowest Kind that callers may append.
	FirstUserKind byte = 16
)

// Ref names one record: the commit that holds it, where its payload begins in the commit, and its length.
type Ref struct {
	Seq uint64 // commit sequence
	Off uint32 // payload offset in bytes from the start of the commit
	Len uint32 // payload length in bytes
}

// Record is what replay hands out.
type Record struct {
	Kind    uint8
	Ref     Ref
	Payload []byte // valid only during the call
}

// Sub is told when its records are durable. One Sub serves many records; it must not be shared between logs.
type Sub struct {
	// Durable is called on the completion goroutine, in commit order, once per commit that holds records of this
	// Sub, with the largest mark among them. It must not block for long, which holds up all others, and not call
	// Append, Sync or Close, which may wait for this very goroutine.
	Durable func(mark int64)

	// Guarded by WAL.mu: the commit in which this Sub was last used, and its place in that commit's list.
	seq   uint64
	place int
}

// Options configure a log. Zero fields take the defaults in brackets.
type Options struct {
	FS  vfs.FS // [vfs.OS]
	Dir string // created when missing

	SlotBytes       int64         // size of a slot file, a multiple of 4 KiB [64 MiB]
	MaxBytes        int64         // bound of all slot files together, at least two slots [1 GiB]
	ZeroStep        int64         // bytes zero-filled at a time ahead of the writer [4 MiB]
	RingBytes       int64         // recent commits kept in memory, in off-heap chunks [128 MiB]
	ChunkBytes      int64         // size of one chunk, and so of an ordinary commit [4 MiB, less in a small slot or ring]
	MaxPendingBytes int64         // bytes appended and not yet durable before Append blocks [32 MiB]
	SealAfter       time.Duration // idle time before an empty Seal commit protects the last one; < 0: never [100 ms]

	// Reserve is the number of completely zero-filled slots kept ready beyond the active one, so that a full disk
	// does not stop this log (metadata). With Reserve > 0 the active slot is filled ahead completely too, recycled
	// slots are zeroed again, and a torn commit can be told from a damaged one by its missing sectors.
	Reserve int

	// ReplayFrom is the first commit sequence that the replay callback is to see. Sealed slots wholly below it are
	// not read, only their index is. 0: everything.
	ReplayFrom uint64

	// Mark supplies the 8 opaque bytes of each commit header when the commit is written; it is called on the commit
	// goroutine, without locks. [0]
	Mark func() uint64

	// OnFault, when set, makes Open go on behind damage instead of failing with ErrCorrupt: it is called during the
	// replay at the place of the damage, records behind it follow, and the range stays in Recovery.Faults at every
	// later start until its slot is recycled. An error ends Open.
	OnFault func(Fault) error

	// OnFatal is called once after an I/O error that makes the state of the disk unknown. It must not return; when
	// it does, the log stays stopped: no record becomes durable any more. [log it, exit the process with status 1]
	OnFatal func(error)

	Logger *slog.Logger // [slog.Default()]

	bugs bugs // seeded bugs, tests only
}

// Fault is a range of commits that were written once and cannot be read now. Frames behind it are readable.
type Fault struct {
	FromSeq  uint64 // first sequence affected
	ToSeq    uint64 // last sequence that may be affected; FromSeq-1 when only the slot's header is damaged
	Slot     int    // slot file number
	Position int64  // position in that file in bytes
	Why      string
}

// Recovery tells what Open found.
type Recovery struct {
	Fresh    bool    // there was no log: a new one was made
	Clean    bool    // the last stop was a Close
	TornSeq  uint64  // sequence of the torn last commit that was cut; 0 if none
	FirstSeq uint64  // first sequence in the oldest live slot
	LastSeq  uint64  // last sequence used; 0 in a fresh log
	LastMark uint64  // Mark in the header of the last valid commit
	Faults   []Fault // in order; only with OnFault
	Records  int64   // records replayed
	Bytes    int64   // bytes of commits verified
	Elapsed  time.Duration
}

// Usage is the space a log takes.
type Usage struct {
	MaxBytes  int64  // Options.MaxBytes rounded down to whole slots
	UsedBytes int64  // live: whole slots but the active one, which counts up to the write position
	DiskBytes int64  // size of all slot files
	RingBytes int64  // memory of the ring now
	Pending   int64  // bytes appended and not yet durable
	Slots     int    // live slots, the active one included
	Ready     int    // completely filled slots ready for use: the reserve
	OldestSeq uint64 // first sequence that Read can still find
	NextSeq   uint64 // sequence of the commit that the next record goes to, at the earliest
	NoSpace   bool   // the last attempt to fill a slot met a full disk
	Commits   uint64 // commits made durable since Open
	Records   uint64 // records appended since Open
}

// SlotInfo describes a live slot.
type SlotInfo struct {
	Slot       int
	Generation uint64
	FirstSeq   uint64
	LastSeq    uint64 // last sequence written or being built; FirstSeq-1 when empty
	Bytes      int64  // up to the write position
	Sealed     bool   // rolled: nothing more will be written to it
}
