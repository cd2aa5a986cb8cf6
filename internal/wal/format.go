package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// The bytes on disk; README.md holds the same as tables.
const (
	formatVersion = 1

	// blockSize is the alignment of commits. It is the physical sector of common disks: a commit never shares one
	// with a commit that was acknowledged before it.
	blockSize = 4096
	// sectorSize is what a disk is taken to write atomically.
	sectorSize = 512

	slotMagic   uint32 = 0x31535743 // "CWS1"
	commitMagic uint32 = 0x31435743 // "CWC1"

	slotHeaderSize   = 64
	commitHeaderSize = 64
	frameHeaderSize  = 12
	rollFixedSize    = 24

	// padByte fills commits up to the block: never zero, so that in a zeroed slot a sector that is all zeros is one
	// that never arrived.
	padByte byte = 0xA5

	slotFree byte = 1
	slotLive byte = 2

	// flagZeroed: the slot held zeros only when this generation began.
	flagZeroed byte = 1

	// maxSlotBytes keeps positions, as blocks and as offsets in a commit, within 32 bits.
	maxSlotBytes = 1 << 31
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func alignUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// slotHeader is the identity of a slot file, in its first sector.
type slotHeader struct {
	State      byte
	Flags      byte
	Generation uint64 // of a free slot: the one it had last
	Salt       uint64
	FirstSeq   uint64
	OldestGen  uint64 // generations below it are given back
	SlotBytes  uint64
	PrevRoll   uint64 // position of the Roll commit in the slot before; 0: none
	Number     uint32 // of the file, so that swapped files show
}

func (h slotHeader) encode(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], slotMagic)
	le.PutUint16(b[4:], formatVersion)
	b[6], b[7] = h.State, h.Flags
	le.PutUint64(b[8:], h.Generation)
	le.PutUint64(b[16:], h.Salt)
	le.PutUint64(b[24:], h.FirstSeq)
	le.PutUint64(b[32:], h.OldestGen)
	le.PutUint64(b[40:], h.SlotBytes)
	le.PutUint64(b[48:], h.PrevRoll)
	le.PutUint32(b[56:], h.Number)
	le.PutUint32(b[60:], crc(b[:60]))
}

// decodeSlotHeader returns ErrVersion for an intact header of another version and ErrCorrupt for anything else that
// is not a header of the file with that number.
func decodeSlotHeader(b []byte, number int) (slotHeader, error) {
	le := binary.LittleEndian
	if len(b) < slotHeaderSize || le.Uint32(b[0:]) != slotMagic || le.Uint32(b[60:]) != crc(b[:60]) {
		return slotHeader{}, fmt.Errorf("slot header: %w", ErrCorrupt)
	}
	if v := le.Uint16(b[4:]); v != formatVersion {
		return slotHeader{}, fmt.Errorf("slot header: version %d: %w", v, ErrVersion)
	}
	h := slotHeader{
		State: b[6], Flags: b[7],
		Generation: le.Uint64(b[8:]), Salt: le.Uint64(b[16:]), FirstSeq: le.Uint64(b[24:]), OldestGen: le.Uint64(b[32:]),
		SlotBytes: le.Uint64(b[40:]), PrevRoll: le.Uint64(b[48:]), Number: le.Uint32(b[56:]),
	}
	switch {
	case h.Number != uint32(number):
		return slotHeader{}, fmt.Errorf("slot header names slot %d: %w", h.Number, ErrCorrupt)
	case h.State != slotFree && h.State != slotLive,
		h.SlotBytes%blockSize != 0, h.SlotBytes < minSlotBytes, h.SlotBytes > maxSlotBytes,
		h.Generation > maxSeq, h.FirstSeq > maxSeq, h.OldestGen > maxSeq,
		h.State == slotLive && (h.Generation == 0 || h.FirstSeq == 0 || h.Generation < h.OldestGen):
		return slotHeader{}, fmt.Errorf("slot header fields: %w", ErrCorrupt)
	}
	return h, nil
}

// commitHeader begins every commit; it lies in one sector, so it is there whole or not at all.
type commitHeader struct {
	Salt        uint64
	Seq         uint64
	Mark        uint64
	BodyLen     uint32 // bytes of frames, without header and padding
	Frames      uint32
	ZeroSectors uint32 // all-zero sectors of the commit as written
	BodyCRC     uint32 // over the frame headers, which hold the CRC of each payload
}

func (h commitHeader) encode(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], commitMagic)
	le.PutUint32(b[4:], 0)
	le.PutUint64(b[8:], h.Salt)
	le.PutUint64(b[16:], h.Seq)
	le.PutUint64(b[24:], h.Mark)
	le.PutUint32(b[32:], h.BodyLen)
	le.PutUint32(b[36:], h.Frames)
	le.PutUint32(b[40:], h.ZeroSectors)
	le.PutUint32(b[44:], h.BodyCRC)
	clear(b[48:60])
	le.PutUint32(b[60:], crc(b[:60]))
}

// decodeCommitHeader reports whether b begins with an intact header of a commit with that salt.
func decodeCommitHeader(b []byte, salt uint64) (commitHeader, bool) {
	le := binary.LittleEndian
	if len(b) < commitHeaderSize || le.Uint32(b[0:]) != commitMagic || le.Uint64(b[8:]) != salt ||
		le.Uint32(b[60:]) != crc(b[:60]) {
		return commitHeader{}, false
	}
	return commitHeader{
		Salt: salt, Seq: le.Uint64(b[16:]), Mark: le.Uint64(b[24:]),
		BodyLen: le.Uint32(b[32:]), Frames: le.Uint32(b[36:]), ZeroSectors: le.Uint32(b[40:]), BodyCRC: le.Uint32(b[44:]),
	}, true
}

// resemblesHeader reports whether the damaged bytes at a commit's place must once have been the header of commit seq:
// no bytes of an earlier generation hold this salt, or this sequence behind this magic.
func resemblesHeader(b []byte, salt, seq uint64) bool {
	le := binary.LittleEndian
	return le.Uint64(b[8:]) == salt || le.Uint32(b[0:]) == commitMagic && le.Uint64(b[16:]) == seq
}

// size is the space of the commit in its slot.
func (h commitHeader) size() int64 { return alignUp(commitHeaderSize + int64(h.BodyLen)) }

func putFrameHeader(b []byte, kind byte, length int, payloadCRC uint32) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(length))
	le.PutUint32(b[4:], payloadCRC)
	le.PutUint32(b[8:], uint32(kind))
}

type frameHeader struct {
	Len  uint32
	CRC  uint32
	Kind byte
}

// getFrameHeader reads a frame header; false if its reserved bytes are not zero.
func getFrameHeader(b []byte) (frameHeader, bool) {
	le := binary.LittleEndian
	kind := le.Uint32(b[8:])
	return frameHeader{le.Uint32(b[0:]), le.Uint32(b[4:]), byte(kind)}, kind <= math.MaxUint8
}

// verifyBody checks the frames of a commit against its header in one pass over the payloads.
func verifyBody(h commitHeader, body []byte) bool {
	if uint64(len(body)) < uint64(h.BodyLen) || uint64(h.Frames)*frameHeaderSize > uint64(h.BodyLen) {
		return false
	}
	body = body[:h.BodyLen]
	var sum uint32
	for range h.Frames {
		if len(body) < frameHeaderSize {
			return false
		}
		f, ok := getFrameHeader(body)
		if !ok || uint64(f.Len) > uint64(len(body)-frameHeaderSize) {
			return false
		}
		sum = crc32.Update(sum, castagnoli, body[:frameHeaderSize])
		if crc(body[frameHeaderSize:frameHeaderSize+int(f.Len)]) != f.CRC {
			return false
		}
		body = body[frameHeaderSize+int(f.Len):]
	}
	return len(body) == 0 && sum == h.BodyCRC
}

// rollPayload is the body of a Roll frame: where the log goes on, and the index of the slot that it closes.
type rollPayload struct {
	Slot     uint32
	Salt     uint64
	FirstSeq uint64
	Index    []uint32 // block number of each commit from the slot's first sequence on, this one included; 0: unreadable
}

func rollPayloadSize(commits int) int { return rollFixedSize + 4*commits }

func (r rollPayload) encode(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], r.Slot)
	le.PutUint64(b[4:], r.Salt)
	le.PutUint64(b[12:], r.FirstSeq)
	le.PutUint32(b[20:], uint32(len(r.Index)))
	for i, block := range r.Index {
		le.PutUint32(b[rollFixedSize+4*i:], block)
	}
}

func decodeRollPayload(b []byte) (rollPayload, bool) {
	le := binary.LittleEndian
	if len(b) < rollFixedSize || uint64(len(b)-rollFixedSize) != 4*uint64(le.Uint32(b[20:])) {
		return rollPayload{}, false
	}
	r := rollPayload{Slot: le.Uint32(b[0:]), Salt: le.Uint64(b[4:]), FirstSeq: le.Uint64(b[12:])}
	r.Index = make([]uint32, (len(b)-rollFixedSize)/4)
	for i := range r.Index {
		r.Index[i] = le.Uint32(b[rollFixedSize+4*i:])
	}
	return r, true
}

// rollRoom is the space that the Roll commit of a slot with that many commits before it takes.
func rollRoom(commits int) int64 {
	return alignUp(commitHeaderSize + frameHeaderSize + int64(rollPayloadSize(commits+1)))
}

// countZeroSectors counts the sectors of b, a whole number of sectors, that are all zeros.
func countZeroSectors(b []byte) uint32 {
	var n uint32
	for ; len(b) >= sectorSize; b = b[sectorSize:] {
		// Nearly every sector is decided by its first bytes.
		if binary.LittleEndian.Uint64(b) == 0 && allZero(b[:sectorSize]) {
			n++
		}
	}
	return n
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
