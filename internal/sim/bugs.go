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
	seeds   int // budget
	slow    bool
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
	"mangled": func(w *World) { w.weights[evMangle], w.weights[evPropose] = 20, 60 },
	"claims":  func(w *World) { w.weights[evClaim], w.weights[evPropose] = 40, 60 },
}

// profileNames are the profiles that seeds take in turn; "any" is weights as drawn.
var profileNames = []string{"any", "installs", "damage", "voters", "wipes", "restores", "crashes", "claims", "seals", "repairs", "mangled"}

// scorecard is every rule of the protocol, left out. The budgets are a few times the first seed that fails. slow marks those that take
// many seeds: they are hunted only when CHRONIK_SEEDS is set, or when asked for by name.
var scorecard = []bug{
	{"promise-not-durable", metalog.BugPromiseNotDurable, 0, "any", 1000, false},
	{"late-ack", metalog.BugLateAck, 0, "any", 1000, false},
	{"ack-before-fsync", metalog.BugAckBeforeSync, 0, "any", 1000, false},
	{"no-fence-quorum", metalog.BugNoFenceQuorum, 0, "any", 1000, false},
	{"pick-longest", metalog.BugPickLongest, 0, "any", 2000, false},
	{"pick-by-promise", metalog.BugPickByPromise, 0, "any", 1000, false},
	{"commit-old-epoch", metalog.BugCommitOldEpoch, 0, "voters", 20000, false},
	{"commit-unverified", metalog.BugCommitUnverified, 0, "any", 1000, false},
	{"commit-not-durable", metalog.BugCommitNotDurable, 0, "any", 1000, false},
	{"truncate-always", metalog.BugTruncateAlways, 0, "any", 1000, false},
	{"no-prev-check", metalog.BugNoPrevCheck, 0, "any", 1000, false},
	{"promise-by-term-only", metalog.BugPromiseByTermOnly, 0, "any", 1000, false},
	{"reuse-epoch-after-restart", metalog.BugReuseEpoch, 0, "any", 2000, false},
	{"claim-by-boot-promise", metalog.BugClaimByBootPromise, 0, "any", 4000, false},
	{"skip-chain-check", metalog.BugSkipChainCheck, 0, "mangled", 4000, false},
	{"count-twice", metalog.BugCountTwice, 0, "any", 4000, false},
	{"answers-of-other-ballots", metalog.BugOldAnswers, 0, "claims", 4000, false},
	{"leader-counts-unsynced", metalog.BugLeaderCountsUnsynced, 0, "any", 1000, false},
	{"split-group", metalog.BugSplitGroup, 0, "any", 1000, false},

	{"count-nonvoter", metalog.BugCountNonvoter, 0, "any", 1000, false},
	{"quorum-from-raft", metalog.BugQuorumFromRaft, 0, "voters", 1000, false},
	{"two-pending", metalog.BugTwoPending, 0, "voters", 4000, false},
	{"change-before-start", metalog.BugChangeBeforeStart, 0, "voters", 100000, true},
	{"voters-not-reverted", metalog.BugVotersNotReverted, 0, "voters", 10000, false},
	{"voters-by-two", metalog.BugVotersByTwo, 0, "voters", 4000, false},
	{"wiped-same-id", metalog.BugWipedSameID, 0, "wipes", 2000, false},
	{"boot-goes-back", metalog.BugBootGoesBack, 0, "restores", 2000, false},

	{"count-faulty", metalog.BugCountFaulty, 0, "damage", 4000, false},
	{"faulty-claims", metalog.BugFaultyClaims, 0, "damage", 20000, false},
	{"truncate-at-damage", 0, bugTruncateAtDamage, "damage", 2000, false},
	{"own-entries-forgiven", 0, bugOwnEntriesForgiven, "damage", 4000, false},
	{"torn-despite-seal", 0, bugTornDespiteSeal, "seals", 8000, false},
	{"fault-forgotten", metalog.BugFaultForgotten, 0, "damage", 8000, false},
	{"fault-until-unknown", metalog.BugFaultUntilUnknown, 0, "damage", 8000, false},
	{"clear-fault-before-fsync", metalog.BugClearFaultBeforeSync, 0, "damage", 20000, true},
	{"clear-without-nonce", metalog.BugClearWithoutNonce, 0, "damage", 100000, true},
	{"promise-cut-by-truncate", 0, bugPromisesCut, "any", 4000, false},
	{"one-promise-copy", metalog.BugOnePromiseCopy, 0, "damage", 1000, false},
	{"recycle-without-carry", 0, bugRecycleWithoutCarry, "any", 20000, false},
	{"tail-not-rewritten", metalog.BugNoBootCarry | metalog.BugBootGoesBack, bugTailNotRewritten, "crashes", 4000, false},

	{"install-without-retain", metalog.BugInstallNoRetain, 0, "installs", 8000, false},
	{"install-not-atomic", metalog.BugInstallNotAtomic, 0, "installs", 2000, false},
	{"install-loses-promise", metalog.BugInstallLosesPromise, 0, "installs", 2000, false},
	{"install-clears-fault", metalog.BugInstallClearsFault, 0, "repairs", 100000, true},
	{"install-ignores-ballot", metalog.BugInstallNoBallot, 0, "installs", 8000, false},
	{"install-below-commit", metalog.BugInstallBelowCommit, 0, "installs", 4000, false},
	{"install-not-rechecked", metalog.BugInstallNoRecheck, 0, "installs", 100000, true},
	{"image-with-partial-lineage", metalog.BugPartialLineage, 0, "installs", 2000, false},
}
