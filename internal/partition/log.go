package partition

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/chronik-io/chronik/internal/wal"
)

// entry is one batch of the view: 40 bytes, because a node may hold millions.
type entry struct {
	base  int64
	maxTs int64 // the batch's max timestamp, ms
	seq   uint64
	off   uint32 // of the payload in its commit
	len   uint32 // of the payload
	delta uint32 // last offset - base; inState is set on batches carried in a State
	epoch int32
}

// inState marks entries whose bytes are inside a State's payload: off and len are the State's then.
const inState = 1 << 31

const entryBytes = 40

func (e *entry) last() int64   { return e.base + int64(e.delta&^inState) }
func (e *entry) carried() bool { return e.delta&inState != 0 }
func (e *entry) ref() wal.Ref  { return wal.Ref{Seq: e.seq, Off: e.off, Len: e.len} }

// size is the batch's bytes; of carried batches it is not known without reading and counted as 0.
func (e *entry) size() int64 {
	if e.carried() {
		return 0
	}
	return int64(e.len) - prefixSize
}

// Log is one replica's log. See the package comment for what may be called from where.
type Log struct {
	store     *Store
	id        ID
	residency int32

	// Written under mu (hw and durable without), read by anyone.
	start   atomic.Int64
	end     atomic.Int64
	segEnd  atomic.Int64 // end of what is synced in segments; the view begins here
	durable atomic.Int64
	hw      atomic.Int64

	mu           sync.Mutex // guards all up to the next blank line; no file I/O under it
	cfg          *LogConfig
	gone         error // set when dropped or closed
	fault        error // set by recovery: the log cannot be served
	damaged      error // set by the maintenance: segments cannot be written; reads of what is good go on, appends do not
	view         []entry
	viewBytes    int64
	countFrom    int64 // the bytes of batches from this offset on are in uncommitted; at or below the high watermark
	uncommitted  int64 // bytes, carried batches excepted
	movedEnd     int64 // batches of the view from this offset on lie in the WAL in the order of their offsets; others may have moved
	carriedBytes int64 // of the batches in the last State
	viewGen      uint32
	epochs       []epochStart
	leaderEpoch  int32
	producers    *producerTable
	active       activeMark
	sub          *wal.Sub
	ready        bool       // in Store.ready
	dirty        bool       // segments below the start may exist
	hadFiles     bool       // before a Reset there were segments
	stale        []*segment // of before a Reset; their files may be open
	fillBatch    []byte
	fillPrefix   prefix

	fill      func([]byte) // writes fillPrefix and fillBatch; made once
	durableMu sync.Mutex   // guards subGen and the step from it to durable
	subGen    uint32
	hook      atomic.Pointer[func(int64)]

	noRetention atomic.Bool // another node leads the partition and decides what is deleted

	segMu sync.Mutex // held while the segment list is opened or changed
	segs  atomic.Pointer[[]*segment]

	// Guarded by Store.mu.
	oldest    uint64 // lower bound of the oldest WAL sequence that this log needs
	heapIndex int    // -1: not in the heap
}

func newLog(s *Store, id ID, residency int32, cfg *LogConfig) *Log {
	l := &Log{store: s, id: id, residency: residency, cfg: cfg, leaderEpoch: -1, active: activeMark{base: -1}, heapIndex: -1}
	l.fill = func(dst []byte) {
		l.fillPrefix.put(dst)
		copy(dst[prefixSize:], l.fillBatch)
	}
	l.sub = l.newSub()
	return l
}

// newSub makes a subscription whose marks are ends of this log; those of an older one are ignored from now on. The caller holds mu, or
// nobody else has the log yet.
func (l *Log) newSub() *wal.Sub {
	l.durableMu.Lock()
	defer l.durableMu.Unlock()
	l.subGen++
	gen := l.subGen
	return &wal.Sub{Durable: func(mark int64) { l.becameDurable(gen, mark) }}
}

func (l *Log) becameDurable(gen uint32, mark int64) {
	if hook := l.hook.Load(); l.raiseDurable(gen, mark) && hook != nil {
		(*hook)(mark)
	}
}

// raiseDurable moves the durable end to the mark of a subscription, if that is the current one and is not there yet.
func (l *Log) raiseDurable(gen uint32, mark int64) (moved bool) {
	l.durableMu.Lock()
	defer l.durableMu.Unlock()
	if gen != l.subGen || mark <= l.durable.Load() {
		return false
	}
	l.durable.Store(mark)
	return true
}

// ID names the partition.
func (l *Log) ID() ID { return l.id }

// Residency is the partition epoch given to Create.
func (l *Log) Residency() int32 { return l.residency }

// Start is the log start offset.
func (l *Log) Start() int64 { return l.start.Load() }

// End is the offset of the next record.
func (l *Log) End() int64 { return l.end.Load() }

// DurableEnd is the end of what is synced.
func (l *Log) DurableEnd() int64 { return l.durable.Load() }

// HighWatermark is the offset below which records are committed. After a start it is a lower bound, until SetHighWatermark.
func (l *Log) HighWatermark() int64 { return l.hw.Load() }

// SetHighWatermark raises the high watermark, at most to DurableEnd of the in-sync replicas, as the caller knows; lower values are
// ignored. It takes no lock.
func (l *Log) SetHighWatermark(hw int64) {
	for {
		old := l.hw.Load()
		if hw <= old || l.hw.CompareAndSwap(old, hw) {
			return
		}
	}
}

// OnDurable sets the one hook that is told of each advance of DurableEnd, in commit order, on the WAL's completion goroutine; of what a
// refused truncation makes up for, a little later and on a goroutine of its own. It must not block.
func (l *Log) OnDurable(hook func(end int64)) { l.hook.Store(&hook) }

// Config returns the settings.
func (l *Log) Config() LogConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *l.cfg
}

// SetConfig replaces the settings. Logs with equal settings share them.
func (l *Log) SetConfig(c LogConfig) {
	cfg := l.store.internConfig(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg = cfg
}

// Producers lists the producers known, by id.
func (l *Log) Producers() []ProducerState {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.states()
}

// find returns the index of the first view entry whose last offset is >= offset. The caller holds mu.
func (l *Log) find(offset int64) int {
	return sort.Search(len(l.view), func(i int) bool { return l.view[i].last() >= offset })
}

// dropViewFront forgets the first n entries of the view. The caller holds mu.
func (l *Log) dropViewFront(n int) {
	if n == 0 {
		return
	}
	l.forgetSizes(l.view[:n])
	l.view = l.view[n:]
	switch live := len(l.view); {
	case live == 0:
		l.view = nil
	case n > 1024 && n > 4*live: // give the memory back
		l.view = append(make([]entry, 0, 2*live), l.view...)
	}
	if len(l.view) == 0 || !l.view[0].carried() {
		l.carriedBytes = 0
	}
}

// dropViewBack forgets the entries from index i on. The caller holds mu.
func (l *Log) dropViewBack(i int) {
	l.forgetSizes(l.view[i:])
	l.view = l.view[:i]
	if i == 0 {
		l.view, l.carriedBytes = nil, 0
	}
}

// countSizes adds entries that came into the view to the counts. The caller holds mu.
func (l *Log) countSizes(some []entry) {
	var bytes, uncommitted int64
	for i := range some {
		bytes += some[i].size()
		if some[i].base >= l.countFrom {
			uncommitted += some[i].size()
		}
	}
	l.viewBytes += bytes
	l.store.viewBytes.Add(bytes)
	l.store.viewEntries.Add(int64(len(some)))
	l.addUncommitted(uncommitted)
}

// forgetSizes takes entries that leave the view out of the counts. The caller holds mu.
func (l *Log) forgetSizes(some []entry) {
	var bytes, uncommitted int64
	for i := range some {
		bytes += some[i].size()
		if some[i].base >= l.countFrom {
			uncommitted += some[i].size()
		}
	}
	l.viewBytes -= bytes
	l.store.viewBytes.Add(-bytes)
	l.store.viewEntries.Add(-int64(len(some)))
	l.addUncommitted(-uncommitted)
}

func (l *Log) pushView(e entry) {
	l.view = append(l.view, e)
	l.countSizes(l.view[len(l.view)-1:])
}

// moveStart applies a new log start, which is recorded already. Returns whether segments lost their use. The caller holds mu.
func (l *Log) moveStart(n int64) {
	if n <= l.start.Load() {
		return
	}
	l.start.Store(n)
	l.dirty = true
	i := 0
	for i < len(l.epochs)-1 && l.epochs[i+1].start <= n {
		i++
	}
	l.epochs = l.epochs[i:]
	if len(l.epochs) > 0 && l.epochs[0].start < n {
		l.epochs[0].start = n
	}
	if n < l.segEnd.Load() {
		return
	}
	// Nothing in segments is needed any more: the view alone is the log, from the batch that holds n on.
	l.dropViewFront(l.find(n))
	segEnd := l.end.Load()
	if len(l.view) > 0 {
		segEnd = l.view[0].base
	}
	l.segEnd.Store(segEnd)
	l.active = activeMark{base: -1}
	l.viewGen++
}

// AdvanceStart moves the log start to n, at most the high watermark (DeleteRecords). Lower values are ignored. It is durable when it
// returns.
func (l *Log) AdvanceStart(n int64) error {
	moved, err := l.advanceStart(n)
	if err != nil || !moved {
		return err
	}
	if err := l.store.syncWAL(); err != nil {
		return fmt.Errorf("advance log start of %s: %w", l.id, err)
	}
	l.store.needClean(l)
	return nil
}

func (l *Log) advanceStart(n int64) (moved bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return false, err
	}
	if n > l.hw.Load() || n > l.end.Load() {
		return false, fmt.Errorf("advance log start of %s to %d, high watermark %d: %w", l.id, n, l.hw.Load(), ErrOutOfRange)
	}
	if n <= l.start.Load() {
		return false, nil
	}
	if !l.store.bugs.inferLogStart {
		p := prefix{id: l.id, epoch: l.leaderEpoch, offset: n}
		if _, err := l.store.appendSmall(kindLogStart, p, nil, nil, 0); err != nil {
			return false, fmt.Errorf("advance log start of %s: %w", l.id, mapWALError(err))
		}
	}
	l.moveStart(n)
	return true, nil
}

// usable tells why the log cannot be used, if so. The caller holds mu.
func (l *Log) usable() error {
	if l.gone != nil {
		return l.gone
	}
	return l.fault
}

// Fault tells what is wrong with the log's data, nil if nothing is known to be: after damage found at the start nothing is served, after
// damage found later appends are refused.
func (l *Log) Fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		return l.fault
	}
	return l.damaged
}

func (l *Log) setDamaged(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.damaged == nil {
		l.damaged = fmt.Errorf("append to %s: %w: %w", l.id, ErrCorrupt, err)
		l.store.logger.Error("partition is damaged: appends to it are refused", "partition", l.id.String(), "err", err)
	}
}
