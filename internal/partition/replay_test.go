package partition

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// The replay test runs random operations on a real store over memory with crash semantics, beside a model. Power fails at random
// operations of the file system; each time a store is opened on what the disk may then hold, and must equal the model as it was after
// some operation between the last one known to be durable and the last one begun.

var firstSeed = flag.Uint64("seed", 0, "first seed of the replay test")

// modelBatch is a batch in the model.
type modelBatch struct {
	base, last int64
	bytes      []byte
}

// modelProducer is the last batch of a producer.
type modelProducer struct {
	pid        int64
	lastSeq    int32
	lastOffset int64
}

// modelLog is one partition in the model; nil if it is not there. It is never changed, only replaced.
type modelLog struct {
	residency  int32
	start, end int64
	lowered    bool         // by the operation that led here the high watermark may have gone down
	committed  int64        // what was committed before it
	loose      bool         // producers may have been forgotten by an unclean truncation
	batches    []modelBatch // from the first one that reaches start; older ones stay until nobody cares
	producers  []modelProducer
	epoch      int32
}

// model is the state of all partitions after some operations. It is never changed.
type model map[ID]*modelLog

// run is one seed.
type run struct {
	rng  *rand.Rand
	mem  *vfs.Mem
	fs   *crashFS
	opts StoreOptions
	s    *Store
	ids  []ID
	seq  int
	bugs bugs

	fullDisk atomic.Int64

	inside     bool  // in interfere or meddle: Store.maint is held
	stating    ID    // whose State is being written
	interfered error // of interfere

	history   []model // history[i] is the model after i operations
	committed map[ID]int64
	seqs      map[int64]int32
}

// snapshot is the disk at a power failure, and which operations may have happened.
type snapshot struct {
	disk    *vfs.Mem
	durable int64 // operations known to be durable
	begun   int64
}

// crashFS takes snapshots before random operations.
type crashFS struct {
	vfs.FS
	mem     *vfs.Mem
	durable atomic.Int64
	begun   atomic.Int64

	fullDisk *atomic.Int64 // calls that found the disk full

	mu    sync.Mutex
	rng   *rand.Rand
	every int
	taken []snapshot
}

func (c *crashFS) maybe() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.every == 0 || len(c.taken) >= 2 || c.rng.IntN(c.every) != 0 {
		return
	}
	durable := c.durable.Load()
	disk := c.mem.Crash(c.rng)
	c.taken = append(c.taken, snapshot{disk: disk, durable: durable, begun: c.begun.Load()})
}

func (c *crashFS) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	c.maybe()
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &crashFile{File: f, c: c}, nil
}

func (c *crashFS) Remove(name string) error    { c.maybe(); return c.FS.Remove(name) }
func (c *crashFS) RemoveAll(name string) error { c.maybe(); return c.FS.RemoveAll(name) }
func (c *crashFS) SyncDir(dir string) error    { c.maybe(); return c.FS.SyncDir(dir) }

type crashFile struct {
	vfs.File
	c *crashFS
}

func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.c.maybe()
	if f.c.isFull(f.Name()) {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, syscall.ENOSPC
	}
	return f.File.WriteAt(p, off)
}

// Sync on a full disk may lose what was written: it stays visible and is never written any more.
func (f *crashFile) Sync() error {
	f.c.maybe()
	if f.c.isFull(f.Name()) {
		return errors.Join(syscall.ENOSPC, f.c.mem.LoseUnsynced(f.Name()))
	}
	return f.File.Sync()
}

// isFull makes the disk full for some calls on segment files.
func (c *crashFS) isFull(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.every == 0 || !strings.Contains(name, "/topics/") || c.rng.IntN(12) != 0 {
		return false
	}
	c.fullDisk.Add(1)
	return true
}

func (f *crashFile) Truncate(size int64) error { f.c.maybe(); return f.File.Truncate(size) }

// options of the stores under test: everything so small that all happens often.
func (r *run) options(fsys vfs.FS, b bugs) StoreOptions {
	return StoreOptions{FS: fsys, Dir: "/data", MinFreeBytes: 1, CarryBytes: 700, MaxOpenSegments: 3, Logger: quiet(), bugs: b,
		WAL: wal.Options{SlotBytes: 32 << 10, MaxBytes: 8 * 32 << 10, ZeroStep: 8 << 10, RingBytes: 32 << 10, SealAfter: -1,
			OnFatal: func(err error) { panic(err) }}}
}

func (r *run) config() LogConfig {
	c := DefaultLogConfig()
	c.SegmentBytes, c.IndexIntervalBytes = 2048, 300
	return c
}

func newRun(seed uint64, b bugs) (*run, error) {
	r := &run{bugs: b, rng: rand.New(rand.NewPCG(seed, 1)), mem: vfs.NewMem(), history: []model{{}}, committed: map[ID]int64{}, seqs: map[int64]int32{}}
	for i := range 3 {
		r.ids = append(r.ids, testID(byte(i), int32(i)))
	}
	return r, r.open(r.mem, b)
}

func (r *run) open(mem *vfs.Mem, b bugs) error {
	r.mem = mem
	if err := mem.MkdirAll("/data", 0o755); err != nil {
		return err
	}
	if err := mem.SyncDir("/"); err != nil {
		return err
	}
	r.fs = &crashFS{FS: mem, mem: mem, fullDisk: &r.fullDisk, rng: rand.New(rand.NewPCG(r.rng.Uint64(), 2))}
	if b.stateBuiltApart {
		b.betweenBuildAndEnqueue = r.interfere
	}
	b.meanwhile = r.meddle
	r.opts = r.options(r.fs, b)
	s, err := OpenStore(r.opts)
	if err != nil {
		return err
	}
	r.s = s
	r.fs.begun.Store(int64(len(r.history) - 1))
	r.fs.durable.Store(int64(len(r.history) - 1))
	return nil
}

// powerMayFail lets snapshots be taken from now on.
func (r *run) powerMayFail() {
	r.fs.mu.Lock()
	defer r.fs.mu.Unlock()
	r.fs.every = 60
}

func (r *run) now() model { return r.history[len(r.history)-1] }

// begin notes the model after the next operation; it counts as begun from here on.
func (r *run) begin(id ID, l *modelLog) {
	m := maps.Clone(r.now())
	if l == nil {
		delete(m, id)
	} else {
		m[id] = l
	}
	r.history = append(r.history, m)
	r.fs.begun.Store(int64(len(r.history) - 1))
}

// undo takes back a begun operation that was refused.
func (r *run) undo() {
	r.history = r.history[:len(r.history)-1]
	r.fs.begun.Store(int64(len(r.history) - 1))
}

func (r *run) allDurable() { r.fs.durable.Store(int64(len(r.history) - 1)) }

func (r *run) sync() error {
	if err := r.s.syncWAL(); err != nil {
		return err
	}
	r.allDurable()
	return nil
}

// pick prefers the first partitions, so that the last one is idle most of the time.
func (r *run) pick() ID { return r.ids[min(r.rng.IntN(5)/2, r.rng.IntN(3))] }

func (r *run) step() error {
	id := r.pick()
	m, l := r.now()[id], r.s.Get(id)
	if (m == nil) != (l == nil) {
		return fmt.Errorf("%s: in the model %v, in the store %v", id, m != nil, l != nil)
	}
	switch k := r.rng.IntN(100); {
	case m == nil:
		return r.create(id)
	case k < 24:
		return r.append(id, m, l)
	case k < 36:
		return r.replicate(id, m, l)
	case k < 38:
		return r.reset(id, m, l)
	case k < 40:
		return r.truncateUnclean(id, m, l)
	case k < 48:
		return r.commit(id)
	case k < 55:
		return r.truncate(id, m, l)
	case k < 58:
		return r.advance(id, m, l)
	case k < 60:
		return r.followStart(id, m, l)
	case k < 63:
		return r.drop(id)
	case k < 72:
		r.s.maint.Lock()
		defer r.s.maint.Unlock()
		return errors.Join(spaceIsFine(r.s.materialize(l)), r.interfered)
	case k < 78:
		r.s.maint.Lock()
		defer r.s.maint.Unlock()
		r.stating = id
		_, err := r.s.writeState(l, r.s.wal.DurableSeq())
		return errors.Join(walFullIsFine(err), r.interfered)
	case k < 84:
		return errors.Join(r.recycle(), r.interfered)
	case k < 86:
		return r.s.cleanPending()
	case k < 96:
		return r.check(r.s, r.now(), r.rng.IntN(3) == 0)
	default:
		return r.restart()
	}
}

// interfere appends or truncates while a State that was built is not yet enqueued, which only a seeded bug allows.
func (r *run) interfere() {
	m, l := r.now()[r.stating], r.s.Get(r.stating)
	if m == nil || l == nil {
		return
	}
	r.inside = true
	defer func() { r.inside = false }()
	err := r.append(r.stating, m, l)
	if r.rng.IntN(2) == 0 {
		err = errors.Join(err, r.truncate(r.stating, r.now()[r.stating], l))
	}
	r.interfered = errors.Join(r.interfered, err)
}

// spaceIsFine accepts that a full disk stops the maintenance for now.
func spaceIsFine(err error) error {
	if isNoSpace(err) {
		return nil
	}
	return err
}

func walFullIsFine(err error) error {
	if errors.Is(err, ErrWALFull) {
		return nil
	}
	return err
}

func (r *run) recycle() error {
	_, err := r.s.recycleOldest()
	return walFullIsFine(spaceIsFine(err))
}

func (r *run) create(id ID) error {
	residency := int32(r.rng.IntN(1000))
	r.begin(id, &modelLog{residency: residency, epoch: -1})
	r.committed[id] = 0
	if _, err := r.s.Create(id, residency, r.config()); err != nil {
		r.undo()
		return r.full(err)
	}
	return nil
}

// full makes room when the WAL is full.
func (r *run) full(err error) error {
	if !errors.Is(err, ErrWALFull) {
		return err
	}
	if r.inside {
		return nil
	}
	for range 8 {
		if err := r.recycle(); err != nil {
			return err
		}
	}
	for _, id := range r.ids { // what is above the high watermark takes its room in the WAL
		if r.now()[id] != nil {
			if err := r.commitAll(id); err != nil {
				return err
			}
		}
	}
	return r.recycle()
}

func (r *run) append(id ID, m *modelLog, l *Log) error {
	n := 1 + r.rng.IntN(3)
	b := recordbatch.NewBuilder()
	pid := int64(-1)
	if r.rng.IntN(3) == 0 {
		pid = int64(1 + r.rng.IntN(2))
		b.SetProducer(pid, 0, m.nextSequence(pid))
	}
	for range n {
		r.seq++
		b.Append(testTime+int64(r.seq), []byte(strconv.Itoa(r.seq)), bytes.Repeat([]byte{byte(r.seq)}, r.rng.IntN(300)))
	}
	batch, err := b.Build(recordbatch.None)
	if err != nil {
		return err
	}
	batch = bytes.Clone(batch)
	epoch := max(m.epoch, 0)
	recordbatch.PatchBaseOffset(batch, m.end)
	recordbatch.PatchLeaderEpoch(batch, epoch)
	next := m.next()
	next.epoch = epoch
	next.batches = append(slices.Clip(m.batches), modelBatch{base: m.end, last: m.end + int64(n) - 1, bytes: batch})
	next.end += int64(n)
	if pid >= 0 {
		next.producers = append(slices.Clip(m.producers), modelProducer{pid: pid, lastOffset: next.end - 1,
			lastSeq: m.nextSequence(pid) + int32(n) - 1})
	}
	r.begin(id, next)
	sent := bytes.Clone(batch)
	recordbatch.PatchBaseOffset(sent, 0)
	res, err := appendBatch(l, sent, epoch)
	if err != nil {
		r.undo()
		return r.full(err)
	}
	if res.BaseOffset != m.end || res.LastOffset != next.end-1 || res.Duplicate {
		return fmt.Errorf("%s: appended at %+v, expected %d", id, res, m.end)
	}
	return nil
}

func (m *modelLog) nextSequence(pid int64) int32 {
	for i := len(m.producers) - 1; i >= 0; i-- {
		if m.producers[i].pid == pid {
			return m.producers[i].lastSeq + 1
		}
	}
	return 0
}

// commit moves the high watermark to somewhere at or below the durable end.
func (r *run) commit(id ID) error {
	if err := r.sync(); err != nil {
		return err
	}
	m := r.now()[id]
	if room := m.end - r.committed[id]; room > 0 {
		to := r.committed[id] + 1 + r.rng.Int64N(room)
		for _, b := range m.batches { // to the end of a batch
			if b.base < to && to <= b.last {
				to = b.last + 1
			}
		}
		r.committed[id] = min(to, m.end)
		r.s.Get(id).SetHighWatermark(r.committed[id])
	}
	return r.waitDurable(id)
}

func (r *run) commitAll(id ID) error {
	if err := r.sync(); err != nil {
		return err
	}
	r.committed[id] = r.now()[id].end
	r.s.Get(id).SetHighWatermark(r.committed[id])
	return r.waitDurable(id)
}

func (r *run) waitDurable(id ID) error {
	l := r.s.Get(id)
	for began := time.Now(); l.DurableEnd() != l.End(); {
		if time.Since(began) > 5*time.Second {
			return fmt.Errorf("%s: durable end stays %d, end is %d", id, l.DurableEnd(), l.End())
		}
		time.Sleep(time.Microsecond)
	}
	return nil
}

func (r *run) truncate(id ID, m *modelLog, l *Log) error {
	var bounds []int64
	for _, b := range m.batches {
		if b.base >= r.committed[id] && b.base >= m.start {
			bounds = append(bounds, b.base)
		}
	}
	if len(bounds) == 0 {
		return nil
	}
	to := bounds[r.rng.IntN(len(bounds))]
	r.begin(id, m.cut(to))
	if err := l.Truncate(to); err != nil {
		r.undo()
		return r.full(err)
	}
	return l.SetLeaderEpoch(m.epoch + 1)
}

func (m *modelLog) cut(to int64) *modelLog {
	next := m.next()
	next.end = to
	next.epoch++
	next.batches = slices.DeleteFunc(slices.Clone(m.batches), func(b modelBatch) bool { return b.base >= to })
	next.producers = slices.DeleteFunc(slices.Clone(m.producers), func(p modelProducer) bool { return p.lastOffset >= to })
	return next
}

func (r *run) advance(id ID, m *modelLog, l *Log) error {
	if r.committed[id] <= m.start {
		return nil
	}
	next := m.next()
	next.start = m.start + 1 + r.rng.Int64N(r.committed[id]-m.start)
	r.begin(id, next)
	l.SetHighWatermark(r.committed[id])
	if err := l.AdvanceStart(next.start); err != nil {
		r.undo()
		return r.full(err)
	}
	r.allDurable()
	return nil
}

func (r *run) drop(id ID) error {
	r.begin(id, nil)
	if err := r.s.Drop(id); err != nil {
		r.undo()
		return r.full(err)
	}
	r.allDurable()
	return nil
}

// restart stops and starts the store, or lets the power fail and goes on with what the disk then holds.
func (r *run) restart() error {
	if r.rng.IntN(3) == 0 {
		if err := r.s.Close(); err != nil {
			return err
		}
		r.allDurable()
		if err := r.open(r.mem, r.bugs); err != nil {
			return err
		}
		r.powerMayFail()
		return r.check(r.s, r.now(), false)
	}
	r.fs.mu.Lock()
	durable := r.fs.durable.Load()
	disk := r.mem.Crash(r.rng)
	r.fs.mu.Unlock()
	if err := r.s.Close(); err != nil {
		return err
	}
	return r.goOn(snapshot{disk: disk, durable: durable, begun: int64(len(r.history) - 1)}, r.bugs)
}

// goOn opens a store on a snapshot, finds out which operations it holds, and continues with it.
func (r *run) goOn(sn snapshot, b bugs) error {
	if err := r.open(sn.disk, b); err != nil {
		return fmt.Errorf("open after a crash: %w", err)
	}
	k, err := r.match(r.s, sn)
	if err != nil {
		return err
	}
	r.takeBack(k)
	r.history = r.history[:k+1]
	r.fs.begun.Store(int64(k))
	r.fs.durable.Store(int64(k))
	for id, m := range r.now() {
		l := r.s.Get(id)
		if r.committed[id] > m.end || l.HighWatermark() > r.committed[id] {
			return fmt.Errorf("%s: high watermark %d and end %d after the crash, committed was %d", id, l.HighWatermark(), m.end, r.committed[id])
		}
		l.SetConfig(r.config())
	}
	r.powerMayFail()
	return nil
}

// match finds the operation after which the model equals the store.
func (r *run) match(s *Store, sn snapshot) (int, error) {
	var errs []error
	for k := min(sn.begun, int64(len(r.history)-1)); k >= sn.durable; k-- { // the last operation may have been refused
		err := r.check(s, r.history[k], false)
		if err == nil {
			return int(k), nil
		}
		errs = append(errs, fmt.Errorf("after operation %d: %w", k, err))
	}
	return 0, fmt.Errorf("nothing between %d and %d matches: %w", sn.durable, sn.begun, errors.Join(errs...))
}

// snapshots opens the stores on all disks snapped since the last call.
func (r *run) snapshots() (int, error) {
	r.fs.mu.Lock()
	taken := r.fs.taken
	r.fs.taken = nil
	r.fs.mu.Unlock()
	for _, sn := range taken {
		s, err := OpenStore(r.options(sn.disk, r.bugs))
		if err != nil {
			return 0, fmt.Errorf("open after a crash: %w", err)
		}
		_, err = r.match(s, sn)
		if cerr := s.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return 0, err
		}
	}
	return len(taken), nil
}

// check compares a store with a model.
func (r *run) check(s *Store, m model, lookups bool) error {
	logs := s.All()
	if len(logs) != len(m) {
		return fmt.Errorf("%d logs, expected %d", len(logs), len(m))
	}
	for _, l := range logs {
		want := m[l.ID()]
		if want == nil {
			return fmt.Errorf("%s should not be there", l.ID())
		}
		if err := checkLog(l, want); err != nil {
			return fmt.Errorf("%s: %w", l.ID(), err)
		}
		if lookups {
			if err := r.checkLookups(l, want); err != nil {
				return fmt.Errorf("%s: %w", l.ID(), err)
			}
		}
	}
	return nil
}

func checkLog(l *Log, m *modelLog) error {
	if l.fault != nil {
		return l.fault
	}
	if l.Start() != m.start || l.End() != m.end || l.Residency() != m.residency {
		return fmt.Errorf("log %d to %d, residency %d; expected %d to %d, %d", l.Start(), l.End(), l.Residency(), m.start, m.end, m.residency)
	}
	var want []byte
	for _, b := range m.batches {
		if b.last >= m.start {
			want = append(want, b.bytes...)
		}
	}
	got, err := readAll(l)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes, expected %d, or they differ", len(got), len(want))
	}
	if err := checkEpochs(l, m); err != nil {
		return err
	}
	last := map[int64]int32{}
	for _, p := range m.producers {
		last[p.pid] = p.lastSeq
	}
	states := l.Producers()
	if len(states) > len(last) || len(states) < len(last) && !m.loose {
		return fmt.Errorf("%d producers, expected %d", len(states), len(last))
	}
	for _, st := range states {
		if last[st.ProducerID] != st.LastSequence {
			return fmt.Errorf("producer %d at sequence %d, expected %d", st.ProducerID, st.LastSequence, last[st.ProducerID])
		}
	}
	return nil
}

// checkLookups tries a lookup by time and a read from the middle.
func (r *run) checkLookups(l *Log, m *modelLog) error {
	if m.start == m.end {
		return nil
	}
	var all []recordbatch.Record
	for _, b := range m.batches {
		for rec, err := range recordbatch.Records(b.bytes, 0) {
			if err != nil {
				return err
			}
			if rec.Offset >= m.start {
				all = append(all, rec)
			}
		}
	}
	if err := checkPush(l, m, 1+r.rng.IntN(2000)); err != nil {
		return err
	}
	want := all[r.rng.IntN(len(all))] // times grow with offsets
	got, err := l.OffsetForTime(want.Timestamp)
	if err != nil || got.Offset != want.Offset || got.TimestampMs != want.Timestamp {
		return fmt.Errorf("record of time %d at %+v, expected %d: %v", want.Timestamp, got, want.Offset, err)
	}
	newest := all[len(all)-1]
	if got, err := l.MaxTimestamp(); err != nil || got.Offset != newest.Offset {
		return fmt.Errorf("largest time at %+v, expected %d: %v", got, newest.Offset, err)
	}
	b, err := l.Read(nil, want.Offset, want.Offset+1000, 1, true)
	if err != nil {
		return err
	}
	h, err := recordbatch.VerifyCRC(b)
	if err != nil || h.BaseOffset > want.Offset || h.LastOffset() < want.Offset || h.Size() != len(b) {
		return fmt.Errorf("read at %d gave %+v in %d bytes: %v", want.Offset, h, len(b), err)
	}
	return nil
}

// replay runs one seed.
func replay(seed uint64, steps int, b bugs) (crashes, full int, err error) {
	r, err := newRun(seed, b)
	if err != nil {
		return 0, 0, err
	}
	r.powerMayFail()
	defer func() {
		if e := r.s.Close(); err == nil && e != nil {
			err = e
		}
	}()
	for i := range steps {
		if err := r.step(); err != nil {
			return crashes, 0, fmt.Errorf("seed %d, step %d: %w", seed, i, err)
		}
		n, err := r.snapshots()
		if err != nil {
			return crashes, 0, fmt.Errorf("seed %d, step %d, snapshot: %w", seed, i, err)
		}
		crashes += n
	}
	return crashes, int(r.fullDisk.Load()), r.check(r.s, r.now(), true)
}

func seeds(t *testing.T, def uint64) uint64 {
	if v := os.Getenv("CHRONIK_SEEDS"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return def
}

func TestReplayMatchesTheModel(t *testing.T) {
	crashes, full := 0, 0
	for seed := *firstSeed; seed < *firstSeed+seeds(t, 40); seed++ {
		n, f, err := replay(seed, 150, bugs{})
		if err != nil {
			t.Fatal(err)
		}
		crashes += n
		full += f
	}
	t.Logf("%d power failures, %d times a full disk", crashes, full)
	if crashes == 0 || full == 0 {
		t.Fatal("some fault did not happen")
	}
}

// A rule that no test can see broken is not tested: each switch breaks one, and the replay test must notice.
func TestReplayFindsSeededBugs(t *testing.T) {
	for name, b := range map[string]bugs{
		"move without drop":     {moveWithoutDrop: true},
		"log start inferred":    {inferLogStart: true},
		"truncate forgotten":    {forgetTruncate: true},
		"state merges":          {stateMerges: true},
		"state built apart":     {stateBuiltApart: true},
		"recycle without state": {recycleWithoutState: true},
		"state before sync":     {stateBeforeSync: true},
		"segments not cut":      {noCut: true},
		"above high watermark":  {aboveHighWatermark: true},
		"producers forgotten":   {forgetProducers: true},
		"reset forgotten":       {forgetReset: true},
		"reset keeps files":     {resetKeepsFiles: true},
		"cut while written":     {keepViewGen: true},
		"mark after truncation": {truncateKeepsMark: true},
		"move forgotten":        {moveForgotten: true},
		"move unchecked":        {moveUnchecked: true},
		"oldest assumed":        {oldestAssumed: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(1000) {
				if _, _, err := replay(seed, 150, b); err != nil {
					t.Logf("found: %.300v", err)
					return
				}
			}
			t.Fatal("not found in 1,000 seeds")
		})
	}
}
