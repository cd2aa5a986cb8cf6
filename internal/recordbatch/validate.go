package recordbatch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Limits tells Validate what a batch from a client must keep to.
type Limits struct {
	// MaxBytes bounds the batch as sent; 0 means no bound.
	MaxBytes int
	// Internal skips the checks that hold for clients only: base offset 0, no control batch.
	Internal bool

	// Deep walks the records: their number, lengths, offset deltas and times. Uncompressed batches are walked without allocation.
	Deep bool
	// DeepCompressed decompresses compressed batches for that, as Kafka does. Without it they are taken on the header's word.
	DeepCompressed bool
	// MaxDecompressed caps the bytes after decompression; 0 means DefaultMaxDecompressed.
	MaxDecompressed int
	// RequireKey refuses records without a key (compacted topics). Needs Deep.
	RequireKey bool

	// CheckTimestamps refuses record times more than BeforeMaxMs before NowMs or more than AfterMaxMs after it; times of -1 pass.
	// It is for topics of type CreateTime. A batch that is not walked is judged by its base and max timestamp.
	CheckTimestamps bool
	NowMs           int64
	BeforeMaxMs     int64
	AfterMaxMs      int64
}

// DefaultMaxDecompressed is the cap on decompressed bytes when Limits names none.
const DefaultMaxDecompressed = 128 << 20

// Info is what Validate learned about a batch.
type Info struct {
	Header
	// MaxRecordTimestamp is the largest record time seen by a deep check, else the header's max timestamp. Kafka corrects the header
	// to it: see SetTimestamps.
	MaxRecordTimestamp int64
	// Walked tells whether the records were looked at.
	Walked bool
}

// Validate checks that b holds exactly one batch fit to be appended, in the order in which Kafka does, so that a batch with two
// faults gets the same answer. Bytes after the batch that are no batch are accepted: the batch is b[:Info.Size()].
func Validate(b []byte, l Limits) (Info, error) {
	size, err := single(b)
	if err != nil {
		return Info{}, err
	}
	info := Info{Header: parse(b)}
	h := &info.Header
	info.MaxRecordTimestamp = h.MaxTimestamp
	b = b[:size]
	if !l.Internal && h.BaseOffset != 0 {
		return info, fmt.Errorf("validate batch with base offset %d: %w", h.BaseOffset, ErrBaseOffset)
	}
	if l.MaxBytes > 0 && size > l.MaxBytes {
		return info, fmt.Errorf("validate batch of %d bytes, limit %d: %w", size, l.MaxBytes, ErrTooLarge)
	}
	if Checksum(b) != h.CRC {
		return info, fmt.Errorf("validate batch of %d bytes: %w", size, ErrCRC)
	}
	if h.Codec() > Zstd {
		return info, fmt.Errorf("validate batch, codec %d: %w", h.Codec(), ErrCodec)
	}
	if h.LastOffsetDelta < 0 || h.Count <= 0 || h.LastOffsetDelta != h.Count-1 {
		return info, fmt.Errorf("validate batch, %d records, last offset delta %d: %w", h.Count, h.LastOffsetDelta, ErrCount)
	}
	if h.LastOffset() < 0 {
		return info, fmt.Errorf("validate batch at offset %d: %w", h.BaseOffset, ErrCount)
	}
	if !l.Internal && h.Control() {
		return info, ErrControl
	}
	if h.HasProducer() && h.BaseSequence < 0 {
		return info, fmt.Errorf("validate batch of producer %d, sequence %d: %w", h.ProducerID, h.BaseSequence, ErrSequence)
	}
	if l.Deep && (h.Codec() == None || l.DeepCompressed) {
		return info, info.deep(b, &l)
	}
	return info, shallowTimestamps(h, &l)
}

// single finds the one batch at the start of b and returns its size.
func single(b []byte) (int, error) {
	size, err := frame(b)
	if err != nil {
		return 0, err
	}
	if size == 0 {
		return 0, fmt.Errorf("validate %d bytes: %w", len(b), ErrNoBatch)
	}
	if magic := b[positionMagic]; magic < 2 {
		return 0, fmt.Errorf("validate batch, magic %d: %w", magic, ErrOldMagic)
	}
	if size < HeaderSize {
		return 0, fmt.Errorf("validate batch of %d bytes: %w", size, ErrTooShort)
	}
	if rest := b[size:]; len(rest) > 0 {
		if n, err := frame(rest); err == nil && n >= HeaderSize && rest[positionMagic] == 2 {
			return 0, fmt.Errorf("validate %d bytes after the first batch: %w", len(rest), ErrManyBatches)
		}
	}
	return size, nil
}

// frame returns the size of the batch or old message at the start of b; 0 if b does not hold all of it.
func frame(b []byte) (int, error) {
	const upToMagic = positionMagic + 1
	const minOldLength = 14
	if len(b) < lengthEnd {
		return 0, nil
	}
	length := int32(binary.BigEndian.Uint32(b[positionLength:]))
	if length < minOldLength {
		return 0, fmt.Errorf("validate batch, length %d: %w", length, ErrTooShort)
	}
	if len(b) < upToMagic {
		return 0, nil
	}
	if magic := int8(b[positionMagic]); magic < 0 || magic > 2 {
		return 0, fmt.Errorf("validate batch, magic %d: %w", magic, ErrMagic)
	}
	if size := int64(lengthEnd) + int64(length); size <= int64(len(b)) {
		return int(size), nil
	}
	return 0, nil
}

func (l *Limits) outside(ts int64) bool {
	if ts == NoTimestamp {
		return false
	}
	return saturatingSub(l.NowMs, ts) > l.BeforeMaxMs || saturatingSub(ts, l.NowMs) > l.AfterMaxMs
}

func saturatingSub(a, b int64) int64 {
	d := a - b
	if (a >= 0) != (b >= 0) && (d >= 0) != (a >= 0) {
		if a >= 0 {
			return math.MaxInt64
		}
		return math.MinInt64
	}
	return d
}

func shallowTimestamps(h *Header, l *Limits) error {
	if !l.CheckTimestamps || h.LogAppendTime() {
		return nil
	}
	e := RecordsError{Err: ErrTimestamp}
	if l.outside(h.BaseTimestamp) {
		e.Records = append(e.Records, RecordError{Index: 0, Err: ErrTimestamp})
	}
	if h.LastOffsetDelta > 0 && l.outside(h.MaxTimestamp) {
		e.Records = append(e.Records, RecordError{Index: h.LastOffsetDelta, Err: ErrTimestamp})
	}
	if len(e.Records) == 0 {
		return nil
	}
	return &e
}

// deep walks the records of the whole batch b.
func (info *Info) deep(b []byte, l *Limits) error {
	payload := b[HeaderSize:]
	if info.Codec() != None {
		buf := getBuffer()
		defer putBuffer(buf)
		limit := l.MaxDecompressed
		if limit <= 0 {
			limit = DefaultMaxDecompressed
		}
		out, err := Decompress(info.Codec(), (*buf)[:0], payload, limit)
		if err != nil {
			return err
		}
		*buf, payload = out, out
	}
	info.Walked = true
	w := walker{b: payload}
	maxTs := NoTimestamp
	var bad *RecordsError
	for i := int32(0); i < info.Count; i++ {
		if !w.next() || w.offsetDelta != int64(i) {
			return fmt.Errorf("validate record %d of %d: %w", i, info.Count, ErrRecords)
		}
		ts := info.BaseTimestamp + w.timestampDelta
		maxTs = max(maxTs, ts)
		switch {
		case l.RequireKey && w.key == nil:
			bad = bad.add(i, ErrNullKey)
		case l.CheckTimestamps && !info.LogAppendTime() && l.outside(ts):
			bad = bad.add(i, ErrTimestamp)
		}
	}
	if len(w.b) != 0 {
		return fmt.Errorf("validate batch, %d bytes after record %d: %w", len(w.b), info.Count, ErrRecords)
	}
	info.MaxRecordTimestamp = maxTs
	if bad != nil {
		return bad
	}
	return nil
}

func (e *RecordsError) add(i int32, err error) *RecordsError {
	if e == nil {
		e = &RecordsError{Err: err}
	}
	if err == ErrTimestamp {
		e.Err = err
	}
	if len(e.Records) < maxRecordErrors {
		e.Records = append(e.Records, RecordError{Index: i, Err: err})
	}
	return e
}
