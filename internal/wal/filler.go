package wal

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

const (
	// firstStep is how much is filled at once in a new file: little, so that the first commits need not wait.
	firstStep = 256 << 10
	zeroPiece = 256 << 10
	// spaceRetry is the pause after a full disk.
	spaceRetry = 200 * time.Millisecond
)

// zeros is written to files and never touched in memory, so it costs no memory: its pages are all the zero page.
var zeros [zeroPiece]byte

type jobKind int

const (
	jobNone jobKind = iota
	jobFill
	jobRetire
	jobCreate
)

// fillLoop keeps filled space ahead of the writer. It is the only goroutine that creates files, fills them and
// rewrites the headers of slots given back.
func (w *WAL) fillLoop() {
	retry := time.NewTimer(spaceRetry)
	defer retry.Stop()
	for {
		w.mu.Lock()
		kind, s := w.pickJob(time.Now())
		waitSpace := w.noSpace
		w.mu.Unlock()
		var err error
		switch kind {
		case jobNone:
			var again <-chan time.Time
			if waitSpace {
				retry.Reset(spaceRetry)
				again = retry.C
			}
			select {
			case <-w.stop:
				return
			case <-w.kickFill:
			case <-again:
			}
			continue
		case jobFill:
			err = w.fillStep(s)
		case jobRetire:
			err = w.retire(s)
		case jobCreate:
			err = w.createSlot()
		}
		if err != nil && !w.outOfSpace(s, err) {
			w.fatal(err)
			return
		}
		select {
		case <-w.stop:
			return
		default:
		}
	}
}

// outOfSpace notes a full disk and wakes the appenders, who are refused then; false for any other error.
func (w *WAL) outOfSpace(s *slot, err error) bool {
	if !errors.Is(err, errSpace) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.noSpace {
		w.log.Warn("write-ahead log cannot grow; appends are refused once its filled space is used up",
			"dir", w.o.Dir, "err", err)
	}
	if s != nil {
		s.short = true
	}
	w.noSpace, w.retryAt = true, time.Now().Add(spaceRetry)
	w.wake()
	return true
}

// spaceTaken notes that the disk is not full, or not any more; mu is held.
func (w *WAL) spaceTaken() {
	if w.noSpace {
		w.log.Info("write-ahead log grows again", "dir", w.o.Dir)
	}
	w.noSpace = false
	w.wake()
}

// errSpace marks the errors of a full disk where nothing that was written is needed yet.
var errSpace = errors.New("no space to fill")

// spaceError marks errors that pass by themselves. That the process is out of descriptors counts too: clients must not
// be able to stop the node by opening connections.
func spaceError(err error) error {
	for _, passing := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, passing) {
			return fmt.Errorf("%w: %w", errSpace, err)
		}
	}
	return err
}

// pickJob returns what is most urgent; mu is held.
func (w *WAL) pickJob(now time.Time) (jobKind, *slot) {
	if w.failed != nil {
		return jobNone, nil
	}
	// After a full disk only what needs no space goes on, until it is time to try again.
	blocked := w.noSpace && now.Before(w.retryAt)
	fillable := func(s *slot, to int64) bool { return s.filled < min(to, s.size) && !(blocked && s.short) }
	a := w.active()
	ahead := a.end + 2*w.o.ZeroStep
	if w.o.Reserve > 0 {
		ahead = a.size
	}
	if fillable(a, max(ahead, w.wantActive)) {
		return jobFill, a
	}
	if len(w.retired) > 0 && w.retired[0].pins.Load() == 0 {
		return jobRetire, w.retired[0]
	}
	// The next slot is begun when half of the active one is written, and filled at twice the writer's pace, so that it
	// is complete when it is needed and the disk is not kept busy at once.
	want, target := w.o.Reserve, w.o.SlotBytes
	if want == 0 && (a.end > a.size/2 || w.wantNext > 0) {
		want, target = 1, max(2*a.end-a.size+w.o.ZeroStep, w.wantNext)
	}
	for i, s := range w.free {
		if i < want && fillable(s, target) {
			return jobFill, s
		}
	}
	if len(w.free) < want && w.files < w.maxSlots() && !blocked {
		return jobCreate, nil
	}
	return jobNone, nil
}

// fillStep writes the next zeros into a slot and syncs them. It uses a descriptor of its own: the kernel reports a
// failed write-back once per descriptor, and this goroutine must not take the report meant for a commit.
func (w *WAL) fillStep(s *slot) error {
	w.mu.Lock()
	from := s.filled
	w.mu.Unlock()
	step := min(max(from&^(blockSize-1), firstStep), w.o.ZeroStep)
	to := min(s.size, from+step)
	f, err := w.o.FS.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open %s to fill it: %w", s.path, spaceError(err))
	}
	defer func() { _ = f.Close() }()
	for pos := from; pos < to; {
		select {
		case <-w.stop:
			return nil
		default:
		}
		n := min(to-pos, zeroPiece)
		if _, err := f.WriteAt(zeros[:n], pos); err != nil {
			return fmt.Errorf("zero-fill %s: %w", s.path, spaceError(err))
		}
		pos += n
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync zeros of %s: %w", s.path, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.short {
		w.spaceTaken()
	}
	s.filled, s.short = to, false
	w.wake()
	return nil
}

// retire marks a slot that Recycle gave back as free, durably, and makes it ready for use. A slot of another size than
// today's, or one more than MaxBytes allows, is removed.
func (w *WAL) retire(s *slot) error {
	w.mu.Lock()
	oldest := w.oldest
	surplus := s.size != w.o.SlotBytes || w.files > w.maxSlots()
	w.mu.Unlock()
	if err := s.writeHeader(slotFree, oldest, true); err != nil {
		return err
	}
	if surplus {
		_ = s.f.Close()
		if err := w.o.FS.Remove(s.path); err != nil {
			return fmt.Errorf("remove surplus slot: %w", err)
		}
		if err := w.o.FS.SyncDir(w.o.Dir); err != nil {
			return fmt.Errorf("sync %s: %w", w.o.Dir, err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retired = w.retired[1:]
	if surplus {
		w.files--
	} else {
		w.makeFree(s)
	}
	w.wake()
	return nil
}

// makeFree puts a slot whose header says free into the list; mu is held.
func (w *WAL) makeFree(s *slot) {
	s.zeroed = w.o.Reserve > 0
	if s.zeroed {
		s.filled = blockSize // zeroed again by fillStep
	}
	s.positions = nil
	w.free = append(w.free, s)
}

// createSlot adds a new file, free and with nothing but its header.
func (w *WAL) createSlot() error {
	w.mu.Lock()
	number, oldest := w.number, w.oldest
	w.mu.Unlock()
	s := &slot{number: number, path: w.slotPath(number), size: w.o.SlotBytes, zeroed: true, filled: blockSize}
	if err := w.makeFile(s, slotFree, oldest); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	w.files++
	w.free = append(w.free, s)
	w.spaceTaken()
	return nil
}

// makeFile creates the file of a slot with its header; both are durable when it returns.
func (w *WAL) makeFile(s *slot, state byte, oldest uint64) error {
	f, err := w.o.FS.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("create slot: %w", spaceError(err))
	}
	s.f = f
	var block [blockSize]byte
	s.header(state, oldest).encode(block[:])
	if _, err = f.WriteAt(block[:], 0); err != nil {
		err = fmt.Errorf("write header of %s: %w", s.path, spaceError(err))
	} else if err = f.Sync(); err != nil {
		err = fmt.Errorf("sync header of %s: %w", s.path, err)
	} else if err = w.o.FS.SyncDir(w.o.Dir); err != nil {
		err = fmt.Errorf("sync %s: %w", w.o.Dir, err)
	}
	if err != nil {
		_ = f.Close()
	}
	return err
}
