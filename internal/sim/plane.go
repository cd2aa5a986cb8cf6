package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
)

// PlaneOptions choose what a run of the data plane does.
type PlaneOptions struct {
	Seed    uint64
	Steps   int
	Replica replica.Bugs
	Bugs    planeBugs
	Profile string
	// Full runs the metadata log too, with its own faults; else metadata is one history that everybody sees with delay.
	Full  bool
	Trace func(format string, args ...any)
}

// PlaneSometimes counts what must happen now and then for a run to mean anything.
type PlaneSometimes struct {
	Committed, Acked, Retried, Duplicates, Led, Elections, ElectedELR, Unclean, LostUnclean, Truncated, Resets, Refused, Ready,
	StreamsBroken, Expanded, Shrunk, Proposed, ProposedAgain, Rejected, Ineligible, StalePartitionEpoch, HWBlocked, Resigned, MinChanged, MinRefused,
	Crashes, Wipes, Losses, LossSeen, Materialised, StartsMoved, Isolated, NotEnough, NotEnoughAfter, Lively, Excused int
}

// machine is a node: a disk, and replicas while the process runs.
type machine struct {
	id     int32
	diskID uuid.UUID
	wal    nodeWAL
	wiped  bool // the disk is another one than the metadata knows
	// replaced: it once was, or has lost its last commit.
	replaced bool

	up         bool
	nonce      uint64
	inc        uuid.UUID
	view       int // version of the metadata that the process has applied; -1 for none
	registered bool
	isolated   bool
	replicas   []*preplica
	session    []*stream // by node, as sender
	heard      []int64   // by node: when something last came back on the stream
}

// Kinds of events of the data plane.
const (
	pvTake = iota
	pvAnswer
	pvHear
	pvBuild
	pvWrite
	pvDial
	pvBreak
	pvSync
	pvApply
	pvProduce
	pvRetry
	pvTick
	pvCall
	pvDropCall
	pvPing
	pvCrash
	pvStart
	pvRegister
	pvServe
	pvFence
	pvResign
	pvRebalance
	pvMin
	pvUnclean
	pvWipe
	pvLose
	pvMaterialise
	pvStartMoves
	pvIsolate
	pvCut
	pvCount
)

// plane is one run of the data plane.
type plane struct {
	o        PlaneOptions
	rng      *rand.Rand
	weights  [pvCount]int
	total    int
	machines []*machine
	parts    int
	min      int
	now      int64 // milliseconds
	perStep  int64
	step     int

	history     history
	controllers []*controller.Controller
	logs        []*metaLog
	full        *fullMeta // nil: one atomic history

	open    []*stream
	streams int
	calls   []*call
	cut     [][]bool
	ids     uint64
	nonces  uint64
	vals    uint64
	failed  []*produce // to be tried again
	deletes bool       // log starts move in this seed
	aimed   bool       // only a node that a proposal on its way would add to an ISR is wiped

	checks  []*pchecker
	Some    PlaneSometimes
	excused bool
	failure string
}

func newPlane(o PlaneOptions) *plane {
	w := &plane{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0xd1b54a32d192ed03)), now: 1_000_000}
	w.drawPlane()
	for i := range int32(3) {
		m := &machine{id: i, diskID: w.newID(), view: -1, session: make([]*stream, 3), heard: make([]int64, 3)}
		m.wal.disk, m.wal.lastOps = make([]plog, w.parts), make([]int, w.parts)
		w.machines = append(w.machines, m)
		w.cut = append(w.cut, make([]bool, 3))
	}
	for range w.parts {
		w.checks = append(w.checks, newPchecker())
	}
	if o.Full {
		w.full = newFullMeta(w)
		for _, m := range w.machines {
			w.startMachine(m)
		}
		w.full.boot()
		return w
	}
	w.newController(0)
	for _, m := range w.machines {
		w.startMachine(m)
		w.register(m, 0)
		w.apply(m, w.history.head())
		w.serve(m, 0)
	}
	w.createTopic(0)
	for _, m := range w.machines {
		w.apply(m, w.history.head())
	}
	return w
}

// drawPlane picks the weights of this seed.
func (w *plane) drawPlane() {
	pick := func(a ...int) int { return a[w.rng.IntN(len(a))] }
	w.parts, w.min = pick(1, 1, 2), pick(1, 2, 2)
	w.perStep = int64(pick(1, 2, 5))
	w.weights = [pvCount]int{
		pvTake: pick(300, 500), pvAnswer: pick(200, 400), pvHear: pick(300, 500), pvBuild: pick(150, 300), pvWrite: pick(150, 300), pvDial: pick(20, 60),
		pvBreak: pick(0, 2, 10), pvSync: pick(80, 200, 400), pvApply: pick(50, 150, 300), pvProduce: pick(60, 120), pvRetry: pick(10, 40),
		pvTick: pick(20, 60), pvCall: pick(20, 60, 120), pvDropCall: pick(0, 2, 10), pvPing: pick(10, 30), pvCrash: pick(1, 4, 12), pvStart: pick(10, 40),
		pvRegister: pick(20, 60), pvServe: pick(20, 60), pvFence: pick(2, 8, 20), pvResign: pick(0, 0, 2), pvRebalance: pick(0, 2), pvMin: pick(0, 0, 0, 3),
		pvUnclean: pick(0, 0, 0, 2), pvWipe: pick(0, 0, 1, 2), pvLose: pick(0, 0, 0, 0, 2), pvMaterialise: pick(0, 10), pvStartMoves: pick(0, 0, 3),
		pvIsolate: pick(0, 0, 2), pvCut: pick(0, 0, 3),
	}
	profile := w.o.Profile
	if profile == "" {
		profile = planeProfileNames[w.o.Seed%uint64(len(planeProfileNames))]
	}
	if p := planeProfiles[profile]; p != nil {
		p(w)
	}
	if w.min == 1 || w.weights[pvMin] > 0 || w.weights[pvLose] > 0 {
		w.weights[pvWipe] = 0 // a single copy of an acknowledged record may be all there is
	}
	if w.o.Bugs&bugUncleanElection != 0 {
		w.weights[pvUnclean] = 0
	}
	w.deletes = w.weights[pvStartMoves] > 0
	for _, x := range w.weights {
		w.total += x
	}
}

func (w *plane) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("step %d: ", w.step) + fmt.Sprintf(format, args...)
		w.trace("FAILED: %s", w.failure)
	}
}

func (w *plane) trace(format string, args ...any) {
	if w.o.Trace != nil {
		w.o.Trace("%5d "+format, append([]any{w.step}, args...)...)
	}
}

// imageOf is the metadata that a process has; nil for none.
func (w *plane) imageOf(m *machine) *metadata.Image {
	if m.view < 0 {
		return nil
	}
	return w.history.images[m.view]
}

// known is the newest version that a machine can see.
func (w *plane) known(m *machine) int {
	if w.full != nil {
		return w.full.known(m)
	}
	return w.history.head()
}

// startMachine begins a process. What was found on its disk is made durable first.
func (w *plane) startMachine(m *machine) {
	if m.up || w.full != nil && !w.full.running(m) {
		return
	}
	w.nonces++
	m.up, m.nonce, m.view, m.registered, m.isolated = true, w.nonces, -1, false, false
	m.inc = w.newID()
	binary.BigEndian.PutUint64(m.inc[8:], m.nonce)
	binary.BigEndian.PutUint64(m.inc[:8], m.nonce)
	m.replicas = make([]*preplica, w.parts)
	w.trace("node %d starts, nonce %d", m.id, m.nonce)
	if k := w.recovered(m); k >= 0 {
		w.apply(m, k)
	}
}

// recovered is the version of the metadata with which a process starts: not always all that is committed.
func (w *plane) recovered(m *machine) int {
	k := w.known(m)
	if k > 0 && w.rng.IntN(2) == 0 {
		k = max(0, k-w.rng.IntN(4))
	}
	return k
}

// crashMachine ends a process.
func (w *plane) crashMachine(m *machine) {
	if !m.up {
		return
	}
	w.Some.Crashes++
	w.trace("node %d crashes", m.id)
	for _, r := range m.replicas {
		if r != nil {
			w.failWaits(r)
		}
	}
	m.wal.crash(w.rng.IntN(2) == 0)
	for _, x := range w.open {
		if x.from == m {
			w.endSending(x)
		}
		if x.to == m {
			w.endReceiving(x)
		}
	}
	m.up, m.registered, m.replicas = false, false, make([]*preplica, w.parts)
	clear(m.session)
}

// stopMachine ends a process, and with it the node's part of the metadata log.
func (w *plane) stopMachine(m *machine) {
	if w.full == nil {
		w.crashMachine(m)
		return
	}
	w.full.w.crash(w.full.w.nodes[m.id])
}

// wipeMachine gives a machine an empty disk, once in a run.
func (w *plane) wipeMachine(m *machine) {
	if w.Some.Wipes > 0 || w.Some.Losses > 0 {
		return
	}
	w.stopMachine(m)
	if w.full != nil {
		w.full.w.wipe(w.full.w.nodes[m.id])
	}
	w.Some.Wipes++
	w.trace("node %d wiped", m.id)
	m.wal.disk = make([]plog, w.parts)
	clear(m.wal.lastOps)
	m.diskID, m.wiped, m.replaced = w.newID(), true, true
}

// loseLast ends a process whose disk has not got the last commit that it said it had.
func (w *plane) loseLast(m *machine) {
	if w.Some.Wipes > 0 || w.Some.Losses > 1 {
		return
	}
	w.stopMachine(m)
	lost := m.wal.loseLast()
	if len(lost) > 0 {
		w.Some.Losses++
		m.replaced = true
	}
	for _, p := range lost {
		w.trace("node %d has lost the last commit of partition %d; its log ends at %d", m.id, p, m.wal.disk[p].End())
		w.checks[p].tainted[m.id] = m.nonce
		if v := w.history.view(w.history.head(), p); v != nil && v.Leader == m.id {
			w.excused = true // the leader itself: nobody can say that it lacks anything
		}
	}
}

// RunPlane runs one seed and returns what went wrong, or "".
func RunPlane(o PlaneOptions) (failure string, some PlaneSometimes) {
	w := newPlane(o)
	for w.step = 0; w.step < o.Steps && w.failure == "" && !w.excused; w.step++ {
		w.now += w.perStep
		w.one()
	}
	if w.failure == "" && !w.excused {
		w.liveness()
	}
	if w.excused {
		return "", w.Some
	}
	return w.failure, w.Some
}
