package sim

import "github.com/chronik-io/chronik/internal/replica"

// planeBugs are seeded bugs of the controller's side and of what stands around the cores.
type planeBugs uint32

const (
	bugUncleanElection     planeBugs = 1 << iota // R9: anybody is elected where nobody eligible is left
	bugAlterAnyIncarnation                       // R6: the controller does not compare the broker epochs
	bugNoPartitionEpoch                          // R6: nor the partition epoch
	bugWipedStaysISR                             // R8
	bugWipedStaysELR                             // R8
	bugMinKeepsELR                               // R9: min.insync.replicas changes and the ELR stays
	bugMaterialiseAbove                          // segments hold what is not committed
	bugDuplicateAcked                            // R12: a duplicate does not wait for the high watermark
)

// planeBug is one line of the scorecard.
type planeBug struct {
	name    string
	core    replica.Bugs
	world   planeBugs
	profile string
	seeds   int // budget
}

// planeProfiles are weights that make what a bug needs likelier. The rules must hold under each of them too.
var planeProfiles = map[string]func(w *plane){
	"crashes": func(w *plane) {
		w.weights[pvCrash], w.weights[pvStart], w.weights[pvRegister], w.weights[pvServe] = 25, 80, 120, 120
	},
	"fences": func(w *plane) { w.weights[pvFence], w.weights[pvServe], w.weights[pvApply] = 60, 150, 60 },
	"isr": func(w *plane) {
		w.perStep, w.weights[pvTick], w.weights[pvBreak], w.weights[pvCall], w.weights[pvDropCall] = 10, 200, 12, 60, 10
	},
	"wipes": func(w *plane) {
		w.min, w.weights[pvWipe], w.weights[pvMin], w.weights[pvLose], w.weights[pvFence] = 2, 4, 0, 0, 20
	},
	"losses":  func(w *plane) { w.weights[pvLose], w.weights[pvWipe], w.weights[pvFence] = 12, 0, 0 },
	"unclean": func(w *plane) { w.weights[pvUnclean], w.weights[pvFence], w.weights[pvCrash] = 20, 30, 15 },
	"min":     func(w *plane) { w.weights[pvMin], w.weights[pvFence], w.weights[pvServe] = 20, 30, 60 },
	"deletes": func(w *plane) { w.weights[pvStartMoves], w.weights[pvMaterialise], w.weights[pvFence] = 20, 20, 15 },
	"slow":    func(w *plane) { w.weights[pvApply], w.weights[pvSync], w.weights[pvFence] = 15, 40, 20 },
	"streams": func(w *plane) { w.weights[pvBreak], w.weights[pvDial], w.weights[pvProduce] = 25, 80, 150 },
	// Leaders go and come back while what was answered to them is under way.
	"swaps": func(w *plane) {
		w.weights[pvRebalance], w.weights[pvFence], w.weights[pvServe], w.weights[pvApply] = 30, 60, 150, 150
		w.weights[pvHear], w.weights[pvProduce], w.weights[pvBreak], w.weights[pvCrash], w.weights[pvCut] = 60, 150, 0, 1, 0
	},
	// Nodes are wiped between being measured and being let into the ISR.
	"measured": func(w *plane) {
		w.aimed, w.min, w.weights[pvWipe], w.weights[pvMin], w.weights[pvLose] = true, 2, 60, 0, 0
		w.weights[pvCall], w.weights[pvDropCall], w.weights[pvTick], w.weights[pvApply] = 15, 8, 100, 150
		w.weights[pvStart], w.weights[pvRegister], w.weights[pvServe], w.weights[pvFence] = 100, 150, 150, 60
	},
	// Nodes are wiped and come back at once; what they are pushed comes late.
	"returns": func(w *plane) {
		w.min, w.weights[pvWipe], w.weights[pvMin], w.weights[pvLose] = 2, 6, 0, 0
		w.weights[pvTick], w.weights[pvCall], w.weights[pvDial], w.weights[pvApply] = 250, 150, 150, 200
		w.weights[pvStart], w.weights[pvRegister], w.weights[pvServe], w.weights[pvFence] = 100, 150, 150, 60
		w.weights[pvTake], w.weights[pvBuild], w.weights[pvProduce] = 80, 80, 20
	},
	// ISRs change often and leaders learn it late.
	"stale": func(w *plane) {
		w.perStep, w.weights[pvApply], w.weights[pvTick], w.weights[pvCall], w.weights[pvProduce] = 5, 15, 40, 200, 150
		w.weights[pvTake], w.weights[pvFence], w.weights[pvServe] = 150, 20, 150
	},
	// Leaders change often, and followers have little of what they are pushed when they are proposed.
	"begins": func(w *plane) {
		w.weights[pvTick], w.weights[pvCall], w.weights[pvFence], w.weights[pvServe], w.weights[pvApply] = 250, 200, 60, 150, 150
		w.weights[pvHear], w.weights[pvTake], w.weights[pvProduce] = 150, 150, 150
	},
}

// planeProfileNames are the profiles that seeds take in turn.
var planeProfileNames = []string{"any", "crashes", "fences", "isr", "wipes", "losses", "unclean", "min", "deletes", "slow", "streams", "swaps", "measured",
	"returns", "stale", "begins"}

// planeScorecard is every rule of the data plane, left out.
var planeScorecard = []planeBug{
	{"shrink-assumed", replica.BugShrinkAssumed, 0, "isr", 4000},
	{"expand-not-counted", replica.BugExpandNotCounted, 0, "isr", 4000},
	{"truncate-to-hw", replica.BugTruncateToHW, 0, "any", 1000},
	{"no-epoch-check", replica.BugNoEpochCheck, 0, "any", 1000},
	{"ack-any-epoch", replica.BugAckAnyEpoch, 0, "swaps", 4000},
	{"ack-any-incarnation", replica.BugAckAnyIncarnation, 0, "returns", 4000},
	{"alter-any-incarnation", 0, bugAlterAnyIncarnation, "measured", 4000},
	{"no-partition-epoch-cas", 0, bugNoPartitionEpoch, "isr", 20000},
	{"ack-before-fsync", replica.BugAckBeforeSync, 0, "any", 1000},
	{"hw-under-minisr", replica.BugHWUnderMinISR, 0, "any", 1000},
	{"unclean-election", 0, bugUncleanElection, "any", 1000},
	{"accept-old-leader", replica.BugAcceptOldLeader, 0, "fences", 4000},
	{"wiped-stays-isr", 0, bugWipedStaysISR, "wipes", 1000},
	{"wiped-stays-elr", 0, bugWipedStaysELR, "wipes", 4000},
	{"alter-retry-refreshes-epochs", replica.BugRetryRefreshes, 0, "measured", 4000},
	{"leader-restart-same-epoch", replica.BugLeadsUnregistered, 0, "crashes", 1000},
	{"stream-ack-covers-refused", replica.BugAckCoversRefused, 0, "any", 4000},

	{"min-lowered-with-elr", 0, bugMinKeepsELR, "min", 4000},
	{"materialise-above-hw", 0, bugMaterialiseAbove, "deletes", 2000},
	{"lost-commit-stays-in-isr", replica.BugLostStaysInSync, 0, "losses", 2000},
	{"stale-refusal-ends-proposal", replica.BugStaleClears, 0, "stale", 4000},
	{"expand-below-start", replica.BugExpandBelowStart, 0, "begins", 4000},
	{"truncate-below-acked", replica.BugTruncateBelowAcked | replica.BugAcceptOldLeader, 0, "fences", 8000},
	{"high-watermark-unverified", replica.BugWaterMarkUnverified, 0, "slow", 4000},
	{"duplicate-acked-at-once", 0, bugDuplicateAcked, "any", 1000},
}
