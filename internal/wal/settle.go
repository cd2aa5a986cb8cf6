package wal

import (
	"fmt"
	"slices"
)

// create makes the first slot of a new log.
func (r *recovery) create() error {
	r.rec.Fresh = true
	if err := r.removeFiles(fileBlank); err != nil {
		return err
	}
	r.next = 1
	if err := r.newActive(1); err != nil {
		return err
	}
	r.publish()
	return nil
}

// settle brings the disk to the state that recovery reports, syncs it, and hands the slots to the log.
func (r *recovery) settle() error {
	// Entries, headers and commits that were read may be in the page cache only, from a process that died.
	if err := r.dirSync(); err != nil {
		return err
	}
	active := r.chain[len(r.chain)-1]
	if err := r.cut(active); err != nil {
		return err
	}
	if err := r.rewriteLast(active); err != nil {
		return err
	}
	for _, f := range r.files {
		// A slot that was prepared but not entered must not be taken for the next generation later.
		if f.state == fileFree && f.hdr.State == slotLive {
			f.gen = 0
			if err := f.writeHeader(slotFree, r.oldest, true); err != nil {
				return err
			}
		}
	}
	if len(r.rec.Faults) == 0 {
		// With the chain complete a file without a header never was, or no longer is, part of the log.
		if err := r.removeFiles(fileBlank, fileDamaged); err != nil {
			return err
		}
	}
	full := active.end+rollRoom(len(active.positions)) > active.size && !active.rolled
	if r.fault || full {
		active.rolled = true
		for _, f := range r.chain {
			f.rolled = true
		}
		if err := r.newActive(active.gen + 2); err != nil {
			return err
		}
	}
	r.publish()
	return nil
}

// cut removes a torn last commit. Where missing sectors are told by zeros, its remains are zeroed; elsewhere they are
// overwritten by the next commit.
func (r *recovery) cut(f *slotFile) error {
	if r.fault || r.tail.v != commitTorn || r.tail.rolled || r.tail.dirty == 0 || r.w.o.bugs.noCut {
		return nil
	}
	for pos := r.tail.pos; pos < r.tail.dirty; {
		n := min(r.tail.dirty-pos, zeroPiece)
		if _, err := f.f.WriteAt(zeros[:n], pos); err != nil {
			return fmt.Errorf("cut torn commit in %s: %w", f.path, err)
		}
		pos += n
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("sync cut in %s: %w", f.path, err)
	}
	return nil
}

// rewriteLast writes the last valid commit, and the header of the active slot, once more with the same bytes and syncs
// them: what was read may be in the page cache only, even marked as written after a failed sync (invariant 5).
func (r *recovery) rewriteLast(active *slotFile) error {
	if r.w.o.bugs.skipRewrite {
		return nil
	}
	if l := r.last; l.s != nil {
		b := make([]byte, l.size)
		if n, err := l.s.f.ReadAt(b, l.pos); n < len(b) {
			// The padding may end behind the end of the file.
			if n < commitHeaderSize {
				return fmt.Errorf("read last commit of %s: %w", l.s.path, err)
			}
			for i := n; i < len(b); i++ {
				b[i] = padByte
			}
		}
		h, ok := decodeCommitHeader(b, l.s.salt)
		if !ok || !verifyBody(h, b[commitHeaderSize:]) {
			return fmt.Errorf("%s at %d: last commit changed while it was read: %w", l.s.path, l.pos, ErrCorrupt)
		}
		if _, err := l.s.f.WriteAt(b, l.pos); err != nil {
			return fmt.Errorf("rewrite last commit of %s: %w", l.s.path, err)
		}
		if l.s != active || active.headerBad {
			if err := l.s.f.Sync(); err != nil {
				return fmt.Errorf("sync last commit of %s: %w", l.s.path, err)
			}
		}
	}
	if active.headerBad {
		return nil // evidence; the Roll before it leads here
	}
	return active.writeHeader(slotLive, r.oldest, true)
}

// removeFiles removes the files of those states.
func (r *recovery) removeFiles(states ...fileState) error {
	removed := false
	kept := r.files[:0]
	for _, f := range r.files {
		if !slices.Contains(states, f.state) {
			kept = append(kept, f)
			continue
		}
		r.w.log.Warn("slot file without a header, not part of the log, is removed", "path", f.path)
		_ = f.f.Close()
		f.f = nil
		if err := r.w.o.FS.Remove(f.path); err != nil {
			return fmt.Errorf("remove %s: %w", f.path, err)
		}
		removed = true
	}
	r.files = kept
	if !removed {
		return nil
	}
	return r.dirSync()
}

// newActive makes a new file the active slot: the first of a log, or one behind damage.
func (r *recovery) newActive(gen uint64) error {
	f := &slotFile{state: fileLive}
	f.number, f.path, f.size = r.w.number, r.w.slotPath(r.w.number), r.w.o.SlotBytes
	f.zeroed, f.filled = true, blockSize
	f.enter(gen, r.next, 0, r.w.o.bugs.salt())
	if err := r.w.makeFile(&f.slot, slotLive, r.oldest); err != nil {
		return err
	}
	r.w.number++
	if err := r.dirSync(); err != nil {
		return err
	}
	f.fileSize = blockSize
	r.files = append(r.files, f)
	r.chain = append(r.chain, f)
	return nil
}

// publish hands the slots to the log.
func (r *recovery) publish() {
	w := r.w
	for _, f := range r.chain {
		w.slots = append(w.slots, &f.slot)
	}
	for _, f := range r.files {
		// The newest filled bytes may be a hole after a crash: they are filled again before they are relied on.
		have := min(f.fileSize, f.size) &^ (blockSize - 1)
		f.filled = max(f.end, blockSize, have-w.o.ZeroStep)
		switch {
		case f.state == fileRetired:
			w.retired = append(w.retired, &f.slot)
		case f.state == fileFree && f.size != w.o.SlotBytes:
			w.retired = append(w.retired, &f.slot) // removed there
		case f.state == fileFree:
			f.end = blockSize
			w.makeFree(&f.slot)
		}
	}
	w.files, w.oldest = len(r.files), r.oldest
	w.nextSeq = r.next
	w.durable.Store(r.next - 1)
	w.sealed = r.last.s == nil || r.last.seal
	if r.rec.FirstSeq == 0 {
		r.rec.FirstSeq = r.next
	}
	r.rec.LastSeq = r.next - 1
}
