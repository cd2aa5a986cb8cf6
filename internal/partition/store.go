package partition

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

const (
	defaultMaxIndexBytes     = 128 << 20
	defaultCarryBytes        = 64 << 10
	defaultRetentionInterval = 5 * time.Minute
	defaultMaxOpenSegments   = 512
	defaultMaxProducers      = 16384
	defaultSlotBytes         = 64 << 20
	defaultWALBytes          = 1 << 30
	defaultMaxUncommitted    = 64 << 20
	// admitPercent of the WAL is for client appends; the rest is for replication and States.
	admitPercent = 75
)

// Store owns the node WAL and the logs of all partitions on this node.
type Store struct {
	opts      StoreOptions
	fs        vfs.FS
	wal       *wal.WAL
	topicsDir string
	files     *fileCache
	logger    *slog.Logger
	bugs      bugs
	fatal     func(error)

	viewBytes   atomic.Int64 // batches in the WAL that are not in segments
	viewEntries atomic.Int64
	uncommitted atomic.Int64 // bytes above the high watermarks; a log's is too high until it is counted again
	noSpace     atomic.Bool  // free space is below the low-water mark, or a write met a full disk

	maint  sync.Mutex // held by whatever writes or removes segment files; guards the next group
	clock  clockWatch
	buffer []byte

	mu      sync.Mutex // guards what follows
	closed  bool
	logs    map[ID]*Log
	byNeed  needHeap // all logs, by the oldest WAL sequence that they need
	ready   []*Log   // logs with enough in the WAL to be worth a segment write
	clean   []*Log   // logs with segments below their start
	configs map[LogConfig]*LogConfig
	wake    chan struct{}

	countedAt time.Time // when uncommitted was brought up to date
}

// OpenStore replays the node WAL and recovers all partitions; segment files are opened when first needed. Records of topics that the
// caller does not know are kept: All lists them, and the caller says Drop for those that are deleted.
func OpenStore(o StoreOptions) (*Store, error) {
	s := newStore(o)
	began := time.Now()
	r := newReplayer(s)
	w, rec, err := wal.Open(s.opts.WAL, r.record)
	if err != nil {
		return nil, fmt.Errorf("open node WAL: %w", err)
	}
	s.wal = w
	if err := r.finish(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	s.checkSpace()
	s.logger.Info("partitions recovered", "partitions", len(s.logs), "batches", s.viewEntries.Load(), "walRecords", rec.Records,
		"clean", rec.Clean, "took", time.Since(began))
	return s, nil
}

func newStore(o StoreOptions) *Store {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.DefaultConfig == (LogConfig{}) {
		o.DefaultConfig = DefaultLogConfig()
	}
	setDefault(&o.MaxIndexBytes, defaultMaxIndexBytes)
	setDefault(&o.CarryBytes, defaultCarryBytes)
	setDefault(&o.RetentionInterval, defaultRetentionInterval)
	setDefault(&o.MaxOpenSegments, defaultMaxOpenSegments)
	setDefault(&o.MaxProducers, defaultMaxProducers)
	if o.WAL.FS == nil {
		o.WAL.FS = o.FS
	}
	if o.WAL.Dir == "" {
		o.WAL.Dir = filepath.Join(o.Dir, "wal")
	}
	if o.WAL.Logger == nil {
		o.WAL.Logger = o.Logger
	}
	setDefault(&o.WAL.SlotBytes, defaultSlotBytes)
	setDefault(&o.WAL.MaxBytes, defaultWALBytes)
	setDefault(&o.MaxNodeUncommittedBytes, o.WAL.MaxBytes/4)
	setDefault(&o.MaxUncommittedBytes, min(defaultMaxUncommitted, o.MaxNodeUncommittedBytes))
	setDefault(&o.MinFreeBytes, uint64(2*o.WAL.SlotBytes)+64<<20)
	s := &Store{opts: o, fs: o.FS, topicsDir: filepath.Join(o.Dir, "topics"), logger: o.Logger, bugs: o.bugs, logs: map[ID]*Log{},
		configs: map[LogConfig]*LogConfig{}, wake: make(chan struct{}, 1), fatal: o.WAL.OnFatal}
	if s.fatal == nil {
		s.fatal = func(err error) {
			s.logger.Error("stopping: the state of the disk is unknown", "err", err)
			os.Exit(1)
		}
	}
	s.files = newFileCache(s.fs, o.MaxOpenSegments)
	s.clock.start(o.Now())
	return s
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Create makes an empty log. Nothing is created on disk but a record in the WAL. residency is the partition epoch at which this
// replica was added.
func (s *Store) Create(id ID, residency int32, cfg LogConfig) (*Log, error) {
	config := s.internConfig(cfg)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("create %s: %w", id, ErrDropped)
	}
	if s.logs[id] != nil {
		return nil, fmt.Errorf("create %s: %w", id, ErrExists)
	}
	l := newLog(s, id, residency, config)
	l.segs.Store(&noSegments)
	l.oldest = s.wal.DurableSeq() + 1
	if _, err := s.appendSmall(kindReset, prefix{id: id, epoch: -1}, residencyBytes(residency), nil, 0); err != nil {
		return nil, fmt.Errorf("create %s: %w", id, mapWALError(err))
	}
	s.logs[id] = l
	heap.Push(&s.byNeed, l)
	return l, nil
}

var noSegments []*segment

func residencyBytes(r int32) []byte {
	return []byte{byte(r >> 24), byte(r >> 16), byte(r >> 8), byte(r)}
}

// Get returns the log of a partition, nil if it is not here.
func (s *Store) Get(id ID) *Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logs[id]
}

// All returns all logs in no order.
func (s *Store) All() []*Log {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		out = append(out, l)
	}
	return out
}

// Drop forgets partitions durably, then removes their directories. One that is not here is no error. Many at once cost one sync of the WAL.
func (s *Store) Drop(ids ...ID) error {
	s.maint.Lock()
	defer s.maint.Unlock()
	var logs []*Log
	var errs []error
	for _, id := range ids {
		l := s.Get(id)
		if l == nil {
			continue
		}
		if err := l.retire(); err != nil {
			errs = append(errs, err)
			continue
		}
		logs = append(logs, l)
		s.mu.Lock()
		delete(s.logs, id)
		if l.heapIndex >= 0 {
			heap.Remove(&s.byNeed, l.heapIndex)
		}
		s.mu.Unlock()
	}
	if len(logs) > 0 {
		if err := s.syncWAL(); err != nil {
			return fmt.Errorf("drop %d partitions: %w", len(logs), errors.Join(append(errs, err)...))
		}
		errs = append(errs, s.removeDirs(logs))
	}
	return errors.Join(errs...)
}

// retire records the drop and makes the log unusable.
func (l *Log) retire() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return nil
	}
	p := prefix{id: l.id, epoch: l.leaderEpoch, offset: l.end.Load()}
	if !l.store.bugs.moveWithoutDrop {
		if _, err := l.store.appendSmall(kindDrop, p, residencyBytes(l.residency), nil, 0); err != nil {
			return fmt.Errorf("drop %s: %w", l.id, mapWALError(err))
		}
	}
	l.gone = fmt.Errorf("use %s: %w", l.id, ErrDropped)
	l.dropViewBack(0)
	l.producers, l.epochs = nil, nil
	return nil
}

// removeDirs removes the directories of dropped logs, durably, and those of topics that have no other partition.
func (s *Store) removeDirs(logs []*Log) error {
	topics := map[string]struct{}{}
	for _, l := range logs {
		if segs := l.segs.Load(); segs != nil {
			for _, seg := range *segs {
				s.files.forget(seg)
			}
			for _, seg := range l.stale {
				s.files.forget(seg)
			}
			if len(*segs) == 0 && l.segEnd.Load() == 0 && !l.hadFiles { // never had one
				continue
			}
		}
		dir := l.dir()
		if _, err := s.fs.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := s.fs.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove directory of %s: %w", l.id, err)
		}
		topics[filepath.Dir(dir)] = struct{}{}
	}
	for dir := range topics {
		if err := s.fs.SyncDir(dir); err != nil {
			return fmt.Errorf("sync directory %s: %w", dir, err)
		}
		_ = s.fs.Remove(dir) // fails while the topic has other partitions here
	}
	return nil
}

// Close makes everything appended durable and closes the WAL and all files. Run must have returned.
func (s *Store) Close() error {
	s.maint.Lock()
	defer s.maint.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, l := range s.All() {
		l.mu.Lock()
		if l.gone == nil {
			l.gone = fmt.Errorf("use %s: store is closed: %w", l.id, ErrDropped)
		}
		l.mu.Unlock()
	}
	err := s.wal.Close()
	s.files.closeAll()
	if err != nil {
		return fmt.Errorf("close node WAL: %w", err)
	}
	return nil
}

// NoSpace reports whether client appends are refused because the disk is full: it has less than MinFreeBytes free, or a write found no
// space. It passes by itself.
func (s *Store) NoSpace() bool { return s.noSpace.Load() || s.wal.Usage().NoSpace }

// Admit tells whether client appends of n bytes are welcome: nil, ErrNoSpace or ErrWALFull.
func (s *Store) Admit(n int) error {
	u := s.wal.Usage()
	if s.noSpace.Load() || u.NoSpace {
		return ErrNoSpace
	}
	if u.UsedBytes+u.Pending+int64(n) > u.MaxBytes/100*admitPercent {
		s.poke()
		return ErrWALFull
	}
	return nil
}

// OnTold sets the one function that is called on the WAL's completion goroutine after the OnDurable hooks of each commit.
func (s *Store) OnTold(fn func()) { s.wal.OnTold(fn) }

// LastSeq is the newest commit of the node WAL that holds anything appended so far; DurableSeq the newest that is synced. What was appended
// before a call of LastSeq is durable when DurableSeq has reached it.
func (s *Store) LastSeq() uint64 { return s.wal.LastSeq() }

// DurableSeq is the newest synced commit of the node WAL.
func (s *Store) DurableSeq() uint64 { return s.wal.DurableSeq() }

// Usage is the space of the node WAL.
func (s *Store) Usage() wal.Usage { return s.wal.Usage() }

// internConfig lets logs with equal settings share one copy.
func (s *Store) internConfig(c LogConfig) *LogConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.configs[c]; p != nil {
		return p
	}
	if len(s.configs) >= maxInterned {
		clear(s.configs)
	}
	s.configs[c] = &c
	return &c
}

const maxInterned = 1024

func (s *Store) syncWAL() error {
	if err := s.wal.Sync(context.Background()); err != nil {
		return fmt.Errorf("sync node WAL: %w", mapWALError(err))
	}
	return nil
}

func (s *Store) addReady(l *Log) {
	s.mu.Lock()
	s.ready = append(s.ready, l)
	s.mu.Unlock()
}

func (s *Store) needClean(l *Log) {
	s.mu.Lock()
	s.clean = append(s.clean, l)
	s.mu.Unlock()
	s.poke()
}

// poke wakes the maintenance.
func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// checkSpace compares the disk's free space with the low-water mark.
func (s *Store) checkSpace() {
	free, _, err := s.fs.FreeSpace(s.opts.Dir)
	if err != nil {
		s.logger.Warn("cannot read free space", "dir", s.opts.Dir, "err", err)
		return
	}
	low := free < s.opts.MinFreeBytes
	if s.noSpace.Swap(low) != low {
		if low {
			s.logger.Error("disk is full: appends are refused until there is space", "freeBytes", free, "minFreeBytes", s.opts.MinFreeBytes)
		} else {
			s.logger.Info("disk has space again", "freeBytes", free)
		}
	}
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// needHeap orders logs by the oldest WAL sequence that they need. Guarded by Store.mu.
type needHeap []*Log

func (h needHeap) Len() int           { return len(h) }
func (h needHeap) Less(i, j int) bool { return h[i].oldest < h[j].oldest }
func (h needHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i, j
}

// Push implements heap.Interface.
func (h *needHeap) Push(x any) {
	l := x.(*Log)
	l.heapIndex = len(*h)
	*h = append(*h, l)
}

// Pop implements heap.Interface.
func (h *needHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	l.heapIndex = -1
	*h = old[:len(old)-1]
	return l
}
