package kafkaserver

import (
	"context"
	"errors"

	"github.com/chronik-io/chronik/internal/group"
	"github.com/twmb/franz-go/pkg/kerr"
)

func init() {
	mapErrors(
		errorMapping{group.ErrInvalidGroupID, kerr.InvalidGroupID},
		errorMapping{group.ErrInvalidSessionTimeout, kerr.InvalidSessionTimeout},
		errorMapping{group.ErrInvalidRequest, kerr.InvalidRequest},
		errorMapping{group.ErrUnknownMember, kerr.UnknownMemberID},
		errorMapping{group.ErrMemberIDRequired, kerr.MemberIDRequired},
		errorMapping{group.ErrFencedInstance, kerr.FencedInstanceID},
		errorMapping{group.ErrIllegalGeneration, kerr.IllegalGeneration},
		errorMapping{group.ErrInconsistentProtocol, kerr.InconsistentGroupProtocol},
		errorMapping{group.ErrRebalanceInProgress, kerr.RebalanceInProgress},
		errorMapping{group.ErrGroupFull, kerr.GroupMaxSizeReached},
		errorMapping{group.ErrGroupNotFound, kerr.GroupIDNotFound},
		errorMapping{group.ErrGroupNotEmpty, kerr.NonEmptyGroup},
		errorMapping{group.ErrSubscribed, kerr.GroupSubscribedToTopic},
		errorMapping{group.ErrMetadataTooLarge, kerr.OffsetMetadataTooLarge},
		errorMapping{group.ErrStateFull, kerr.PolicyViolation},
		errorMapping{group.ErrRecordTooLarge, kerr.MessageTooLarge},
		errorMapping{group.ErrLoading, kerr.CoordinatorLoadInProgress},
		errorMapping{group.ErrNotCoordinator, kerr.NotCoordinator},
		errorMapping{group.ErrNotAvailable, kerr.CoordinatorNotAvailable},
		errorMapping{group.ErrStopped, kerr.CoordinatorNotAvailable},
		errorMapping{group.ErrCorruptRecord, kerr.KafkaStorageError},
	)
}

// groupCode is errorCode for what the group coordinator answers. A wait that was cut short because the server stops is one to retry.
func groupCode(err error) int16 {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return kerr.CoordinatorNotAvailable.Code
	}
	return errorCode(err)
}

// instanceOf is a static member's instance id, "" for a dynamic one. An empty instance id is no name for anybody.
func instanceOf(id *string) (string, error) {
	switch {
	case id == nil:
		return "", nil
	case *id == "":
		return "", group.ErrInvalidRequest
	default:
		return *id, nil
	}
}

// instancePtr is the wire's form of an instance id.
func instancePtr(id string) *string {
	if id == "" {
		return nil
	}
	return &id
}

// clientOf says who asks, as DescribeGroups shows it later.
func clientOf(r *request) group.Client {
	return group.Client{ID: r.clientName(), Host: "/" + r.host}
}
