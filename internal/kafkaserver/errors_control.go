package kafkaserver

import (
	"context"
	"errors"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/twmb/franz-go/pkg/kerr"
)

func init() {
	mapErrors(
		errorMapping{controller.ErrInvalidRequest, kerr.InvalidRequest},
		errorMapping{controller.ErrInvalidTopic, kerr.InvalidTopicException},
		errorMapping{controller.ErrTopicExists, kerr.TopicAlreadyExists},
		errorMapping{controller.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
		errorMapping{controller.ErrUnknownTopicID, kerr.UnknownTopicID},
		errorMapping{controller.ErrTopicDeletionDisabled, kerr.TopicDeletionDisabled},
		errorMapping{controller.ErrInvalidPartitions, kerr.InvalidPartitions},
		errorMapping{controller.ErrInvalidReplicationFactor, kerr.InvalidReplicationFactor},
		errorMapping{controller.ErrInvalidReplicaAssignment, kerr.InvalidReplicaAssignment},
		errorMapping{controller.ErrInvalidConfig, kerr.InvalidConfig},
		errorMapping{controller.ErrReassignmentInProgress, kerr.ReassignmentInProgress},
		errorMapping{controller.ErrElectionNotNeeded, kerr.ElectionNotNeeded},
		errorMapping{controller.ErrPreferredLeaderNotUp, kerr.PreferredLeaderNotAvailable},
		errorMapping{controller.ErrEligibleLeadersNotUp, kerr.EligibleLeadersNotAvailable},
		errorMapping{controller.ErrUnknownBroker, kerr.BrokerIDNotRegistered},
		errorMapping{controller.ErrStaleBrokerEpoch, kerr.StaleBrokerEpoch},
		errorMapping{controller.ErrUnknownIncarnation, kerr.StaleBrokerEpoch},
		errorMapping{controller.ErrDuplicateBroker, kerr.DuplicateBrokerRegistration},
		errorMapping{controller.ErrProducerIDsExhausted, kerr.UnknownServerError},
		errorMapping{controller.ErrStaleLeaderEpoch, kerr.FencedLeaderEpoch},
		errorMapping{controller.ErrStalePartitionEpoch, kerr.InvalidUpdateVersion},
		errorMapping{controller.ErrIneligibleReplica, kerr.IneligibleReplica},
		errorMapping{controller.ErrBrokerHoldsReplicas, kerr.InvalidRequest},

		errorMapping{metadata.ErrTopicName, kerr.InvalidTopicException},
		errorMapping{metadata.ErrInvalid, kerr.UnknownServerError},
		errorMapping{metadata.ErrUnknownEvent, kerr.UnknownServerError},
		errorMapping{metadata.ErrMalformed, kerr.UnknownServerError},
		errorMapping{metadata.ErrSnapshot, kerr.UnknownServerError},

		// NOT_CONTROLLER: nothing was done, and the client asks again. REQUEST_TIMED_OUT: it may have been done.
		errorMapping{metalog.ErrNotController, kerr.NotController},
		errorMapping{metalog.ErrBusy, kerr.NotController},
		errorMapping{metalog.ErrClosed, kerr.NotController},
		errorMapping{metalog.ErrHalted, kerr.NotController},
		errorMapping{metalog.ErrUnknownOutcome, kerr.RequestTimedOut},
		errorMapping{metalog.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
		errorMapping{metalog.ErrVotersChange, kerr.InvalidRequest},
		errorMapping{metalog.ErrTooLarge, kerr.InvalidRequest},
		errorMapping{metalog.ErrDamaged, kerr.UnknownServerError}, // at the start only
		errorMapping{context.DeadlineExceeded, kerr.RequestTimedOut},
		errorMapping{context.Canceled, kerr.RequestTimedOut},
	)
}

// refusalText is the message for one item of an admin request: none for success and for a sentinel without a sentence.
func refusalText(err error) *string {
	var refusal *controller.Refusal
	if err == nil || errors.Is(err, controller.ErrUnknownTopic) && !errors.As(err, &refusal) {
		return nil
	}
	return errorText(err)
}
