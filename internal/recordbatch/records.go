package recordbatch

import (
	"fmt"
	"iter"
)

// RecordHeader is a header of a record. Value is nil for null.
type RecordHeader struct {
	Key   string
	Value []byte
}

// Record is one record of a batch. Key and Value are nil for null and point into the batch or into a pooled buffer: they are valid
// only until the iteration goes on.
type Record struct {
	Offset    int64
	Timestamp int64 // ms; the batch's max timestamp if it has log append time
	Key       []byte
	Value     []byte

	headers     []byte
	headerCount int
}

// Headers decodes the record's headers; the values point into the batch like Value.
func (r *Record) Headers() []RecordHeader {
	if r.headerCount == 0 {
		return nil
	}
	out := make([]RecordHeader, 0, r.headerCount) // the walk has checked that they are all there
	b := r.headers
	for range r.headerCount {
		key, rest, _ := varbytes(b)
		val, rest, _ := varbytes(rest)
		out = append(out, RecordHeader{Key: string(key), Value: val})
		b = rest
	}
	return out
}

// Records iterates over the records of the whole batch at the start of b, decompressing at most maxBytes (0 means
// DefaultMaxDecompressed). It ends after the first error. The CRC is not checked. Offset deltas may have gaps (compacted batches)
// but must grow.
func Records(b []byte, maxBytes int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		h, err := ParseHeader(b)
		if err != nil {
			yield(Record{}, err)
			return
		}
		if h.Size() > len(b) {
			yield(Record{}, fmt.Errorf("read records at offset %d: %w", h.BaseOffset, ErrNoBatch))
			return
		}
		payload := b[HeaderSize:h.Size()]
		if h.Codec() != None {
			if maxBytes <= 0 {
				maxBytes = DefaultMaxDecompressed
			}
			buf := getBuffer()
			defer putBuffer(buf)
			out, err := Decompress(h.Codec(), (*buf)[:0], payload, maxBytes)
			if err != nil {
				yield(Record{}, fmt.Errorf("read records at offset %d: %w", h.BaseOffset, err))
				return
			}
			*buf, payload = out, out
		}
		walkRecords(&h, payload, yield)
	}
}

func walkRecords(h *Header, payload []byte, yield func(Record, error) bool) {
	w := walker{b: payload}
	last := int64(-1)
	for i := int32(0); i < h.Count; i++ {
		if !w.next() || w.offsetDelta <= last || w.offsetDelta > int64(h.LastOffsetDelta) {
			yield(Record{}, fmt.Errorf("read record %d of %d at offset %d: %w", i, h.Count, h.BaseOffset, ErrRecords))
			return
		}
		last = w.offsetDelta
		ts := h.BaseTimestamp + w.timestampDelta
		if h.LogAppendTime() {
			ts = h.MaxTimestamp
		}
		r := Record{Offset: h.BaseOffset + w.offsetDelta, Timestamp: ts, Key: w.key, Value: w.value, headers: w.headers,
			headerCount: w.headerCount}
		if !yield(r, nil) {
			return
		}
	}
	if len(w.b) != 0 {
		yield(Record{}, fmt.Errorf("read records at offset %d, %d bytes left: %w", h.BaseOffset, len(w.b), ErrRecords))
	}
}
