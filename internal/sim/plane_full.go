package sim

import (
	"slices"
	"sort"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
)

// fullMeta is the real metadata log under a data plane: a World whose first nodes are the machines. A machine sees what its node's core has
// committed, and controllers are the nodes that believe to lead, deposed ones too.
type fullMeta struct {
	p       *plane
	w       *World
	group   []metadata.Event // of the proposal that is being committed
	working []workingImage   // by node
	waits   []metaWait
}

// workingImage is what a controller decides on: what its log holds, committed or not.
type workingImage struct {
	core   *metalog.Core
	ballot metalog.Ballot
	im     *metadata.Image
}

// metaWait is a result that must not leave before what it rests on is committed.
type metaWait struct {
	at     int
	core   *metalog.Core
	ballot metalog.Ballot
	end    int64
	then   func()
}

func newFullMeta(p *plane) *fullMeta {
	f := &fullMeta{p: p, w: newWorld(Options{Seed: p.o.Seed, Nodes: 4, Profile: "any", Trace: p.o.Trace})}
	w := f.w
	weights := &w.weights
	// Disks are wiped with the machine; what a backup restores has no place here: its data would go back too.
	weights[evPropose], weights[evWipe], weights[evBackup], weights[evRestore], weights[evCrash] = 0, 0, 0, 0, 0
	weights[evDamage] = min(weights[evDamage], 1)
	weights[evClaim] = min(weights[evClaim], 4)
	w.total = 0
	for _, x := range weights {
		w.total += x
	}
	w.cfg.MaxUncommittedBytes = 64 << 10
	w.cfg.MaxAppendBytes, w.cfg.WindowBytes = w.cfg.MaxAppendBytes*8, w.cfg.WindowBytes*8
	f.working = make([]workingImage, len(w.nodes))
	for i, n := range w.nodes {
		p.newController(i)
		w.crash(n) // to start with the settings above
		w.start(n)
	}
	w.Some.Crashes = 0
	w.onCommit = f.committed
	w.onCrash = func(n *node) {
		if n.id < len(p.machines) {
			p.crashMachine(p.machines[n.id])
		}
	}
	w.onStart = func(n *node) {
		if n.id < len(p.machines) {
			p.startMachine(p.machines[n.id])
		}
	}
	return f
}

// boot founds the cluster and its topic before the faults begin.
func (f *fullMeta) boot() {
	f.w.term++
	f.w.elect(f.w.nodes[0], f.w.term)
	for range 40 {
		f.p.now += 20
		f.p.round()
		ready := true
		for _, m := range f.p.machines {
			ready = ready && m.registered && m.replicas[0] != nil
		}
		if ready || f.p.failure != "" {
			return
		}
	}
	f.p.fail("no topic: %s", f.w.describe())
}

// committed takes an entry that is committed for the first time anywhere.
func (f *fullMeta) committed(e *metalog.Entry) {
	if e.Type == metalog.EntryEvent {
		ev, err := metadata.DecodeEvent(e.Payload)
		if err != nil {
			f.p.fail("committed entry %d: %v", e.Offset, err)
			return
		}
		f.group = append(f.group, ev)
	}
	if e.More || len(f.group) == 0 {
		return
	}
	h := &f.p.history
	im := metadata.Empty()
	if h.head() >= 0 {
		im = h.images[h.head()]
	}
	b := metadata.NewBatch(im)
	first := e.Offset + 1 - int64(len(f.group))
	for i, ev := range f.group {
		if err := b.Apply(first+int64(i), ev); err != nil {
			f.p.fail("I12: committed entry %d does not apply: %v", first+int64(i), err)
			return
		}
	}
	f.group = nil
	next, _ := b.Done()
	f.p.trace("metadata: committed up to %d", e.Offset)
	f.p.commit(next, e.Offset+1)
}

// version is the newest version of the metadata that ends at or before an offset; -1 for none.
func (f *fullMeta) version(end int64) int {
	ends := f.p.history.ends
	return sort.Search(len(ends), func(i int) bool { return ends[i] > end }) - 1
}

func (f *fullMeta) known(m *machine) int {
	if n := f.w.nodes[m.id]; n.core != nil {
		return f.version(n.core.Commit())
	}
	return -1
}

func (f *fullMeta) running(m *machine) bool { return f.w.nodes[m.id].core != nil }

// pick is a node that believes to control the metadata; -1 for none.
func (f *fullMeta) pick() int {
	at := f.p.rng.IntN(len(f.w.nodes))
	for i := range f.w.nodes {
		n := f.w.nodes[(at+i)%len(f.w.nodes)]
		if n.core != nil && n.core.Role() == metalog.RoleLeader {
			return n.id
		}
	}
	return -1
}

// image is the working image at a node; nil if the node does not lead the metadata log.
func (f *fullMeta) image(at int) *metadata.Image {
	n := f.w.nodes[at]
	if n.core == nil || n.core.Role() != metalog.RoleLeader {
		return nil
	}
	x := &f.working[at]
	if x.core != n.core || x.ballot != n.core.Promised() || x.im.Offset()+1 < n.core.Commit() {
		commit := n.core.Commit()
		im := metadata.Empty()
		if v := f.version(commit); v >= 0 {
			im = f.p.history.images[v]
		}
		*x = workingImage{n.core, n.core.Promised(), im.WithOffset(commit - 1)}
	}
	if x.im.Offset()+1 >= n.core.End() {
		return x.im
	}
	b := metadata.NewBatch(x.im)
	for o := x.im.Offset() + 1; o < n.core.End(); o++ {
		e := &n.mirror[o-n.mirrorAt]
		if e.Type != metalog.EntryEvent {
			b.Advance(o)
			continue
		}
		ev, err := metadata.DecodeEvent(e.Payload)
		if err == nil {
			err = b.Apply(o, ev)
		}
		if err != nil {
			f.p.fail("entry %d in the log of controller %d does not apply: %v", o, at, err)
			return nil
		}
	}
	x.im, _ = b.Done()
	return x.im
}

// append proposes events at a node, which leads.
func (f *fullMeta) append(at int, events []metadata.Event) error {
	n := f.w.nodes[at]
	entries := make([]metalog.NewEntry, len(events))
	for i, ev := range events {
		entries[i] = metalog.NewEntry{Type: metalog.EntryEvent, Payload: metadata.AppendEvent(nil, ev)}
	}
	if _, err := n.core.Propose(entries); err != nil {
		return err
	}
	f.w.after(n)
	return nil
}

func (f *fullMeta) await(at int, end int64, then func()) {
	if n := f.w.nodes[at]; n.core != nil {
		f.waits = append(f.waits, metaWait{at, n.core, n.core.Promised(), end, then})
	}
}

// answer lets the results leave that rest on what is committed, and forgets those of which nothing will be known.
func (f *fullMeta) answer() {
	waits := f.waits
	f.waits = nil
	for _, x := range waits {
		n := f.w.nodes[x.at]
		switch {
		case n.core != x.core || n.core.Promised() != x.ballot:
		case n.core.Commit() >= x.end:
			x.then()
		default:
			f.waits = append(f.waits, x)
		}
	}
}

// turn does an event of the metadata log, every other time.
func (f *fullMeta) turn() bool {
	if f.p.rng.IntN(5) < 2 {
		return false
	}
	f.w.step = f.p.step
	f.w.one()
	f.after()
	return true
}

func (f *fullMeta) after() {
	f.answer()
	if f.w.failure != "" {
		f.p.fail("metadata log: %s", f.w.failure)
	}
}

// settle ends the faults of the metadata log. false: it cannot go on, and has the right to.
func (f *fullMeta) settle() bool {
	f.w.liveness()
	f.after()
	return f.w.Some.Lively > 0 && f.w.failure == ""
}

// votes reports whether a node is one of the voters that were committed last: others are not given the metadata.
func (f *fullMeta) votes(id int32) bool {
	return slices.ContainsFunc(f.w.check.voters, func(m metalog.Member) bool { return m.NodeID == id })
}

func (f *fullMeta) round() {
	for range 4 {
		f.w.settle()
		f.w.findBanned()
		f.after()
	}
}
