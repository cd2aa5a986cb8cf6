package metalog

// Bugs is a set of seeded bugs: each leaves out one rule of the protocol. Only the simulator sets them, through NewSimCore, to show that
// it would notice; a test of this package holds that nobody else does.
type Bugs uint64

// The seeded bugs of the core. Those of the disk are in the simulator.
const (
	BugPromiseNotDurable    Bugs = 1 << iota // the promise is not written
	BugLateAck                               // a promise reports what is durable so far, and older acks still leave
	BugAckBeforeSync                         // acks do not wait for the disk
	BugNoFenceQuorum                         // one reply is enough
	BugPickLongest                           // the longest log is the best
	BugPickByPromise                         // the log of the highest promise is the best
	BugCommitOldEpoch                        // entries of older epochs are committed by counting
	BugCommitUnverified                      // a follower commits what the leader says, up to its own end
	BugTruncateAlways                        // cut at every Append's Prev
	BugNoPrevCheck                           // do not compare Prev
	BugPromiseByTermOnly                     // equal terms are the same ballot
	BugReuseEpoch                            // the nonce is not new after a restart, and an own promise may be led again
	BugWipedSameID                           // replies of a wiped member count
	BugQuorumFromRaft                        // the quorum is taken from a configuration outside the log
	BugClearFaultBeforeSync                  // a fault is cleared when it is known what to repair, not when that is durable
	BugFaultUntilUnknown                     // a fault is cleared as soon as one entry more is there
	BugFaultForgotten                        // the fault mark is not written
	BugClearWithoutNonce                     // any Append's LeaderEnd may clear a fault
	BugTwoPending                            // a second change of voters before the first is committed
	BugChangeBeforeStart                     // a change of voters before the epoch's first entry is committed
	BugVotersNotReverted                     // a truncated change of voters stays in force
	BugInstallNoRetain                       // an install drops the log even if it has the image's position
	BugInstallNotAtomic                      // the log counts as replaced before the replacement is durable
	BugInstallLosesPromise                   // the new segment has no promise
	BugInstallClearsFault                    // the new segment has no fault mark
	BugInstallNoBallot                       // installs of any ballot are taken
	BugInstallNoRecheck                      // neither ballot nor log are looked at again at the swap
	BugCountNonvoter                         // every reply counts, whoever votes
	BugCountFaulty                           // replies of faulty members count
	BugLeaderCountsUnsynced                  // the leader counts its own end before it is durable
	BugBootGoesBack                          // a member that returns with an older boot is heard
	BugClaimByBootPromise                    // a claim is compared with the promise at boot only
	BugCommitNotDurable                      // a follower acts on entries before they are durable
	BugSplitGroup                            // a proposal may be sent in parts
	BugOnePromiseCopy                        // the promise is written once
	BugSkipChainCheck                        // entries are taken without looking at the chain
	BugPartialLineage                        // an image holds only the end of the lineage
	BugFaultyClaims                          // a member with damage leads
	BugCountTwice                            // a reply that comes twice counts twice
	BugOldAnswers                            // promises and acks of other ballots count
	BugVotersByTwo                           // successive voters may differ by more than one member
	BugInstallBelowCommit                    // an image may end below the own commit
	BugNoBootCarry                           // nothing is written at the start, so nothing makes durable what was found
)

func (c *Core) bug(b Bugs) bool { return c.bugs&b != 0 }
