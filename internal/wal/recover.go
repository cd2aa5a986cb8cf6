package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// maxSeq bounds sequences and generations in headers, far from overflow.
const maxSeq = 1 << 62

// lostTail is how many sequences are left out behind a damaged end: more than can have been lost there.
const lostTail = 1 << 32

// slotFile is a file found at start.
type slotFile struct {
	slot
	hdr      slotHeader
	state    fileState
	fileSize int64
}

type fileState int

const (
	fileLive    fileState = iota // a generation of the log
	fileFree                     // header says free
	fileRetired                  // live header of a generation that was given back
	fileBlank                    // nothing but zeros: creation was cut short
	fileDamaged                  // no valid header
)

// tail is where the readable part of a slot ends.
type tail struct {
	pos    int64
	seq    uint64 // sequence expected there
	v      verdict
	why    string
	rolled bool
	roll   rollPayload
	dirty  int64 // end of the bytes to be zeroed when a torn commit is cut; 0: none
}

// lastCommit is the last valid commit of the log.
type lastCommit struct {
	s    *slotFile
	pos  int64
	size int64
	seal bool
}

// recovery is the state of one Open before the log runs. It reads everything first and writes only when it has
// decided that the log is sound, or that its faults are to be lived with.
type recovery struct {
	w      *WAL
	replay func(Record) error
	rec    Recovery
	files  []*slotFile
	chain  []*slotFile // live slots, oldest first
	buf    []byte
	tail   tail // of the last slot of chain
	last   lastCommit
	fresh  bool
	fault  bool   // the last slot cannot be continued
	next   uint64 // sequence that the log goes on with
	oldest uint64 // generation that the log begins with, or should
}

// Open recovers the log in o.Dir, calls replay for every record from o.ReplayFrom on, and starts the log's goroutines.
// Errors: ErrCorrupt (see Options.OnFault), ErrVersion, ErrOptions, ErrNoSpace, those of replay, and I/O errors.
func Open(o Options, replay func(Record) error) (*WAL, *Recovery, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, nil, fmt.Errorf("open log %s: %w", o.Dir, err)
	}
	began := time.Now()
	w := &WAL{
		o: o, log: o.Logger,
		ring:        ring{maxBytes: o.RingBytes, chunkSize: o.ChunkBytes},
		synced:      make(chan struct{}),
		kick:        make(chan struct{}, 1),
		kickFill:    make(chan struct{}, 1),
		completions: make(chan *commit, completionDepth),
		stop:        make(chan struct{}),
	}
	w.changed.L = &w.mu
	r := &recovery{w: w, replay: replay}
	if err := r.run(); err != nil {
		for _, f := range r.files {
			if f.f != nil {
				_ = f.f.Close()
			}
		}
		if errors.Is(err, errSpace) {
			err = fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
		return nil, nil, fmt.Errorf("open log %s: %w", o.Dir, err)
	}
	r.rec.Elapsed = time.Since(began)
	w.start()
	return w, &r.rec, nil
}

func (r *recovery) run() error {
	if err := r.w.o.FS.MkdirAll(r.w.o.Dir, 0o755); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	if err := r.openFiles(); err != nil {
		return err
	}
	if err := r.buildChain(); err != nil {
		return err
	}
	if r.fresh {
		return r.create()
	}
	if err := r.scanChain(); err != nil {
		return err
	}
	r.buf = nil
	return r.settle()
}

// openFiles opens the slot files and reads their headers.
func (r *recovery) openFiles() error {
	entries, err := r.w.o.FS.ReadDir(r.w.o.Dir)
	if err != nil {
		return fmt.Errorf("list directory: %w", err)
	}
	for _, e := range entries {
		number, ok := parseSlotName(e.Name())
		if !ok || e.IsDir() {
			continue
		}
		r.w.number = max(r.w.number, number+1)
		f := &slotFile{slot: slot{number: number, path: r.w.slotPath(number), size: r.w.o.SlotBytes}}
		r.files = append(r.files, f)
		if f.f, err = r.w.o.FS.OpenFile(f.path, os.O_RDWR, 0); err != nil {
			return fmt.Errorf("open slot: %w", err)
		}
		if err := r.readHeader(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) readHeader(f *slotFile) (err error) {
	if f.fileSize, err = f.f.Size(); err != nil {
		return fmt.Errorf("size of %s: %w", f.path, err)
	}
	var block [blockSize]byte
	n, err := f.f.ReadAt(block[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read header of %s: %w", f.path, err)
	}
	f.hdr, err = decodeSlotHeader(block[:n], f.number)
	switch {
	case errors.Is(err, ErrVersion):
		return fmt.Errorf("%s: %w", f.path, err)
	case err != nil:
		f.state = fileDamaged
		blank, err := r.allZeros(f)
		if err != nil {
			return err
		}
		if blank {
			f.state = fileBlank
		}
		return nil
	}
	f.size, f.gen, f.salt = int64(f.hdr.SlotBytes), f.hdr.Generation, f.hdr.Salt
	f.firstSeq, f.prevRoll = f.hdr.FirstSeq, f.hdr.PrevRoll
	f.zeroed, f.end = f.hdr.Flags&flagZeroed != 0, blockSize
	f.state = fileLive
	if f.hdr.State == slotFree {
		f.state = fileFree
	}
	return nil
}

func (r *recovery) reader(f *slotFile) *reader {
	return &reader{f: f.f, path: f.path, size: f.size, end: min(f.fileSize, f.size), buf: r.buf}
}

func (r *recovery) allZeros(f *slotFile) (bool, error) {
	rd := &reader{f: f.f, path: f.path, size: alignUp(f.fileSize), end: f.fileSize, buf: r.buf}
	for pos := int64(0); pos < rd.end; pos += blockSize {
		b, err := rd.view(pos, blockSize)
		if err != nil {
			return false, err
		}
		if !allZero(b) {
			return false, nil
		}
	}
	r.buf = rd.buf
	return true, nil
}

// buildChain sorts the live slots by generation and notes what is missing before the first.
func (r *recovery) buildChain() error {
	oldest := uint64(1)
	used := false
	for _, f := range r.files {
		if f.state == fileLive || f.state == fileFree {
			oldest = max(oldest, f.hdr.OldestGen)
		}
		used = used || f.state != fileBlank
	}
	r.oldest = oldest
	for _, f := range r.files {
		switch {
		case f.state == fileLive && f.gen < oldest:
			f.state = fileRetired
		case f.state == fileLive:
			r.chain = append(r.chain, f)
		}
	}
	if !used {
		r.fresh = true
		return nil
	}
	if len(r.chain) == 0 {
		return fmt.Errorf("%d slot files and none of the log's generations among them: %w", len(r.files), ErrCorrupt)
	}
	slices.SortFunc(r.chain, func(a, b *slotFile) int {
		if a.gen < b.gen {
			return -1
		}
		return 1
	})
	for i, f := range r.chain[1:] {
		if p := r.chain[i]; p.gen == f.gen || p.firstSeq > f.firstSeq {
			return fmt.Errorf("%s and %s contradict each other: %w", p.path, f.path, ErrCorrupt)
		}
	}
	if first := r.chain[0]; first.gen > oldest {
		return r.addFault(Fault{
			FromSeq: 1, ToSeq: first.firstSeq - 1, Slot: -1,
			Why: fmt.Sprintf("oldest slot is of generation %d, %d is missing", first.gen, oldest),
		})
	}
	return nil
}

// addFault reports a fault to the caller, who may refuse to go on.
func (r *recovery) addFault(f Fault) error {
	r.w.log.Error("write-ahead log is damaged", "dir", r.w.o.Dir, "slot", f.Slot, "position", f.Position,
		"fromSeq", f.FromSeq, "toSeq", f.ToSeq, "why", f.Why)
	if r.w.o.OnFault == nil {
		return fmt.Errorf("slot %d at %d: commits %d to %d: %s: %w", f.Slot, f.Position, f.FromSeq, f.ToSeq, f.Why, ErrCorrupt)
	}
	r.rec.Faults = append(r.rec.Faults, f)
	if err := r.w.o.OnFault(f); err != nil {
		return fmt.Errorf("fault at commit %d: %w", f.FromSeq, err)
	}
	return nil
}

// scanChain reads the live slots in order and decides where the log ends.
func (r *recovery) scanChain() error {
	r.rec.FirstSeq = r.chain[0].firstSeq
	for i := 0; i < len(r.chain); i++ {
		f := r.chain[i]
		var next *slotFile
		if i+1 < len(r.chain) {
			next = r.chain[i+1]
		}
		t, err := r.scanSlot(f, next)
		if err != nil {
			return err
		}
		r.tail = t
		if t.rolled {
			err = r.followRoll(f, next, t.roll)
		} else if next != nil {
			err = r.unrolled(f, next, t)
		}
		if err != nil {
			return err
		}
	}
	return r.judgeTail()
}

// followRoll checks that the slot named by a durable Roll is there.
func (r *recovery) followRoll(f, next *slotFile, roll rollPayload) error {
	if next != nil && next.gen == f.gen+1 && next.number == int(roll.Slot) && next.salt == roll.Salt && next.firstSeq == roll.FirstSeq {
		return nil
	}
	fault := Fault{FromSeq: roll.FirstSeq, Slot: int(roll.Slot)}
	i := slices.IndexFunc(r.files, func(c *slotFile) bool { return c.number == int(roll.Slot) })
	if i >= 0 && (r.files[i].state == fileDamaged || r.files[i].state == fileBlank) {
		// The Roll holds all that is needed to read the slot without its header.
		c := r.files[i]
		c.state, c.headerBad = fileLive, true
		c.gen, c.salt, c.firstSeq, c.end = f.gen+1, roll.Salt, roll.FirstSeq, blockSize
		c.size = max(r.w.o.SlotBytes, c.fileSize&^(blockSize-1))
		at := slices.Index(r.chain, f) + 1
		r.chain = slices.Insert(r.chain, at, c)
		fault.ToSeq, fault.Why = fault.FromSeq-1, "header damaged of a slot that a Roll names"
		return r.addFault(fault)
	}
	fault.Why = "slot that a Roll names is missing"
	if next != nil {
		fault.ToSeq = next.firstSeq - 1
		return r.addFault(fault)
	}
	fault.ToSeq = fault.FromSeq + lostTail - 1
	r.fault, r.next = true, fault.ToSeq+1
	return r.addFault(fault)
}

// unrolled handles a slot without a Roll at its end though a later one exists. That one may merely be prepared: its
// header is written before the Roll.
func (r *recovery) unrolled(f, next *slotFile, t tail) error {
	if next == r.chain[len(r.chain)-1] && next.gen == f.gen+1 {
		rd := r.reader(next)
		_, _, found, _, err := next.findLater(rd, 0, 0)
		r.buf = rd.buf
		if err != nil {
			return err
		}
		if !found {
			r.chain = r.chain[:len(r.chain)-1]
			next.state = fileFree
			return nil
		}
	}
	why := "slot ends without a Roll"
	if t.why != "" {
		why = t.why
	}
	return r.addFault(Fault{FromSeq: t.seq, ToSeq: max(t.seq-1, next.firstSeq-1), Slot: f.number, Position: t.pos, Why: why})
}

// judgeTail decides, nothing later being there, between the end, a torn commit and damage.
func (r *recovery) judgeTail() error {
	f, t := r.chain[len(r.chain)-1], r.tail
	if r.fault {
		return nil
	}
	r.next = t.seq
	if t.rolled {
		return nil
	}
	damaged := slices.IndexFunc(r.files, func(c *slotFile) bool { return c.state == fileDamaged })
	if t.v == commitTorn && damaged >= 0 {
		t.v, t.why = commitBad, fmt.Sprintf("%s, and the header of slot %d is damaged", t.why, r.files[damaged].number)
	}
	if f.headerBad {
		// Without its header the file may be another than the one that was written to.
		t.v, t.why = commitBad, "end of a slot whose header is damaged"
	}
	switch t.v {
	case commitTorn:
		r.rec.TornSeq, r.rec.Clean = t.seq, false
		r.w.log.Info("last commit is torn and was never acknowledged; it is cut", "dir", r.w.o.Dir, "seq", t.seq, "slot", f.number, "position", t.pos)
	case commitBad:
		to := t.seq + lostTail - 1
		r.fault, r.next = true, to+1
		return r.addFault(Fault{FromSeq: t.seq, ToSeq: to, Slot: f.number, Position: t.pos, Why: t.why})
	}
	return nil
}

// dirSync makes the entries of the log's directory, and that of the directory itself, durable.
func (r *recovery) dirSync() error {
	for _, dir := range []string{r.w.o.Dir, filepath.Dir(filepath.Clean(r.w.o.Dir))} {
		if err := r.w.o.FS.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("sync directory %s: %w", dir, err)
		}
	}
	return nil
}
