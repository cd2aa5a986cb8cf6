package group

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

// shard owns the machine of one partition: it holds the lock, tells the time, and carries records to the log and their completions back.
type shard struct {
	c         *Coordinator
	partition int32
	term      atomic.Pointer[term] // nil: not led here

	mu       sync.Mutex // owns the machine of the current term, and builder
	builder  *recordbatch.Builder
	deadline atomic.Int64 // when the machine's next timer is due, since c.start; noDeadline: none

	doneMu sync.Mutex // innermost; owns done
	done   []completion
}

// term is the time for which this node leads the partition at one leader epoch with one loaded state.
type term struct {
	epoch  int32
	ctx    context.Context // ends with the term
	cancel context.CancelFunc
	ready  chan struct{} // closed when m is set
	m      *machine
}

// completion is an append that the log has finished with.
type completion struct {
	finish func(error)
	err    error
}

const noDeadline = int64(1<<63 - 1)

// enter runs fn on the loaded machine. It waits up to Config.LoadWait for a partition that is loading.
func (s *shard) enter(ctx context.Context, fn func(*machine)) error {
	for range maxTerms {
		t, err := s.await(ctx)
		if err != nil {
			return err
		}
		if s.with(t, fn) {
			return nil
		}
	}
	return ErrLoading
}

// maxTerms is how many terms a request may see end before it gives up.
const maxTerms = 3

// with runs fn on the machine of the term, unless that is over.
func (s *shard) with(t *term, fn func(*machine)) bool {
	s.mu.Lock()
	defer s.unlock()
	if s.term.Load() != t {
		return false
	}
	t.m.now = time.Now()
	fn(t.m)
	return true
}

// await returns the term whose machine is loaded.
func (s *shard) await(ctx context.Context) (*term, error) {
	t := s.term.Load()
	if t != nil && t.loaded() {
		return t, nil
	}
	timeout := time.NewTimer(s.c.cfg.LoadWait)
	defer timeout.Stop()
	for {
		t := s.term.Load()
		if t == nil {
			return nil, ErrNotCoordinator
		}
		select {
		case <-t.ready:
			return t, nil
		case <-t.ctx.Done(): // another term follows, or none
			if s.term.Load() == t {
				return nil, ErrStopped
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout.C:
			return nil, ErrLoading
		}
	}
}

func (t *term) loaded() bool {
	select {
	case <-t.ready:
		return true
	default:
		return false
	}
}

// loading tells whether the partition is led here but cannot be asked yet.
func (s *shard) loading() bool {
	t := s.term.Load()
	return t != nil && !t.loaded()
}

// withMachine runs fn on the machine if there is one now.
func (s *shard) withMachine(fn func(*machine)) {
	s.mu.Lock()
	defer s.unlock()
	if t := s.term.Load(); t != nil && t.m != nil {
		t.m.now = time.Now()
		fn(t.m)
	}
}

// tick fires the machine's timers.
func (s *shard) tick() { s.withMachine(func(m *machine) { m.tick() }) }

// end takes the partition away for good, and answers all that wait with err.
func (s *shard) end(err error) {
	if old := s.term.Swap(nil); old != nil {
		old.cancel()
		s.dropTerm(old, err)
	}
}

// dropTerm answers all that wait on a term that is over.
func (s *shard) dropTerm(old *term, err error) {
	s.mu.Lock()
	defer s.unlock()
	if old.m != nil {
		old.m.drop(err)
	}
}

// unlock takes in what the log finished meanwhile, and releases the lock. The log's completions never wait for the lock: either they get
// it, or its holder takes them in here.
func (s *shard) unlock() {
	for {
		s.takeDone()
		s.mu.Unlock()
		if !s.hasDone() || !s.mu.TryLock() {
			return
		}
	}
}

func (s *shard) hasDone() bool {
	s.doneMu.Lock()
	defer s.doneMu.Unlock()
	return len(s.done) > 0
}

// takeDone runs completions, restarts a machine that is ahead of its log, and publishes when the next timer is due.
func (s *shard) takeDone() {
	s.doneMu.Lock()
	done := s.done
	s.done = nil
	s.doneMu.Unlock()
	t := s.term.Load()
	live := t != nil && t.m != nil
	if live && len(done) > 0 {
		t.m.now = time.Now()
	}
	for _, d := range done {
		d.finish(d.err)
	}
	if live && t.m.broken != nil {
		s.c.restart(s, t)
		live = false
	}
	s.publish(t, live)
}

// publish tells the timer goroutine and the cleaner what this machine needs.
func (s *shard) publish(t *term, live bool) {
	next := noDeadline
	if live {
		if at, ok := t.m.timers.next(); ok {
			next = int64(at.Sub(s.c.start))
		}
		if t.m.needsRewrite() {
			s.c.wakeCleaner()
		}
	}
	if s.deadline.Swap(next) != next {
		s.c.wakeTimer(next)
	}
}

// completed is called by the log.
func (s *shard) completed(finish func(error), err error) {
	s.doneMu.Lock()
	s.done = append(s.done, completion{finish, err})
	s.doneMu.Unlock()
	if s.mu.TryLock() {
		s.unlock()
	}
}

// append carries a machine's records to the log as one batch. The caller holds the lock.
func (s *shard) append(t *term, records []record, done func(error)) error {
	if s.term.Load() != t {
		return ErrNotCoordinator
	}
	s.builder.Reset()
	nowMs := t.m.nowMs()
	for _, r := range records {
		s.builder.Append(nowMs, r.key, r.value)
	}
	batch, err := s.builder.Build(recordbatch.None)
	if err != nil {
		return fmt.Errorf("build batch of %d group records: %w", len(records), err)
	}
	if err := s.c.store.Append(s.partition, t.epoch, batch, func(err error) { s.completed(done, err) }); err != nil {
		return fmt.Errorf("append %d group records to partition %d: %w", len(records), s.partition, err)
	}
	return nil
}

// settle waits until the log is committed to the end that it has as this term begins: that is what is to be loaded. Followers that are
// away can make it wait for long; it ends with the term.
func (s *shard) settle(t *term) (start, end int64, err error) {
	if _, end, err = s.c.store.Bounds(s.partition, t.epoch); err != nil {
		return 0, 0, fmt.Errorf("load group partition %d: %w", s.partition, err)
	}
	if err := s.c.store.AwaitHighWatermark(t.ctx, s.partition, t.epoch, end); err != nil {
		return 0, 0, fmt.Errorf("load group partition %d to offset %d: %w", s.partition, end, err)
	}
	if start, _, err = s.c.store.Bounds(s.partition, t.epoch); err != nil { // it may have been moved meanwhile
		return 0, 0, fmt.Errorf("load group partition %d: %w", s.partition, err)
	}
	return start, end, nil
}

// load reads a settled partition, and makes the machine live.
func (s *shard) load(t *term, start, end int64, began time.Time) (*machine, error) {
	m := newMachine(&s.c.cfg, s.c.cfg.Logger.With("partition", s.partition), &s.c.usage, newMemberID)
	m.append = func(records []record, done func(error)) error { return s.append(t, records, done) }
	m.now = time.Now()
	l := newLoader(m)
	if err := s.replay(t, l, start, end); err != nil {
		m.drop(ErrNotAvailable)
		return nil, fmt.Errorf("load group partition %d: %w", s.partition, err)
	}
	m.now = time.Now()
	l.finish()
	m.shrink()
	s.c.cfg.Logger.Info("group partition loaded", "partition", s.partition, "leaderEpoch", t.epoch, "offsets", end-start, "groups", len(m.groups),
		"ms", m.now.Sub(began).Milliseconds())
	return m, nil
}

const loadBytes = 1 << 20

// replay feeds the records in [from, end) to the loader.
func (s *shard) replay(t *term, l *loader, from, end int64) error {
	var buf []byte
	for from < end {
		if t.ctx.Err() != nil {
			return ErrNotCoordinator
		}
		var err error
		if buf, err = s.c.store.Read(s.partition, t.epoch, buf[:0], from, loadBytes); err != nil {
			return fmt.Errorf("read from offset %d: %w", from, err)
		}
		next, err := replayBatches(buf, from, l)
		if err != nil {
			return err
		}
		if next <= from {
			return fmt.Errorf("read from offset %d gave nothing below %d: %w", from, end, ErrCorruptRecord)
		}
		from = next
	}
	return nil
}

// replayBatches feeds the records at and above from; it returns the offset after the last batch.
func replayBatches(b []byte, from int64, l *loader) (next int64, err error) {
	next = from
	for len(b) > 0 {
		h, err := recordbatch.ParseHeader(b)
		if err != nil {
			return next, fmt.Errorf("batch at offset %d: %w", next, errors.Join(ErrCorruptRecord, err))
		}
		if h.Size() > len(b) {
			return next, fmt.Errorf("batch at offset %d is cut: %w", h.BaseOffset, ErrCorruptRecord)
		}
		if h.Transactional() && !h.Control() { // whether it was committed is not known here
			return next, fmt.Errorf("transactional batch at offset %d: %w", h.BaseOffset, ErrCorruptRecord)
		}
		if !h.Control() && h.LastOffset() >= from {
			for r, err := range recordbatch.Records(b[:h.Size()], 0) {
				if err == nil && r.Offset >= from {
					err = l.add(r.Key, r.Value)
				}
				if err != nil {
					return next, fmt.Errorf("record in batch at offset %d: %w", h.BaseOffset, err)
				}
			}
		}
		next = max(next, h.LastOffset()+1)
		b = b[h.Size():]
	}
	return next, nil
}
