package controller

import (
	"errors"
	"fmt"
)

// The reasons for which an operation is refused. Errors returned for items of a request are *Refusal values that wrap one of these;
// what the log itself returns (metalog.ErrNotController and others) is returned for the request as a whole.
var (
	ErrInvalidRequest           = errors.New("invalid request")
	ErrInvalidTopic             = errors.New("invalid topic name")
	ErrTopicExists              = errors.New("topic exists")
	ErrUnknownTopic             = errors.New("unknown topic or partition")
	ErrUnknownTopicID           = errors.New("unknown topic id")
	ErrTopicDeletionDisabled    = errors.New("topic deletion is disabled")
	ErrInvalidPartitions        = errors.New("invalid number of partitions")
	ErrInvalidReplicationFactor = errors.New("invalid replication factor")
	ErrInvalidReplicaAssignment = errors.New("invalid replica assignment")
	ErrInvalidConfig            = errors.New("invalid config")
	ErrReassignmentInProgress   = errors.New("partition reassignment in progress")
	ErrElectionNotNeeded        = errors.New("election not needed")
	ErrPreferredLeaderNotUp     = errors.New("preferred leader not available")
	ErrEligibleLeadersNotUp     = errors.New("eligible leaders not available")
	ErrUnknownBroker            = errors.New("broker not registered")
	ErrStaleBrokerEpoch         = errors.New("stale broker epoch")
	ErrDuplicateBroker          = errors.New("another broker is registered under this id")
	ErrProducerIDsExhausted     = errors.New("producer ids are used up")
	ErrStaleLeaderEpoch         = errors.New("stale leader epoch")
	ErrStalePartitionEpoch      = errors.New("stale partition epoch")
	ErrIneligibleReplica        = errors.New("replica may not join the ISR")
	ErrBrokerHoldsReplicas      = errors.New("broker holds replicas")
)

// Refusal is why one item of a request was not done: the sentinel that it is, and a sentence for the user.
type Refusal struct {
	Reason  error
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Unwrap returns the reason, one of this package's sentinels.
func (r *Refusal) Unwrap() error { return r.Reason }

// isRefusal tells a refusal from what the log itself returns.
func isRefusal(err error) bool {
	var r *Refusal
	return errors.As(err, &r)
}

func refuse(reason error, format string, args ...any) error {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
