package sim

import "github.com/chronik-io/chronik/internal/replica"

// rec is one record of a partition: a batch of one. Every value is given out once.
type rec struct {
	epoch int32
	val   uint64
}

type epochStart struct {
	epoch int32
	start int64
}

// plog is a partition's log as package partition keeps it: records, lineage, the start, a high watermark that is a lower bound after a
// restart, and the end of what is in segments.
type plog struct {
	start  int64
	recs   []rec
	epochs []epochStart
	hw     int64
	mat    int64
}

var _ replica.Lineage = (*plog)(nil)

func (l *plog) Start() int64 { return l.start }
func (l *plog) End() int64   { return l.start + int64(len(l.recs)) }

func (l *plog) at(offset int64) (rec, bool) {
	if offset < l.start || offset >= l.End() {
		return rec{}, false
	}
	return l.recs[offset-l.start], true
}

func (l *plog) EpochAt(offset int64) (int32, bool) {
	r, ok := l.at(offset)
	if !ok {
		return -1, false
	}
	return r.epoch, true
}

func (l *plog) EpochEnd(epoch int32) (int32, int64) {
	n := len(l.epochs)
	if epoch < 0 || n == 0 || epoch > l.epochs[n-1].epoch {
		return -1, -1
	}
	if epoch == l.epochs[n-1].epoch {
		return epoch, l.End()
	}
	i := 0
	for l.epochs[i].epoch <= epoch {
		i++
	}
	if i == 0 {
		return epoch, l.epochs[0].start
	}
	return l.epochs[i-1].epoch, l.epochs[i].start
}

// begin notes that an epoch starts at the end; epochs without records give way.
func (l *plog) begin(epoch int32) {
	n := len(l.epochs)
	if n > 0 && l.epochs[n-1].epoch == epoch {
		return
	}
	for n > 0 && l.epochs[n-1].start >= l.End() {
		n--
	}
	l.epochs = l.epochs[:n:n]
	if n > 0 && l.epochs[n-1].epoch >= epoch {
		return
	}
	l.epochs = append(l.epochs, epochStart{epoch, l.End()})
}

// forget takes epochs out of the lineage of which all is below the start.
func (l *plog) forget() {
	for len(l.epochs) > 1 && l.epochs[1].start <= l.start {
		l.epochs = l.epochs[1:]
	}
	if len(l.epochs) > 0 {
		l.epochs = append([]epochStart{{l.epochs[0].epoch, max(l.epochs[0].start, l.start)}}, l.epochs[1:]...)
	}
}

// find is the offset of a value, -1 for none: what producer state says of a batch that comes again.
func (l *plog) find(val uint64) int64 {
	for i := len(l.recs) - 1; i >= 0; i-- {
		if l.recs[i].val == val {
			return l.start + int64(i)
		}
	}
	return -1
}

type opKind uint8

const (
	opAppend opKind = iota + 1
	opTruncate
	opReset
	opStart
	opState
)

// walOp is a record of the node's WAL: one step of one partition's log.
type walOp struct {
	p    int
	kind opKind
	gen  int // of the replica's log: what was cut does not become durable any more
	off  int64
	hw   int64
	rec  rec
}

// apply does a step to a log, in memory or in replay.
func (l *plog) apply(op *walOp) {
	switch op.kind {
	case opAppend:
		l.begin(op.rec.epoch)
		l.recs = append(l.recs, op.rec)
	case opTruncate:
		l.recs = l.recs[: op.off-l.start : op.off-l.start]
		n := len(l.epochs)
		for n > 0 && l.epochs[n-1].start >= op.off {
			n--
		}
		l.epochs = l.epochs[:n:n]
		l.hw, l.mat = min(l.hw, op.off), min(l.mat, op.off)
	case opReset:
		*l = plog{start: op.off, hw: op.off, mat: op.off}
	case opStart:
		l.recs = l.recs[op.off-l.start:]
		l.start = op.off
		l.hw, l.mat = max(l.hw, op.off), max(l.mat, op.off)
		l.forget()
	case opState:
		l.hw, l.mat = max(l.hw, op.hw), max(l.mat, op.off)
	}
}

func (l *plog) clone() plog {
	c := *l
	c.recs = append([]rec(nil), l.recs...)
	c.epochs = append([]epochStart(nil), l.epochs...)
	return c
}

// nodeWAL is the WAL of a node: one commit at a time is being written, later operations wait.
type nodeWAL struct {
	ops     []walOp // not durable
	writing int     // of ops, those in the commit that is being written
	last    uint64  // sequence of the last operation
	durable uint64
	disk    []plog // what a replay of the durable part makes
	lastOps []int  // by partition, how many appends the last durable commit had
}

func (wl *nodeWAL) append(op walOp) {
	wl.ops = append(wl.ops, op)
	wl.last++
}

// sync ends the write of one commit and begins the next. It returns the operations that are now durable.
func (wl *nodeWAL) sync() []walOp {
	done := wl.ops[:wl.writing:wl.writing]
	wl.replay(done)
	wl.ops = append([]walOp(nil), wl.ops[wl.writing:]...)
	wl.durable += uint64(wl.writing)
	wl.writing = len(wl.ops)
	return done
}

func (wl *nodeWAL) replay(ops []walOp) {
	if len(ops) == 0 {
		return
	}
	clear(wl.lastOps)
	for i := range ops {
		wl.disk[ops[i].p].apply(&ops[i])
		switch ops[i].kind {
		case opAppend:
			wl.lastOps[ops[i].p]++
		case opTruncate, opReset:
			wl.lastOps[ops[i].p] = 0
		}
	}
}

// crash leaves what is on the disk, and the commit that was being written if it was whole.
func (wl *nodeWAL) crash(whole bool) {
	if whole {
		wl.replay(wl.ops[:wl.writing])
	}
	wl.durable, wl.ops, wl.writing = wl.last, nil, 0
}

// loseLast takes the last commit off the disk, as a medium does that lied about a sync. It reports the partitions that lost records.
func (wl *nodeWAL) loseLast() (lost []int) {
	for p, n := range wl.lastOps {
		d := &wl.disk[p]
		if n == 0 || int64(n) > d.End()-d.mat || int64(n) > int64(len(d.recs)) {
			continue
		}
		d.apply(&walOp{kind: opTruncate, off: d.End() - int64(n)})
		lost = append(lost, p)
	}
	clear(wl.lastOps)
	return lost
}
