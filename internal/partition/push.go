package partition

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

// checksumBytes is how much Checksum reads at a time.
const checksumBytes = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ReadForPush appends to dst whole batches from offset from on for a follower, up to the log end as it is now, durable or not: at most
// maxBytes of them, but one at least if there is one. next is the offset behind them, from when there are none. prevEpoch is the leader
// epoch of the record before from, -1 when the log holds none. Nothing is allocated for what is in the WAL when dst has room for maxBytes
// and 64 more. As with Read there may be more where it stops. ErrOutOfRange, ErrCorrupt.
func (l *Log) ReadForPush(dst []byte, from int64, maxBytes int) (out []byte, next int64, prevEpoch int32, err error) {
	l.mu.Lock()
	end := l.end.Load()
	prevEpoch, _ = l.epochAt(from - 1)
	l.mu.Unlock()
	out, err = l.Read(dst, from, end, maxBytes, true)
	if err != nil {
		return dst, from, prevEpoch, err
	}
	next = from
	for b := out[len(dst):]; len(b) > 0; {
		h, err := recordbatch.ParseHeader(b)
		if err != nil || h.Size() > len(b) {
			return dst, from, prevEpoch, fmt.Errorf("read %s at %d: %w", l.id, next, ErrCorrupt)
		}
		next = h.LastOffset() + 1
		b = b[h.Size():]
	}
	return out, next, prevEpoch, nil
}

// BatchSum is what a checksum of a log takes from one batch.
type BatchSum struct {
	Base, Last  int64  // offsets of the first and last record
	CRC         uint32 // of the batch, as its producer or the log append time made it
	LeaderEpoch int32
}

func sumOf(h *recordbatch.Header) BatchSum {
	return BatchSum{Base: h.BaseOffset, Last: h.LastOffset(), CRC: h.CRC, LeaderEpoch: h.LeaderEpoch}
}

// Extend continues a checksum by this batch: a CRC-32C over {CRC 4 bytes, base offset 8, leader epoch 4}, big endian.
func (b *BatchSum) Extend(crc uint32) uint32 {
	var sum [16]byte
	binary.BigEndian.PutUint32(sum[:], b.CRC)
	binary.BigEndian.PutUint64(sum[4:], uint64(b.Base))
	binary.BigEndian.PutUint32(sum[12:], uint32(b.LeaderEpoch))
	return crc32.Update(crc, castagnoli, sum[:])
}

// Checksum reads and verifies all batches that lie wholly in [from, to) and returns their checksum (BatchSum.Extend, from 0) and their
// number. It is equal on all replicas that hold the same batches there, wherever they keep them. ErrOutOfRange, ErrCorrupt.
func (l *Log) Checksum(from, to int64) (crc uint32, batches int, err error) {
	crc, batches, _, err = l.ChecksumSome(0, from, to, math.MaxInt64)
	return crc, batches, err
}

// ChecksumSome is Checksum that continues crc, and stops behind the first batch with which it has read maxBytes. next is where to go on; to
// when all was read, and with an error where the read that failed began: ErrCorrupt is at most MaxReadBytes, or one batch, behind it.
func (l *Log) ChecksumSome(crc uint32, from, to, maxBytes int64) (sum uint32, batches int, next int64, err error) {
	if start, end := l.Start(), l.End(); from < start || to > end || from > to {
		return 0, 0, from, fmt.Errorf("compute checksum of %s from %d to %d, log is %d to %d: %w", l.id, from, to, start, end, ErrOutOfRange)
	}
	var buf []byte
	for at := from; at < to; {
		if buf, err = l.Read(buf[:0], at, to, checksumBytes, true); err != nil {
			return 0, 0, at, err
		}
		if len(buf) == 0 {
			break // the last batch reaches beyond to
		}
		for b := buf; len(b) > 0; {
			h, err := recordbatch.VerifyCRC(b)
			if err != nil {
				return 0, 0, at, fmt.Errorf("compute checksum of %s at %d: %w: %w", l.id, at, ErrCorrupt, err)
			}
			if h.BaseOffset >= from {
				batch := sumOf(&h)
				crc = batch.Extend(crc)
				batches++
			}
			at, b = h.LastOffset()+1, b[h.Size():]
			if maxBytes -= int64(h.Size()); maxBytes <= 0 && at < to {
				return crc, batches, at, nil
			}
		}
	}
	return crc, batches, to, nil
}
