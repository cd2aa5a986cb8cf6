package group

import "time"

// Client is who sent a request, as shown by DescribeGroups.
type Client struct {
	ID   string // client id of the request header
	Host string // "/127.0.0.1", as Kafka prints it
}

// Protocol is one assignment strategy that a member supports, in the member's order of preference.
type Protocol struct {
	Name     string
	Metadata []byte // opaque, except for protocol type "consumer": a subscription
}

// JoinRequest asks to be a member of the next generation.
type JoinRequest struct {
	Group        string
	MemberID     string // empty at first
	InstanceID   string // empty: a dynamic member
	Client       Client
	ProtocolType string
	Protocols    []Protocol
	// SessionTimeout is how long a silent member is kept; RebalanceTimeout how long a rebalance waits for it.
	SessionTimeout, RebalanceTimeout time.Duration
	// RequireKnownMember: a first join of a dynamic member is answered with ErrMemberIDRequired (JoinGroup v4+).
	RequireKnownMember bool
	// CanSkipAssignment: the client understands JoinResult.SkipAssignment (JoinGroup v9+).
	CanSkipAssignment bool
	Reason            string // for the log
}

// JoinMember is one member as its leader sees it.
type JoinMember struct {
	MemberID   string
	InstanceID string
	Metadata   []byte // of the chosen protocol
}

// JoinResult is the generation that the member is now part of. With an error only MemberID is set.
type JoinResult struct {
	MemberID       string
	Generation     int32
	ProtocolType   string
	Protocol       string
	LeaderID       string
	SkipAssignment bool         // the leader must not assign: a static leader came back to a stable group
	Members        []JoinMember // for the leader only
}

// Assignment is what the leader gives one member.
type Assignment struct {
	MemberID string
	Data     []byte
}

// SyncRequest asks for the member's assignment; the leader's brings all of them.
type SyncRequest struct {
	Group        string
	MemberID     string
	InstanceID   string
	Generation   int32
	ProtocolType *string // nil before SyncGroup v5
	Protocol     *string
	Assignments  []Assignment
}

// SyncResult is a member's assignment.
type SyncResult struct {
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// HeartbeatRequest says that a member lives.
type HeartbeatRequest struct {
	Group      string
	MemberID   string
	InstanceID string
	Generation int32
}

// LeaveMember names a member that leaves: by id, or by instance id with an empty id (an administrator's removal).
type LeaveMember struct {
	MemberID   string
	InstanceID string
	Reason     string
}

// CommitRequest stores offsets. Generation -1 with no member id is a simple consumer or an administrator.
type CommitRequest struct {
	Group      string
	MemberID   string
	InstanceID string
	Generation int32
	Retention  time.Duration // negative: offsets.retention.minutes
	Offsets    []CommitOffset
}

// CommitOffset is one offset to store. The caller has checked that the partition exists.
type CommitOffset struct {
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32 // -1: not known
	Metadata    string
}

// TopicPartitions names partitions of one topic.
type TopicPartitions struct {
	Topic      string
	Partitions []int32
}

// TopicOffsets holds what FetchOffsets found for one topic.
type TopicOffsets struct {
	Topic      string
	Partitions []PartitionOffset
}

// PartitionOffset is a committed offset; Offset and LeaderEpoch are -1 where nothing is committed.
type PartitionOffset struct {
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// Description is a group as DescribeGroups shows it.
type Description struct {
	Group        string
	State        State
	ProtocolType string
	Protocol     string // in state Stable only
	Members      []MemberDescription
}

// MemberDescription is one member; Metadata and Assignment are filled in state Stable only.
type MemberDescription struct {
	MemberID   string
	InstanceID string
	Client     Client
	Metadata   []byte
	Assignment []byte
}

// Listing is a group as ListGroups shows it.
type Listing struct {
	Group        string
	ProtocolType string
	State        State
}

// State is where a group is in its life.
type State int8

// The states of a classic group. Dead groups are never kept: it is what a group that does not exist is called.
const (
	Dead State = iota
	Empty
	PreparingRebalance
	CompletingRebalance
	Stable
)

var stateNames = [...]string{"Dead", "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}

// String gives Kafka's name of the state.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "Unknown"
	}
	return stateNames[s]
}
