package metalog

import (
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/metadata"
)

// Errors of this package. Errors that callers see wrap one of these.
var (
	// ErrNotController: this node does not lead the log, and the proposal was not appended.
	ErrNotController = errors.New("not the controller")
	// ErrUnknownOutcome: the proposal was appended, and this node cannot tell whether it is or will be committed.
	ErrUnknownOutcome = errors.New("outcome unknown")
	// ErrBusy: a queue is full; the proposal was not appended.
	ErrBusy = errors.New("metadata log is busy")
	// ErrClosed: the log was closed or halted before the call.
	ErrClosed = errors.New("metadata log is closed")
	// ErrHalted: the log found an invariant broken, its files damaged or an entry it cannot apply; the process must stop.
	ErrHalted = errors.New("metadata log halted")
	// ErrDamaged: what is on this member's disk cannot be what was written, and cannot be repaired from others. Open returns it.
	ErrDamaged = errors.New("metadata log damaged")
	// ErrOffsetOutOfRange: the offset is below the log's start or above its commit.
	ErrOffsetOutOfRange = errors.New("metadata offset out of range")
	// ErrVotersChange: the change of voters breaks a rule (one member at a time, the one before committed, never the controller itself).
	ErrVotersChange = errors.New("change of voters refused")
	// ErrTooLarge: an event or a batch is larger than the log accepts.
	ErrTooLarge = errors.New("metadata entry too large")
)

// Member is a node with the disk it was admitted with: a wiped node is another member.
type Member = metadata.Voter

// Ballot names one attempt to lead: the Raft term of the claim, who made it, and the process that made it. Two ballots are the same
// only if all fields are; they are ordered by term only.
type Ballot struct {
	Term   uint64
	Member Member
	// Nonce is random for every start of a process.
	Nonce uint64
}

// IsZero reports whether nothing was promised yet.
func (b Ballot) IsZero() bool { return b == Ballot{} }

func (b Ballot) String() string {
	return fmt.Sprintf("%d/%d/%08x", b.Term, b.Member.NodeID, uint32(b.Nonce))
}

// HashSize is the length of a chain hash.
const HashSize = 16

// Hash is the first half of a SHA-256 over an entry and the hash of the entry before: equal hashes at equal offsets mean equal history.
type Hash [HashSize]byte

// EntryType says what an entry of the log is. Zero is invalid, so that zeroed bytes are never an entry.
type EntryType uint8

// The types of entries.
const (
	// EntryEvent holds one metadata event as JSON.
	EntryEvent EntryType = 1
	// EntryEpochStart is the first entry of a ballot; its payload is the ballot.
	EntryEpochStart EntryType = 2
	// EntryVoters holds the voters that are in force from here on: a metadata.VotersChanged as JSON.
	EntryVoters EntryType = 3
	// EntryImageHash holds the hash of the image at the entry before; a node whose image differs halts.
	EntryImageHash EntryType = 4
	// EntryNoop changes nothing.
	EntryNoop EntryType = 5
)

func (t EntryType) valid() bool { return t >= EntryEvent && t <= EntryNoop }

func (t EntryType) String() string {
	switch t {
	case EntryEvent:
		return "event"
	case EntryEpochStart:
		return "epoch-start"
	case EntryVoters:
		return "voters"
	case EntryImageHash:
		return "image-hash"
	case EntryNoop:
		return "noop"
	}
	return fmt.Sprintf("unknown(%d)", uint8(t))
}

// Entry is one entry of the log. Payload must not be changed.
type Entry struct {
	Type   EntryType
	Epoch  uint64
	Offset int64
	// PrevHash is the Hash of the entry at Offset-1, zero at offset 0.
	PrevHash Hash
	// Hash is computed, not stored: see EntryHash.
	Hash Hash
	// More says that the next entry belongs to the same proposal. Such a group is written, sent and committed as a whole.
	More    bool
	Payload []byte
}

// NewEntry is an entry before it has its place in the log.
type NewEntry struct {
	Type    EntryType
	Payload []byte
}

// EpochSpan is one epoch of a log's lineage: the offset of its first entry.
type EpochSpan struct {
	Epoch uint64
	Start int64
}

// Position is a place between two entries, described by the entry before it: End is that entry's offset plus one.
type Position struct {
	End   int64
	Epoch uint64
	Hash  Hash
}

// Fault says that entries from an offset on may have been lost from this node's disk. While it stands the node counts for nothing.
type Fault struct {
	From int64
}

// VoterSet is a set of voters and the offset of the entry that set it; -1 for the founders.
type VoterSet struct {
	Offset  int64
	Members []Member
}

// Has reports whether the member votes.
func (v VoterSet) Has(m Member) bool {
	for _, x := range v.Members {
		if x == m {
			return true
		}
	}
	return false
}

// Majority is the number of voters that decide.
func (v VoterSet) Majority() int { return len(v.Members)/2 + 1 }

// Role is what a node is doing for the log.
type Role uint8

// The roles, in the order in which a leader passes through them.
const (
	RoleFollower Role = iota
	// RoleFencing: collecting promises.
	RoleFencing
	// RoleAdopting: fetching the best log.
	RoleAdopting
	// RoleOpening: the epoch's first entry is not committed yet.
	RoleOpening
	// RoleLeader: serving.
	RoleLeader
)

func (r Role) String() string {
	return [...]string{"follower", "fencing", "adopting", "opening", "leader"}[r]
}

// Genesis is what a cluster was founded as. It is the same on every member, and comes before the first entry of the log.
type Genesis struct {
	ClusterID string
	// Founders are the voters before the first Voters entry.
	Founders        []Member
	MetadataVersion int32
	Features        map[string]int16
	TimestampMs     int64
}

// Status describes the log on this node. It is immutable.
type Status struct {
	Self   Member
	Role   Role
	Ballot Ballot // the ballot promised last
	// Leader is who leads in Ballot, as far as known here; zero if nobody has been heard yet.
	Leader Member
	// Epoch is the epoch of the last entry.
	Epoch    uint64
	Start    int64 // first offset that can be read
	Commit   int64 // entries below are committed (the high watermark)
	Applied  int64 // entries below are in the image
	End      int64 // entries below are in this node's log
	Durable  int64 // entries below are on this node's disk
	Snapshot int64 // the newest image file holds the entries below
	Fault    *Fault
	// Contested: a member follows another leader of this node's term. Only a new term gets it back.
	Contested bool
	Voters    VoterSet
	// Banned are the members whose disk was put back to an older state: nothing of them is heard here any more; see Core.Handshake.
	Banned      []Member
	LastHash    Hash // of the entry at End-1
	Followers   []FollowerStatus
	ProposalsIn int64 // proposals accepted since the start
}

// FollowerStatus is what the leader knows of another member. Only a leader has it.
type FollowerStatus struct {
	Member Member
	Voter  bool
	Faulty bool
	// Match is the end of what is durable there and equal to the leader's log.
	Match int64
	// Next is the offset that is sent next.
	Next int64
	// LastAckMs and CaughtUpMs are Unix milliseconds of the last reply and of the last time Match was the leader's end; 0 for never.
	LastAckMs  int64
	CaughtUpMs int64
}
