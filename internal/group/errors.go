package group

import "errors"

// What the coordinator answers with. internal/kafkaserver maps each of them to Kafka's error code.
var (
	// ErrInvalidGroupID: the group id is empty where a group is needed, or too long to be stored.
	ErrInvalidGroupID = errors.New("invalid group id")
	// ErrInvalidSessionTimeout: outside group.min.session.timeout.ms .. group.max.session.timeout.ms.
	ErrInvalidSessionTimeout = errors.New("session timeout out of range")
	// ErrInvalidRequest: a field that no group could be stored with (an over-long name).
	ErrInvalidRequest = errors.New("invalid group request")
	// ErrUnknownMember: the group has no such member; it has to join again without an id.
	ErrUnknownMember = errors.New("unknown member")
	// ErrMemberIDRequired: a first join; JoinResult.MemberID is the id to join with.
	ErrMemberIDRequired = errors.New("member id required")
	// ErrFencedInstance: another member took over this static member's instance id.
	ErrFencedInstance = errors.New("instance id is fenced")
	// ErrIllegalGeneration: the member speaks of another generation than the group's.
	ErrIllegalGeneration = errors.New("illegal generation")
	// ErrInconsistentProtocol: the protocol type or all of its protocols differ from the group's.
	ErrInconsistentProtocol = errors.New("inconsistent group protocol")
	// ErrRebalanceInProgress: the member has to join the next generation.
	ErrRebalanceInProgress = errors.New("rebalance in progress")
	// ErrGroupFull: group.max.size members are there already.
	ErrGroupFull = errors.New("group is at its maximum size")
	// ErrGroupNotFound: no such group.
	ErrGroupNotFound = errors.New("group not found")
	// ErrGroupNotEmpty: members are there, so neither the group nor its offsets can be deleted.
	ErrGroupNotEmpty = errors.New("group is not empty")
	// ErrSubscribed: a member is subscribed to the topic whose offset was to be deleted.
	ErrSubscribed = errors.New("group is subscribed to the topic")
	// ErrMetadataTooLarge: commit metadata above offset.metadata.max.bytes.
	ErrMetadataTooLarge = errors.New("offset metadata too large")
	// ErrStateFull: the bound on groups or on the bytes of group state is reached.
	ErrStateFull = errors.New("group state is at its bound")
	// ErrRecordTooLarge: a group's metadata does not fit one batch of the internal topic.
	ErrRecordTooLarge = errors.New("group metadata record too large")

	// ErrLoading: the group's partition is being read; ask again.
	ErrLoading = errors.New("coordinator is loading")
	// ErrNotCoordinator: this node does not lead the group's partition.
	ErrNotCoordinator = errors.New("not the coordinator")
	// ErrNotAvailable: the change could not be stored now, or its outcome is not known in time; ask again.
	ErrNotAvailable = errors.New("coordinator not available")
	// ErrStopped: the coordinator is shutting down.
	ErrStopped = errors.New("coordinator is stopped")

	// ErrCorruptRecord: a stored record of a known kind that cannot be decoded. Its partition is not served.
	ErrCorruptRecord = errors.New("corrupt group record")
)
