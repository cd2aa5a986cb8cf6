package recordbatch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	// HeaderSize is the bytes of a batch before its first record.
	HeaderSize = 61
	// lengthEnd is the bytes before and including the length field; a batch's size is lengthEnd + length.
	lengthEnd = 12
	// minLength is the smallest valid length field.
	minLength = HeaderSize - lengthEnd

	positionLength      = 8
	positionLeaderEpoch = 12
	positionMagic       = 16
	positionCRC         = 17
	positionAttributes  = 21
	positionMaxTime     = 35
	positionProducerID  = 43

	// NoTimestamp, NoProducerID, NoProducerEpoch and NoSequence are the wire's values for "none".
	NoTimestamp     int64 = -1
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1

	attrCodecMask     = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the fixed part of a batch.
type Header struct {
	BaseOffset      int64
	Length          int32 // bytes after the length field
	LeaderEpoch     int32
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // ms
	MaxTimestamp    int64 // ms
	ProducerID      int64
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int32
}

// Size is the bytes of the whole batch.
func (h *Header) Size() int { return lengthEnd + int(h.Length) }

// LastOffset is the offset of the last record.
func (h *Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// Codec is the compression of the records.
func (h *Header) Codec() Codec { return Codec(h.Attributes & attrCodecMask) }

// LogAppendTime tells whether all records carry MaxTimestamp as their time, set by the broker.
func (h *Header) LogAppendTime() bool { return h.Attributes&attrLogAppendTime != 0 }

// Transactional tells whether the batch belongs to a transaction.
func (h *Header) Transactional() bool { return h.Attributes&attrTransactional != 0 }

// Control tells whether the batch is a transaction marker.
func (h *Header) Control() bool { return h.Attributes&attrControl != 0 }

// HasProducer tells whether the batch carries a producer id, hence sequences.
func (h *Header) HasProducer() bool { return h.ProducerID > NoProducerID }

// LastSequence is the sequence of the last record; sequences wrap from 2^31-1 to 0. NoSequence stays NoSequence.
func (h *Header) LastSequence() int32 {
	if h.BaseSequence == NoSequence {
		return NoSequence
	}
	return IncrementSequence(h.BaseSequence, h.LastOffsetDelta)
}

// IncrementSequence adds n >= 0 to a sequence, wrapping from 2^31-1 to 0.
func IncrementSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & 0x7fffffff)
}

// ParseHeader reads the header at the start of b and checks what makes it a header: enough bytes, magic 2, a length that holds the
// header, offsets that do not run over. It does not check that the whole batch is there, nor the CRC.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("parse header of %d bytes: %w", len(b), ErrNoBatch)
	}
	h := parse(b)
	if h.Magic != 2 {
		if h.Magic == 0 || h.Magic == 1 {
			return h, fmt.Errorf("parse header, magic %d: %w", h.Magic, ErrOldMagic)
		}
		return h, fmt.Errorf("parse header, magic %d: %w", h.Magic, ErrMagic)
	}
	if h.Length < minLength {
		return h, fmt.Errorf("parse header, length %d: %w", h.Length, ErrTooShort)
	}
	if h.BaseOffset < 0 || h.LastOffsetDelta < 0 || h.LastOffset() < 0 {
		return h, fmt.Errorf("parse header, offsets %d+%d: %w", h.BaseOffset, h.LastOffsetDelta, ErrCount)
	}
	return h, nil
}

func parse(b []byte) Header {
	be := binary.BigEndian
	_ = b[HeaderSize-1]
	return Header{
		BaseOffset:      int64(be.Uint64(b)),
		Length:          int32(be.Uint32(b[8:])),
		LeaderEpoch:     int32(be.Uint32(b[12:])),
		Magic:           int8(b[16]),
		CRC:             be.Uint32(b[17:]),
		Attributes:      int16(be.Uint16(b[21:])),
		LastOffsetDelta: int32(be.Uint32(b[23:])),
		BaseTimestamp:   int64(be.Uint64(b[27:])),
		MaxTimestamp:    int64(be.Uint64(b[35:])),
		ProducerID:      int64(be.Uint64(b[43:])),
		ProducerEpoch:   int16(be.Uint16(b[51:])),
		BaseSequence:    int32(be.Uint32(b[53:])),
		Count:           int32(be.Uint32(b[57:])),
	}
}

// Checksum computes the CRC-32C of the batch b, which must be whole: exactly one batch of at least HeaderSize bytes.
func Checksum(b []byte) uint32 { return crc32.Checksum(b[positionAttributes:], castagnoli) }

// VerifyCRC parses the header of the whole batch at the start of b and compares its checksum.
func VerifyCRC(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, err
	}
	if h.Size() > len(b) {
		return h, fmt.Errorf("verify batch of %d bytes in %d: %w", h.Size(), len(b), ErrNoBatch)
	}
	if Checksum(b[:h.Size()]) != h.CRC {
		return h, fmt.Errorf("verify batch at offset %d: %w", h.BaseOffset, ErrCRC)
	}
	return h, nil
}

// PatchBaseOffset sets the base offset of the batch b (at least HeaderSize bytes) in place. The CRC does not cover it.
func PatchBaseOffset(b []byte, offset int64) { binary.BigEndian.PutUint64(b, uint64(offset)) }

// PatchLeaderEpoch sets the partition leader epoch of the batch b in place. The CRC does not cover it.
func PatchLeaderEpoch(b []byte, epoch int32) {
	binary.BigEndian.PutUint32(b[positionLeaderEpoch:], uint32(epoch))
}

// SetTimestamps sets the timestamp type and the max timestamp of the whole batch b in place and, if anything changed, its CRC.
// With logAppendTime all records take maxTimestampMs as their time.
func SetTimestamps(b []byte, logAppendTime bool, maxTimestampMs int64) {
	be := binary.BigEndian
	was := be.Uint16(b[positionAttributes:])
	attrs := was &^ attrLogAppendTime
	if logAppendTime {
		attrs |= attrLogAppendTime
	}
	if attrs == was && int64(be.Uint64(b[positionMaxTime:])) == maxTimestampMs {
		return
	}
	be.PutUint16(b[positionAttributes:], attrs)
	be.PutUint64(b[positionMaxTime:], uint64(maxTimestampMs))
	be.PutUint32(b[positionCRC:], Checksum(b))
}

// SetLogAppendTime makes the whole batch b one with the broker's append time and computes its CRC anew.
func SetLogAppendTime(b []byte, nowMs int64) { SetTimestamps(b, true, nowMs) }
