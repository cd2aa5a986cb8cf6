package recordbatch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Builder makes a batch. The zero value is not ready; use NewBuilder. It has one owner and can be used again after Reset.
type Builder struct {
	b       []byte // header space, then uncompressed records
	body    []byte // scratch for one record
	count   int32
	baseMs  int64
	maxMs   int64
	pid     int64
	epoch   int16
	seq     int32
	attrs   int16
	baseOff int64
}

// NewBuilder returns a builder of an empty batch without a producer.
func NewBuilder() *Builder {
	b := &Builder{}
	b.Reset()
	return b
}

// Reset empties the builder and keeps its memory; a batch returned by Build before is overwritten by what follows.
func (b *Builder) Reset() {
	*b = Builder{b: append(b.b[:0], make([]byte, HeaderSize)...), body: b.body[:0],
		pid: NoProducerID, epoch: NoProducerEpoch, seq: NoSequence, maxMs: NoTimestamp}
}

// SetProducer makes it a batch of an idempotent producer.
func (b *Builder) SetProducer(id int64, epoch int16, baseSequence int32) {
	b.pid, b.epoch, b.seq = id, epoch, baseSequence
}

// SetTransactional marks the batch as part of a transaction.
func (b *Builder) SetTransactional() { b.attrs |= attrTransactional }

// SetControl marks the batch as a control batch.
func (b *Builder) SetControl() { b.attrs |= attrControl }

// SetBaseOffset sets the base offset, 0 if not called.
func (b *Builder) SetBaseOffset(offset int64) { b.baseOff = offset }

// Len is the number of records so far.
func (b *Builder) Len() int { return int(b.count) }

// Size is the bytes so far, before compression.
func (b *Builder) Size() int { return len(b.b) }

// Append adds a record; nil key or value is null. It copies its arguments.
func (b *Builder) Append(timestampMs int64, key, value []byte, headers ...RecordHeader) {
	if b.count == 0 {
		b.baseMs = timestampMs
	}
	b.maxMs = max(b.maxMs, timestampMs)
	r := append(b.body[:0], 0)
	r = binary.AppendVarint(r, timestampMs-b.baseMs)
	r = binary.AppendVarint(r, int64(b.count))
	r = appendVarbytes(r, key)
	r = appendVarbytes(r, value)
	r = binary.AppendVarint(r, int64(len(headers)))
	for i := range headers {
		r = binary.AppendVarint(r, int64(len(headers[i].Key)))
		r = append(r, headers[i].Key...)
		r = appendVarbytes(r, headers[i].Value)
	}
	b.body = r
	b.b = binary.AppendVarint(b.b, int64(len(r)))
	b.b = append(b.b, r...)
	b.count++
}

func appendVarbytes(dst, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(v))), v...)
}

// Build finishes the batch. With codec None the bytes belong to the builder and are valid until Reset or the next Append.
func (b *Builder) Build(codec Codec) ([]byte, error) {
	out := b.b
	if codec != None {
		var err error
		if out, err = Compress(codec, make([]byte, HeaderSize, HeaderSize+len(b.b)/2), b.b[HeaderSize:]); err != nil {
			return nil, err
		}
	}
	if len(out) > math.MaxInt32 {
		return nil, fmt.Errorf("build batch of %d bytes: %w", len(out), ErrTooLarge)
	}
	be := binary.BigEndian
	be.PutUint64(out, uint64(b.baseOff))
	be.PutUint32(out[8:], uint32(len(out)-lengthEnd))
	be.PutUint32(out[12:], math.MaxUint32) // leader epoch -1
	out[positionMagic] = 2
	be.PutUint16(out[21:], uint16(b.attrs)|uint16(codec))
	be.PutUint32(out[23:], uint32(b.count-1))
	be.PutUint64(out[27:], uint64(b.baseMs))
	be.PutUint64(out[positionMaxTime:], uint64(b.maxMs))
	be.PutUint64(out[positionProducerID:], uint64(b.pid))
	be.PutUint16(out[51:], uint16(b.epoch))
	be.PutUint32(out[53:], uint32(b.seq))
	be.PutUint32(out[57:], uint32(b.count))
	be.PutUint32(out[positionCRC:], Checksum(out))
	return out, nil
}
