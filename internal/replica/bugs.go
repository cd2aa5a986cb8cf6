package replica

// Bugs are seeded mistakes: rules of data-plane.md left out, for the simulator to find. Zero in production.
type Bugs uint32

// The rules that the simulator leaves out.
const (
	BugShrinkAssumed       Bugs = 1 << iota // R4: a proposed removal counts before it is committed
	BugExpandNotCounted                     // R4: a proposed addition does not count until it is committed
	BugTruncateToHW                         // R2: a follower cuts its log to the high watermark on a new epoch
	BugNoEpochCheck                         // R2: a push is accepted whatever the record before it is
	BugAckAnyEpoch                          // R4: acks of another leader epoch count
	BugAckAnyIncarnation                    // R4: acks of another incarnation of the follower count
	BugHWUnderMinISR                        // R4: the high watermark moves with too few in sync
	BugAcceptOldLeader                      // R1: pushes of a deposed leader are accepted
	BugRetryRefreshes                       // R6: a retry of an ISR change names newer broker epochs than were measured
	BugStaleClears                          // R6: a refusal for a stale partition epoch ends the proposal, although an earlier copy may have made it stale
	BugLostStaysInSync                      // R8: a follower that lost what it had acked stays in the ISR
	BugAckCoversRefused                     // acks of a stream cover frames that were refused
	BugLeadsUnregistered                    // R7: leads although the image shows another incarnation as registered
	BugAckBeforeSync                        // R3: an end counts before it is durable
	BugExpandBelowStart                     // R6: a follower joins the ISR with less than the log at the epoch's start
	BugTruncateBelowAcked                   // R10: a follower cuts below what it acked in the epoch
	BugWaterMarkUnverified                  // a follower takes over the leader's high watermark beyond what it has verified
)
