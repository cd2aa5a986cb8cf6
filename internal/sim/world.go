package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/chronik-io/chronik/internal/metalog"
)

// Options choose what a run does.
type Options struct {
	Seed  uint64
	Steps int // events before the faults stop
	Nodes int
	Core  metalog.Bugs
	Disk  diskBugs
	// Profile names weights that are better than random ones at showing a bug. Without, each seed has one of them, or none.
	Profile string
	Trace   func(format string, args ...any)
}

// node is a machine: a disk, and a core while the process runs.
type node struct {
	id    int
	disk  *disk
	core  *metalog.Core
	nonce uint64

	mirror    []metalog.Entry // the log from mirrorAt on, as the frames say
	mirrorAt  int64
	applied   int64
	committed int64          // the commit as last seen
	said      metalog.Ballot // the highest ballot under which a promise or an ack has left
	batch     int64          // written last
	reset     int64          // batch with a Reset that is not durable yet; 0 for none
	storing   *metalog.ImageFile
	reads     []metalog.ReadRequest
	images    []metalog.ImageRequest
	carry     int64 // batch after which the oldest commits may go
	carryTo   int
	clock     int   // ticks that pass on it while one passes elsewhere
	refused   bool  // does not start any more: a promise was lost
	backup    *disk // an older state, kept by somebody
	restored  bool
	banned    bool // found at the end
}

// kinds of events, each with a weight.
const (
	evDeliver = iota
	evDrop
	evSync
	evTick
	evPropose
	evClaim
	evCrash
	evStart
	evVoters
	evWipe
	evDamage
	evImage
	evRecycle
	evInstall
	evIO
	evSeal
	evBackup
	evRestore
	evLink
	evMangle
	evCount
)

// Sometimes counts what must happen now and then for a run to mean anything.
type Sometimes struct {
	Commits, Elections, Opened, Adopted, Truncated, DuplicateTermRefused, VotersChanged, VotersSurvived, FaultsFound, FaultsRepaired,
	Installed, Retained, Crashes, PowerLosses, Wipes, Readded, Restores, BootsRefused, Recycled, OldReads, PromiseLost, BannedByDamage, Mangled, FastClocks, Lively, Excused int
}

// World is one run.
type World struct {
	o        Options
	rng      *rand.Rand
	nodes    []*node
	net      []*metalog.Message
	cut      [][]bool // cut[a][b]: nothing gets from a to b
	weights  [evCount]int
	total    int
	power    int // percent of crashes that are power losses
	group    bool
	cfg      metalog.CoreConfig
	founders []metalog.Member
	disks    uint64
	nonces   uint64
	term     uint64
	values   uint64
	step     int
	pending  [][]metalog.Member // sets of voters that were ever appended, for the oracle of BugQuorumFromRaft
	Some     Sometimes
	check    checker
	// What is simulated on top of the log is told; nil if nothing is.
	onCommit         func(e *metalog.Entry)
	onCrash, onStart func(n *node)
	failure          string
}

func newWorld(o Options) *World {
	if o.Nodes == 0 {
		o.Nodes = 6
	}
	w := &World{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15))}
	w.check.init()
	w.draw()
	for i := range o.Nodes {
		n := &node{id: i, disk: w.newDisk(i), clock: 1}
		if w.rng.IntN(3) == 0 { // clocks differ, by far more than real ones
			n.clock = 1 + w.rng.IntN(20)
			w.Some.FastClocks++
		}
		w.nodes = append(w.nodes, n)
		w.cut = append(w.cut, make([]bool, o.Nodes))
		if i < 3 {
			w.founders = append(w.founders, n.disk.member)
		}
	}
	w.pending = append(w.pending, w.founders)
	w.check.voters = w.founders
	for _, n := range w.nodes {
		w.start(n)
	}
	return w
}

func (w *World) newDisk(id int) *disk {
	w.disks++
	d := &disk{member: metalog.Member{NodeID: int32(id)}}
	binary.BigEndian.PutUint64(d.member.DiskID[:8], w.disks)
	d.member.DiskID[15] = byte(id + 1)
	return d
}

// draw picks the weights of this seed.
func (w *World) draw() {
	pick := func(a ...int) int { return a[w.rng.IntN(len(a))] }
	w.weights = [evCount]int{
		evDeliver: pick(300, 500, 800), evDrop: pick(0, 5, 20), evSync: pick(100, 300, 500), evTick: pick(5, 20, 60),
		evPropose: pick(10, 40), evClaim: pick(2, 4, 10, 25), evCrash: pick(0, 2, 8, 20), evStart: pick(5, 20, 60), evVoters: pick(0, 5, 20),
		evWipe: pick(0, 0, 1, 2), evDamage: pick(0, 0, 2, 4), evImage: pick(0, 4, 16), evRecycle: pick(0, 4, 16), evInstall: pick(0, 0, 4, 16),
		evIO: pick(10, 40), evSeal: pick(0, 10), evBackup: pick(0, 0, 4), evRestore: pick(0, 2), evLink: pick(0, 2, 6),
		evMangle: pick(0, 0, 2),
	}
	w.power = pick(0, 30, 100)
	w.group = w.rng.IntN(2) == 0
	w.cfg = metalog.CoreConfig{MaxAppendBytes: int64(pick(100, 200, 1000)), WindowBytes: int64(pick(300, 2000)), TailBytes: int64(pick(1, 150, 2000)),
		MaxUncommittedBytes: 4000, ResendTicks: 2, GiveUpTicks: 12}
	profile := w.o.Profile
	if profile == "" {
		profile = profileNames[w.o.Seed%uint64(len(profileNames))]
	}
	if p := profiles[profile]; p != nil {
		p(w)
	}
	for _, x := range w.weights {
		w.total += x
	}
}

func (w *World) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("step %d: ", w.step) + fmt.Sprintf(format, args...)
		w.trace("FAILED: %s", w.failure)
	}
}

func (w *World) trace(format string, args ...any) {
	if w.o.Trace != nil {
		w.o.Trace("%5d "+format, append([]any{w.step}, args...)...)
	}
}

// start recovers a node's disk and begins a process on it.
func (w *World) start(n *node) {
	if n.core != nil || n.refused {
		return
	}
	n.disk.rewrite(w.o.Disk)
	r, err := n.disk.recover(w.founders, w.cfg.TailBytes, w.o.Disk)
	if err != nil {
		w.refuse(n, err)
		return
	}
	n.disk.boot++
	w.nonces++
	n.nonce = w.nonces
	if w.o.Core&metalog.BugReuseEpoch != 0 {
		n.nonce = 1
	}
	if r.NewFault {
		w.Some.FaultsFound++
	}
	w.checkStart(n, r)
	n.committed = r.Commit
	n.mirror, n.mirrorAt = append(n.mirror[:0], r.Entries...), r.Base.End
	w.fillMirror(n, r)
	n.applied, n.storing, n.reads, n.images, n.carry, n.reset = 0, nil, nil, nil, 0, 0
	if r.Image.End > 0 {
		n.applied = r.Image.End
	}
	cfg := w.cfg
	cfg.Self, cfg.Boot, cfg.Nonce = n.disk.member, n.disk.boot, n.nonce
	n.core = metalog.NewSimCore(cfg, r, w.o.Core)
	w.trace("node %d starts: boot %d, promised %v, end %d, commit %d, fault %v, image %d", n.id, n.disk.boot, r.Promised, n.core.End(), r.Commit, r.Fault, r.Image.End)
	w.after(n)
	if w.onStart != nil {
		w.onStart(n)
	}
}

// fillMirror adds the entries below those in memory, which a production node reads from its files.
func (w *World) fillMirror(n *node, r metalog.Recovered) {
	if r.Start >= r.Base.End {
		return
	}
	all := make([]metalog.Entry, r.Base.End-r.Start)
	for i := n.disk.first; i < len(n.disk.commits); i++ {
		if n.disk.commits[i].damaged {
			continue
		}
		for j := range n.disk.commits[i].frames {
			f := &n.disk.commits[i].frames[j]
			if f.Kind == metalog.FrameEntry && f.Entry.Offset >= r.Start && f.Entry.Offset < r.Base.End {
				all[f.Entry.Offset-r.Start] = f.Entry
			}
		}
	}
	n.mirror, n.mirrorAt = append(all, n.mirror...), r.Start
}

// after does what a core wants done after a step.
func (w *World) after(n *node) {
	n.core.Replicate()
	out := n.core.Take()
	if out.Halt != nil {
		w.fail("%v", out.Halt)
		return
	}
	if len(out.Frames) > 0 {
		w.frames(n, out)
	}
	for _, m := range out.Messages {
		w.post(n, m)
	}
	n.reads = append(n.reads, out.Reads...)
	n.images = append(n.images, out.Images...)
	if out.Store != nil {
		n.storing = out.Store
	}
	if out.Installed != nil {
		w.Some.Installed++
		n.applied = out.Installed.At.End
		w.trace("node %d: image at %d in force", n.id, out.Installed.At.End)
		w.checkImage(n, out.Installed.At)
	}
	w.checkCommit(n)
	n.core.Trim(n.applied)
	n.disk.begin(n.core.Commit())
}

// frames writes a batch and keeps the mirror of the log.
func (w *World) frames(n *node, out *metalog.Output) {
	own := n.core.Role() >= metalog.RoleOpening
	n.disk.write(out.Batch, out.Frames, w.group, own)
	n.batch = out.Batch
	for i := range out.Frames {
		f := &out.Frames[i]
		if w.o.Trace != nil {
			w.trace("node %d writes %d: kind %d entry %d/%d offset %d ballot %v at %d, commit %d", n.id, out.Batch, f.Kind, f.Entry.Offset, f.Entry.Epoch, f.Offset, f.Ballot, f.At.End, f.Known)
		}
		switch f.Kind {
		case metalog.FrameEntry:
			w.checkEntry(n, &f.Entry, own)
			n.mirror = append(n.mirror[:max(f.Entry.Offset-n.mirrorAt, 0)], f.Entry)
		case metalog.FrameTruncate:
			if f.Offset < n.mirrorAt+int64(len(n.mirror)) {
				w.Some.Truncated++
				n.mirror = n.mirror[:max(f.Offset-n.mirrorAt, 0)]
				if w.o.Disk&bugPromisesCut != 0 {
					n.disk.cutPromises(f.Offset)
				}
			}
		case metalog.FrameReset:
			n.mirror, n.mirrorAt = n.mirror[:0], f.At.End
			if n.disk.staged != nil && n.disk.staged.Meta.At == f.At {
				n.reset = out.Batch
			}
		case metalog.FrameClear:
			w.Some.FaultsRepaired++
		}
	}
}

// maxNet bounds the messages under way.
const maxNet = 300

func (w *World) post(n *node, m *metalog.Message) {
	if (m.Type == metalog.MsgPromise || m.Type == metalog.MsgAck) && m.Ballot.Term > n.said.Term {
		n.said = m.Ballot
	}
	if len(w.net) >= maxNet {
		w.net[w.rng.IntN(len(w.net))] = m
		return
	}
	w.net = append(w.net, m)
}

// deliver hands a message to the process at its address: the node, whatever disk it has now.
func (w *World) deliver(m *metalog.Message) {
	from, to := w.nodes[m.From.NodeID], w.nodes[m.To.NodeID]
	if to.core == nil || w.cut[from.id][to.id] {
		return
	}
	if from.core != nil && from.disk.member == m.From && from.disk.boot == m.FromBoot && from.nonce == m.FromNonce {
		if !to.core.Handshake(from.core.Boots()) {
			w.Some.BootsRefused++
		}
	}
	w.trace("deliver %d->%d type %d ballot %v prev %d/%d n %d end %d commit %d", from.id, to.id, m.Type, m.Ballot, m.Prev.End, m.Prev.Epoch, len(m.Entries), m.End, m.Commit)
	end, commit := to.core.End(), to.core.Commit()
	to.core.Receive(m)
	w.after(to)
	switch {
	case m.Type == metalog.MsgFetched && to.core.End() > end:
		w.Some.Adopted++
	case m.Type == metalog.MsgInstall && m.Image.Meta.At.End > commit && end >= m.Image.Meta.At.End && to.storing == nil && to.core.Promised() == m.Ballot:
		w.Some.Retained++
	}
}

// one does one random event.
func (w *World) one() {
	k, x := 0, w.rng.IntN(w.total)
	for x >= w.weights[k] {
		x -= w.weights[k]
		k++
	}
	n := w.nodeFor(k)
	switch k {
	case evDeliver:
		w.deliverOne()
	case evDrop:
		if len(w.net) > 0 {
			w.take(w.rng.IntN(len(w.net)))
		}
	case evStart:
		w.start(n)
	case evClaim:
		w.claim(n)
	case evCrash:
		w.crash(n)
	case evWipe:
		w.wipe(n)
	case evDamage:
		w.damage(n)
	case evRestore:
		w.restore(n)
	case evLink:
		w.link()
	case evMangle:
		w.mangle()
	default:
		if n.core != nil {
			w.act(k, n)
		}
	}
}

// nodeFor picks the node of an event, among those for which it is not idle if there are any.
func (w *World) nodeFor(k int) *node {
	at := w.rng.IntN(len(w.nodes))
	for i := range w.nodes {
		n := w.nodes[(at+i)%len(w.nodes)]
		ok := true
		switch k {
		case evSync:
			ok = n.core != nil && n.disk.synced < len(n.disk.commits)
		case evVoters:
			ok = n.core != nil && n.core.Role() >= metalog.RoleOpening
		case evPropose:
			ok = n.core != nil && n.core.Role() == metalog.RoleLeader
		case evInstall:
			ok = n.core != nil && n.core.Role() >= metalog.RoleOpening && len(n.disk.images) > 0
		case evIO:
			ok = n.core != nil && (n.storing != nil || len(n.reads)+len(n.images) > 0)
		case evStart:
			ok = n.core == nil && !n.refused
		case evImage:
			ok = n.core != nil && n.core.Commit() > 0
		case evRestore:
			ok = n.backup != nil && n.id < 3 // founders vote, mostly
		}
		if ok {
			return n
		}
	}
	return w.nodes[at]
}

// act does an event that needs a running process.
func (w *World) act(k int, n *node) {
	switch k {
	case evSync:
		w.sync(n)
	case evTick:
		for range n.clock {
			n.core.Tick()
		}
		w.after(n)
	case evPropose:
		w.propose(n)
	case evVoters:
		w.changeVoters(n)
	case evImage:
		w.image(n)
	case evRecycle:
		w.recycle(n)
	case evInstall:
		w.install(n)
	case evIO:
		w.io(n)
	case evSeal:
		if d := n.disk; d.synced == len(d.commits) && d.synced > 0 && !d.commits[d.synced-1].seal() {
			d.commits = append(d.commits, commit{mark: n.core.Commit()})
			d.synced++
		}
	case evBackup:
		if n.backup == nil {
			n.backup = n.disk.clone()
		}
	}
}

func (w *World) take(i int) *metalog.Message {
	m := w.net[i]
	last := len(w.net) - 1
	w.net[i] = w.net[last]
	w.net[last] = nil
	w.net = w.net[:last]
	return m
}

func (w *World) deliverOne() {
	if len(w.net) == 0 {
		return
	}
	i := w.rng.IntN(len(w.net))
	if w.rng.IntN(3) > 0 { // new messages are a little likelier than old ones
		i = len(w.net) - 1 - w.rng.IntN(min(len(w.net), 8))
	}
	m := w.net[i]
	if w.rng.IntN(12) > 0 { // one in twelve comes again
		w.take(i)
	}
	w.deliver(m)
}

func (w *World) sync(n *node) {
	if batch, ok := n.disk.sync(); ok {
		w.trace("node %d: batch %d durable", n.id, batch)
		if n.reset > 0 && batch >= n.reset && n.disk.staged != nil {
			n.disk.promote()
			n.reset = 0
			if n.carry == 0 && w.rng.IntN(2) == 0 { // what is before the Reset is not needed any more
				n.carry, n.carryTo = batch, n.disk.synced-1
			}
		}
		n.core.Persisted(batch)
		w.carried(n, batch)
		w.after(n)
	}
}

// Run runs one seed and returns what went wrong, or "".
func Run(o Options) (failure string, some Sometimes) {
	w := newWorld(o)
	for w.step = 0; w.step < o.Steps && w.failure == ""; w.step++ {
		w.one()
	}
	if w.failure == "" {
		w.liveness()
	}
	return w.failure, w.Some
}
