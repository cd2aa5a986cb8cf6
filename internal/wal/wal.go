package wal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/vfs"
)

// WAL is an open log.
//
// Everything below mu is guarded by it. Lock order: mu is the only lock and is never held over I/O or a callback
// (fill is called under it and may only copy).
type WAL struct {
	o   Options
	log *slog.Logger

	durable atomic.Uint64          // sequence of the last durable commit
	told    atomic.Pointer[func()] // OnTold

	mu      sync.Mutex
	changed sync.Cond // appenders and Close wait here for space, memory, and the end of pins
	waiters int       // goroutines in changed.Wait

	slots   []*slot // live, oldest first; the last one is active
	free    []*slot // ready to be entered, in order
	retired []*slot // given back by Recycle, header not rewritten yet
	oldest  uint64  // generations below it are given back; that of slots[0], unless the first slots were lost
	files   int     // slot files in all, damaged ones included
	number  int     // number for the next new file

	ring    ring
	open    *commit   // the commit that records go to; nil or with at least one frame
	queue   []*commit // sealed, to be written, oldest first
	spare   []*commit // for reuse
	nextSeq uint64    // sequence of the next commit to be opened
	pending int64     // bytes of commits not yet durable
	records uint64
	commits uint64

	wantActive int64     // position up to which an appender needs the active slot filled
	wantNext   int64     // same in the slot after it; 0: no appender waits for one
	noSpace    bool      // the last attempt to take space met a full disk
	retryAt    time.Time // when the filler tries again

	sealed  bool          // at start: the last commit needs no Seal; only read by the commit goroutine
	idle    bool          // the commit goroutine sleeps
	syncers int           // goroutines in Sync
	synced  chan struct{} // closed and replaced when a commit is durable
	closing bool
	failed  error // an I/O error stopped the log

	kick        chan struct{} // wakes the commit goroutine, capacity 1
	kickFill    chan struct{} // wakes the filler, capacity 1
	completions chan *commit  // to the completion goroutine, bounded
	stop        chan struct{} // closed when the goroutines are to end
	committer   sync.WaitGroup
	background  sync.WaitGroup // filler, completion
}

const (
	defaultSlotBytes  = 64 << 20
	defaultMaxBytes   = 1 << 30
	defaultZeroStep   = 4 << 20
	defaultRingBytes  = 128 << 20
	defaultChunkBytes = 4 << 20
	defaultMaxPending = 32 << 20
	defaultSealAfter  = 100 * time.Millisecond

	completionDepth = 64
)

// withDefaults fills in zero fields and checks the rest.
func (o Options) withDefaults() (Options, error) {
	setDefault(&o.SlotBytes, defaultSlotBytes)
	setDefault(&o.MaxBytes, defaultMaxBytes)
	setDefault(&o.ZeroStep, defaultZeroStep)
	setDefault(&o.RingBytes, defaultRingBytes)
	setDefault(&o.MaxPendingBytes, defaultMaxPending)
	setDefault(&o.ChunkBytes, max(blockSize, min(defaultChunkBytes, o.SlotBytes, o.RingBytes/4)&^(blockSize-1)))
	if o.SealAfter == 0 {
		o.SealAfter = defaultSealAfter
	}
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Mark == nil {
		o.Mark = func() uint64 { return 0 }
	}
	o.ZeroStep = min(alignUp(o.ZeroStep), o.SlotBytes)
	switch {
	case o.Dir == "":
		return o, fmt.Errorf("no directory: %w", ErrOptions)
	case o.SlotBytes%blockSize != 0 || o.SlotBytes < minSlotBytes || o.SlotBytes > maxSlotBytes:
		return o, fmt.Errorf("slot size %d: %w", o.SlotBytes, ErrOptions)
	case o.ChunkBytes%blockSize != 0 || o.ChunkBytes < blockSize || o.ZeroStep < blockSize:
		return o, fmt.Errorf("chunk size %d, zero step %d: %w", o.ChunkBytes, o.ZeroStep, ErrOptions)
	case o.MaxBytes/o.SlotBytes < 2+int64(o.Reserve) || o.Reserve < 0:
		return o, fmt.Errorf("%d bytes hold fewer than two slots of %d and %d in reserve: %w", o.MaxBytes, o.SlotBytes, o.Reserve, ErrOptions)
	case o.RingBytes < o.ChunkBytes || o.MaxPendingBytes < 0:
		return o, fmt.Errorf("ring %d, pending %d bytes: %w", o.RingBytes, o.MaxPendingBytes, ErrOptions)
	}
	return o, nil
}

func setDefault(v *int64, d int64) {
	if *v == 0 {
		*v = d
	}
}

// maxSlots is the number of slot files that MaxBytes allows.
func (w *WAL) maxSlots() int { return int(w.o.MaxBytes / w.o.SlotBytes) }

// active returns the slot that the next commit goes to.
func (w *WAL) active() *slot { return w.slots[len(w.slots)-1] }

// start runs the log's goroutines.
func (w *WAL) start() {
	w.committer.Add(1)
	go func() {
		defer w.committer.Done()
		w.commitLoop()
	}()
	w.background.Add(2)
	go func() {
		defer w.background.Done()
		w.completionLoop()
	}()
	go func() {
		defer w.background.Done()
		w.fillLoop()
	}()
}

// wait sleeps until something changed; mu is held.
func (w *WAL) wait() {
	w.waiters++
	w.changed.Wait()
	w.waiters--
}

// wake wakes all that wait; mu is held.
func (w *WAL) wake() {
	if w.waiters > 0 {
		w.changed.Broadcast()
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is awake already
	}
}

// fatal ends the process by way of OnFatal: what the disk holds is not known any more. Should OnFatal return, the log
// stays stopped.
func (w *WAL) fatal(err error) {
	w.mu.Lock()
	first := w.failed == nil
	if first {
		w.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		w.open = nil // nothing is accepted any more
		close(w.synced)
		w.synced = make(chan struct{})
	}
	w.wake()
	w.mu.Unlock()
	poke(w.kick)
	if !first {
		return
	}
	if w.o.OnFatal != nil {
		w.o.OnFatal(err)
		return
	}
	w.log.Error("write-ahead log failed; ending the process so that nothing unproven is acknowledged", "dir", w.o.Dir, "err", err)
	os.Exit(1)
}

// DurableSeq returns the sequence of the last durable commit.
func (w *WAL) DurableSeq() uint64 { return w.durable.Load() }

// LastSeq returns the sequence of the newest commit that is written or under way: what was appended before the call is in it or in an
// older one, but for deferred records.
func (w *WAL) LastSeq() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open != nil && w.open.defers {
		return w.nextSeq - 2
	}
	return w.nextSeq - 1 // an open commit has its sequence already
}

// Sync waits until everything appended before the call is durable.
func (w *WAL) Sync(ctx context.Context) error {
	w.mu.Lock()
	target := w.nextSeq - 1 // an open commit has its sequence already
	w.startDeferred()
	w.syncers++
	defer func() {
		w.mu.Lock()
		w.syncers--
		w.mu.Unlock()
	}()
	for {
		failed, ch := w.failed, w.synced
		w.mu.Unlock()
		if w.durable.Load() >= target {
			return nil
		}
		if failed != nil {
			return failed
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for commit %d: %w", target, ctx.Err())
		case <-ch:
		}
		w.mu.Lock()
	}
}

// Usage returns the space in use.
func (w *WAL) Usage() Usage {
	w.mu.Lock()
	defer w.mu.Unlock()
	u := Usage{
		MaxBytes:  int64(w.maxSlots()) * w.o.SlotBytes,
		RingBytes: w.ring.bytes,
		Pending:   w.pending,
		Slots:     len(w.slots),
		OldestSeq: w.slots[0].firstSeq,
		NextSeq:   w.nextSeq,
		NoSpace:   w.noSpace,
		Commits:   w.commits,
		Records:   w.records,
	}
	for i, s := range w.slots {
		u.DiskBytes += max(s.filled, s.end)
		if i < len(w.slots)-1 {
			u.UsedBytes += s.size
		} else {
			u.UsedBytes += s.end
		}
	}
	for _, s := range w.free {
		u.DiskBytes += s.filled
		if s.filled == s.size {
			u.Ready++
		}
	}
	for _, s := range w.retired {
		u.DiskBytes += s.filled
	}
	return u
}

// Slots returns the live slots, oldest first.
func (w *WAL) Slots() []SlotInfo {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]SlotInfo, len(w.slots))
	for i, s := range w.slots {
		list[i] = SlotInfo{
			Slot: s.number, Generation: s.gen, FirstSeq: s.firstSeq, LastSeq: s.lastSeq(), Bytes: s.end, Sealed: s.rolled,
		}
	}
	return list
}

// Recycle gives back whole sealed slots, oldest first, whose last sequence is at most upToSeq. After a crash some of
// them may be replayed once more.
func (w *WAL) Recycle(upToSeq uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return w.failed
	}
	if w.closing {
		return ErrClosed
	}
	n := 0
	for n < len(w.slots)-1 /* never the active one */ && w.slots[n].rolled && w.slots[n].lastSeq() <= upToSeq {
		n++
	}
	if n > 0 {
		w.retired = append(w.retired, w.slots[:n]...)
		w.slots = append([]*slot(nil), w.slots[n:]...)
		w.oldest = w.slots[0].gen
		poke(w.kickFill)
	}
	return nil
}

// Close makes everything appended durable, marks the stop as clean, and ends the goroutines.
func (w *WAL) Close() error {
	w.mu.Lock()
	if w.closing {
		w.mu.Unlock()
		return ErrClosed
	}
	w.closing = true
	w.wake()
	w.mu.Unlock()
	poke(w.kick)
	w.committer.Wait()
	close(w.completions)
	close(w.stop)
	w.background.Wait()

	w.mu.Lock()
	defer w.mu.Unlock()
	w.ring.waiting.Store(true)
	for w.pinned() {
		w.wait()
	}
	w.ring.free()
	errs := []error{w.failed}
	for _, list := range [][]*slot{w.slots, w.free, w.retired} {
		for _, s := range list {
			errs = append(errs, s.f.Close())
		}
	}
	return errors.Join(errs...)
}

// pinned reports whether a reader is at work; mu is held.
func (w *WAL) pinned() bool {
	for _, c := range w.ring.chunks {
		if c.pins.Load() > 0 {
			return true
		}
	}
	for _, list := range [][]*slot{w.slots, w.retired} {
		for _, s := range list {
			if s.pins.Load() > 0 {
				return true
			}
		}
	}
	return false
}

// newSalt returns a random number that no content of a file can be made to hold. It is never zero.
func newSalt() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if salt := binary.LittleEndian.Uint64(b[:]); salt != 0 {
			return salt
		}
	}
}
