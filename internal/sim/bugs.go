package sim

import "github.com/chronik-io/chronik/internal/metalog"

// diskBugs are seeded bugs of the disk and of recovery.
type diskBugs uint32

const (
	bugPromisesCut         diskBugs = 1 << iota // truncation cuts files, and promises with them
	bugTornDespiteSeal                          // a damaged commit is torn if only Seals follow
	bugTailNotRewritten                         // what was found in the page cache counts as durable
	bugRecycleWithoutCarry                      // old commits go without promise and fault mark being written again
	bugTruncateAtDamage                         // the log ends at damage, without a fault
	bugOwnEntriesForgiven                       // damage to what a controller wrote for itself is no fault
)

// bug is one line of the scorecard.
type bug struct {
	name    string
	core    metalog.Bugs
	disk    diskBugs
	profile string
	seeds   int // budget of the default run
}

// profiles are weights that make what a bug needs likelier. The protocol must hold under each of them too.
var profiles = map[string]func(w *World){
	"installs": func(w *World) {
		w.weights[evImage], w.weights[evInstall], w.weights[evIO], w.weights[evCrash], w.weights[evPropose] = 20, 40, 100, 15, 60
	},
	"damage": func(w *World) {
		w.weights[evDamage], w.weights[evSeal], w.weights[evCrash], w.weights[evStart], w.weights[evPropose] = 6, 20, 10, 60, 80
	},
	"seals": func(w *World) {
		w.weights[evDamage], w.weights[evSeal], w.weights[evCrash], w.weights[evStart], w.weights[evPropose] = 8, 150, 10, 60, 20
	},
	"repairs": func(w *World) {
		w.weights[evDamage], w.weights[evCrash], w.weights[evStart], w.weights[evPropose] = 8, 10, 60, 60
		w.weights[evImage], w.weights[evInstall], w.weights[evIO] = 20, 40, 100
	},
	"voters": func(w *World) {
		w.weights[evVoters], w.weights[evClaim], w.weights[evPropose] = 30, 25, 40
	},
	"wipes": func(w *World) { w.weights[evWipe], w.weights[evVoters] = 4, 10 },
	"restores": func(w *World) {
		w.weights[evBackup], w.weights[evRestore], w.weights[evDamage], w.weights[evWipe], w.weights[evCrash] = 10, 10, 0, 0, 10
		w.weights[evVoters], w.weights[evClaim], w.weights[evDrop], w.weights[evLink], w.weights[evPropose] = 0, 15, 40, 8, 20
	},
	"crashes": func(w *World) { w.weights[evCrash], w.weights[evStart], w.power = 30, 80, 50 },
	"claims":  func(w *World) { w.weights[evClaim], w.weights[evPropose] = 40, 60 },
}

// profileNames are the profiles that seeds take in turn; "any" is weights as drawn.
var profileNames = []string{"any", "installs", "damage", "voters", "wipes", "restores", "crashes", "claims", "seals", "repairs"}

// scorecard is every rule of the protocol, left out.
var scorecard = []bug{
	{"promise-not-durable", metalog.BugPromiseNotDurable, 0, "", 2000},
	{"late-ack", metalog.BugLateAck, 0, "", 2000},
	{"ack-before-fsync", metalog.BugAckBeforeSync, 0, "", 2000},
	{"no-fence-quorum", metalog.BugNoFenceQuorum, 0, "", 2000},
	{"pick-longest", metalog.BugPickLongest, 0, "", 2000},
	{"pick-by-promise", metalog.BugPickByPromise, 0, "", 2000},
	{"commit-old-epoch", metalog.BugCommitOldEpoch, 0, "claims", 20000},
	{"commit-unverified", metalog.BugCommitUnverified, 0, "", 2000},
	{"commit-not-durable", metalog.BugCommitNotDurable, 0, "", 2000},
	{"truncate-always", metalog.BugTruncateAlways, 0, "", 2000},
	{"no-prev-check", metalog.BugNoPrevCheck, 0, "", 2000},
	{"skip-chain-check", metalog.BugSkipChainCheck | metalog.BugNoPrevCheck, 0, "", 2000},
	{"promise-by-term-only", metalog.BugPromiseByTermOnly, 0, "", 2000},
	{"reuse-epoch-after-restart", metalog.BugReuseEpoch, 0, "", 4000},
	{"claim-by-boot-promise", metalog.BugClaimByBootPromise, 0, "", 4000},
	{"wiped-same-id", metalog.BugWipedSameID, 0, "wipes", 4000},
	{"boot-goes-back", metalog.BugBootGoesBack, 0, "restores", 4000},
	{"leader-counts-unsynced", metalog.BugLeaderCountsUnsynced, 0, "", 2000},
	{"count-nonvoter", metalog.BugCountNonvoter, 0, "", 2000},
	{"count-faulty", metalog.BugCountFaulty, 0, "damage", 4000},
	{"split-group", metalog.BugSplitGroup, 0, "", 2000},
	{"quorum-from-raft", metalog.BugQuorumFromRaft, 0, "voters", 4000},
	{"two-pending", metalog.BugTwoPending, 0, "voters", 10000},
	{"change-before-start", metalog.BugChangeBeforeStart, 0, "voters", 20000},
	{"voters-not-reverted", metalog.BugVotersNotReverted, 0, "voters", 4000},
	{"truncate-at-damage", 0, bugTruncateAtDamage, "damage", 4000},
	{"own-entries-forgiven", 0, bugOwnEntriesForgiven, "damage", 4000},
	{"torn-despite-seal", 0, bugTornDespiteSeal, "seals", 4000},
	{"fault-forgotten", metalog.BugFaultForgotten, 0, "damage", 10000},
	{"fault-until-unknown", metalog.BugFaultUntilUnknown, 0, "damage", 10000},
	{"clear-fault-before-fsync", metalog.BugClearFaultBeforeSync, 0, "damage", 20000},
	{"clear-without-nonce", metalog.BugClearWithoutNonce, 0, "damage", 20000},
	{"promise-cut-by-truncate", 0, bugPromisesCut, "", 4000},
	{"one-promise-copy", metalog.BugOnePromiseCopy, 0, "damage", 4000},
	{"recycle-without-carry", 0, bugRecycleWithoutCarry, "", 4000},
	{"tail-not-rewritten", metalog.BugNoBootCarry | metalog.BugBootGoesBack, bugTailNotRewritten, "crashes", 20000},
	{"install-without-retain", metalog.BugInstallNoRetain, 0, "installs", 10000},
	{"install-not-atomic", metalog.BugInstallNotAtomic, 0, "installs", 10000},
	{"install-loses-promise", metalog.BugInstallLosesPromise, 0, "installs", 10000},
	{"install-clears-fault", metalog.BugInstallClearsFault, 0, "repairs", 20000},
	{"install-ignores-ballot", metalog.BugInstallNoBallot, 0, "installs", 20000},
	{"install-ballot-not-rechecked", metalog.BugInstallNoRecheck, 0, "installs", 20000},
	{"image-with-partial-lineage", metalog.BugPartialLineage, 0, "installs", 10000},
}
