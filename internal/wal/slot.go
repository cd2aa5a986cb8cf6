package wal

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/chronik-io/chronik/internal/vfs"
)

const (
	slotSuffix   = ".wal"
	minSlotBytes = 8 * blockSize
)

// slot is a file of the log. Identity fields never change while it is live; the others are guarded by WAL.mu.
type slot struct {
	number int
	path   string
	f      vfs.File
	size   int64

	gen       uint64
	salt      uint64
	firstSeq  uint64
	prevRoll  uint64
	zeroed    bool // held zeros only when this generation began
	headerBad bool // found damaged at start, known from the Roll before it

	short     bool     // filling it met a full disk
	filled    int64    // bytes up to here are on disk for certain, so that writing there needs no space
	positions []uint32 // block of each commit from firstSeq on; 0: unreadable
	end       int64    // end of the last commit placed
	rolled    bool     // the Roll is durable: nothing is written any more

	// pins counts readers of the file. It rises under WAL.mu only.
	pins atomic.Int32
}

func slotName(number int) string { return fmt.Sprintf("%08d%s", number, slotSuffix) }

// parseSlotName returns the number in the name of a slot file.
func parseSlotName(name string) (int, bool) {
	digits, ok := strings.CutSuffix(name, slotSuffix)
	if !ok || len(digits) != 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return int(n), err == nil
}

func (w *WAL) slotPath(number int) string { return filepath.Join(w.o.Dir, slotName(number)) }

// lastSeq is the last sequence placed in the slot.
func (s *slot) lastSeq() uint64 { return s.firstSeq + uint64(len(s.positions)) - 1 }

// position returns where commit seq of this slot is; false if it is unknown.
func (s *slot) position(seq uint64) (int64, bool) {
	if seq < s.firstSeq || seq > s.lastSeq() || len(s.positions) == 0 {
		return 0, false
	}
	block := s.positions[seq-s.firstSeq]
	return int64(block) * blockSize, block != 0
}

// dataEnd is the position that data must not pass, so that a Seal and the Roll always fit behind it.
func (s *slot) dataEnd(limit int64) int64 {
	return limit - rollRoom(len(s.positions)+2) - blockSize
}

func (s *slot) header(state byte, oldestGen uint64) slotHeader {
	h := slotHeader{
		State: state, Generation: s.gen, Salt: s.salt, FirstSeq: s.firstSeq, OldestGen: oldestGen,
		SlotBytes: uint64(s.size), PrevRoll: s.prevRoll, Number: uint32(s.number),
	}
	if s.zeroed {
		h.Flags = flagZeroed
	}
	return h
}

// writeHeader writes the slot's identity and, always but for a seeded bug, syncs it.
func (s *slot) writeHeader(state byte, oldestGen uint64, sync bool) error {
	var block [blockSize]byte
	s.header(state, oldestGen).encode(block[:])
	if _, err := s.f.WriteAt(block[:], 0); err != nil {
		return fmt.Errorf("write header of %s: %w", s.path, err)
	}
	if !sync {
		return nil
	}
	if err := s.f.Sync(); err != nil {
		return fmt.Errorf("sync header of %s: %w", s.path, err)
	}
	return nil
}

// enter begins a new generation of a free slot, in memory; its header is written before the Roll that leads to it.
func (s *slot) enter(gen, firstSeq uint64, prevRoll int64, salt uint64) {
	s.gen, s.salt, s.firstSeq, s.prevRoll = gen, salt, firstSeq, uint64(prevRoll)
	s.positions, s.end, s.rolled = nil, blockSize, false
}
