package partition

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

const (
	// duplicateWindow is how many of a producer's last batches are recognised when they come again, as in Kafka.
	duplicateWindow = 5
	// maxRetained bounds the batches remembered of one producer. All batches above the high watermark are remembered besides the last
	// five below it, so that a truncation, which stays above it, needs no rebuild: what it cuts is simply forgotten.
	maxRetained = 64
)

// producerBatch is what is remembered of one batch of a producer.
type producerBatch struct {
	lastOffset  int64
	timestampMs int64 // the batch's max timestamp
	lastSeq     int32
	delta       int32 // records - 1
	epoch       int16
}

func (b *producerBatch) baseOffset() int64 { return b.lastOffset - int64(b.delta) }

// producer is the state of one producer id.
type producer struct {
	epoch     int16
	seenMs    int64 // wall clock of the last append, for expiry
	txnStart  int64 // -1: no transaction open
	coordEpch int32
	batches   []producerBatch // oldest first
}

// producerTable holds the producers of one partition. Guarded by Log.mu.
type producerTable struct {
	m map[int64]*producer
}

// check decides on a client's batch before it is appended: a duplicate returns the batch as it is in the log.
func (t *producerTable) check(h *recordbatch.Header) (dup *producerBatch, err error) {
	var p *producer
	if t != nil {
		p = t.m[h.ProducerID]
	}
	if p == nil {
		return nil, nil // unknown: any sequence, because state may have been forgotten by retention
	}
	if h.ProducerEpoch < p.epoch {
		return nil, fmt.Errorf("append batch of producer %d, epoch %d, known %d: %w", h.ProducerID, h.ProducerEpoch, p.epoch,
			ErrInvalidProducerEpoch)
	}
	if h.Control() {
		return nil, nil
	}
	last := h.LastSequence()
	for i := len(p.batches) - 1; i >= max(0, len(p.batches)-duplicateWindow); i-- {
		b := &p.batches[i]
		if b.epoch == h.ProducerEpoch && b.lastSeq == last && b.delta == h.LastOffsetDelta {
			return b, nil
		}
	}
	if p.epoch == recordbatch.NoProducerEpoch {
		return nil, nil
	}
	if h.ProducerEpoch != p.epoch {
		if h.BaseSequence != 0 {
			return nil, fmt.Errorf("append batch of producer %d, sequence %d in a new epoch %d: %w", h.ProducerID, h.BaseSequence,
				h.ProducerEpoch, ErrOutOfOrderSequence)
		}
		return nil, nil
	}
	if n := len(p.batches); n > 0 && p.batches[n-1].epoch == p.epoch {
		if want := recordbatch.IncrementSequence(p.batches[n-1].lastSeq, 1); h.BaseSequence != want {
			return nil, fmt.Errorf("append batch of producer %d, sequence %d, expected %d: %w", h.ProducerID, h.BaseSequence, want,
				ErrOutOfOrderSequence)
		}
	}
	return nil, nil
}

// add records an appended batch. hw decides how far back batches stay; limit bounds the number of producers.
func (t *producerTable) add(h *recordbatch.Header, hw, nowMs int64, limit int) {
	p := t.m[h.ProducerID]
	if p == nil {
		if len(t.m) >= limit {
			t.evictOldest()
		}
		p = &producer{epoch: h.ProducerEpoch, txnStart: -1, coordEpch: -1}
		t.m[h.ProducerID] = p
	}
	p.epoch = max(p.epoch, h.ProducerEpoch)
	p.seenMs = max(p.seenMs, nowMs)
	if h.Control() {
		p.txnStart = -1
		return
	}
	if h.Transactional() && p.txnStart < 0 {
		p.txnStart = h.BaseOffset
	}
	p.batches = append(p.batches, producerBatch{lastOffset: h.LastOffset(), timestampMs: h.MaxTimestamp, lastSeq: h.LastSequence(),
		delta: h.LastOffsetDelta, epoch: h.ProducerEpoch})
	drop := 0 // forget the oldest while five younger ones are below the high watermark
	for len(p.batches)-drop > duplicateWindow && p.batches[drop+duplicateWindow].lastOffset < hw || len(p.batches)-drop > maxRetained {
		drop++
	}
	p.batches = slices.Delete(p.batches, 0, drop)
}

func (t *producerTable) evictOldest() {
	oldest, at := int64(math.MaxInt64), int64(-1)
	for id, p := range t.m {
		if p.seenMs < oldest && p.txnStart < 0 {
			oldest, at = p.seenMs, id
		}
	}
	delete(t.m, at)
}

// truncate forgets batches from offset to on.
func (t *producerTable) truncate(to int64) {
	if t == nil {
		return
	}
	for id, p := range t.m {
		n := len(p.batches)
		for n > 0 && p.batches[n-1].lastOffset >= to {
			n--
		}
		if n == len(p.batches) {
			continue
		}
		if n == 0 {
			delete(t.m, id)
			continue
		}
		p.batches = p.batches[:n]
		p.epoch = p.batches[n-1].epoch
		if p.txnStart >= to {
			p.txnStart = -1
		}
	}
}

// expire forgets producers without an open transaction that were not seen since beforeMs.
func (t *producerTable) expire(beforeMs int64) {
	for id, p := range t.m {
		if p.seenMs < beforeMs && p.txnStart < 0 {
			delete(t.m, id)
		}
	}
}

func (t *producerTable) states() []ProducerState {
	if t == nil {
		return nil
	}
	out := make([]ProducerState, 0, len(t.m))
	for id, p := range t.m {
		st := ProducerState{ProducerID: id, ProducerEpoch: p.epoch, LastSequence: recordbatch.NoSequence, LastTimestampMs: -1,
			CoordinatorEpoch: p.coordEpch, TxnStartOffset: p.txnStart}
		if n := len(p.batches); n > 0 {
			st.LastSequence, st.LastTimestampMs = p.batches[n-1].lastSeq, p.batches[n-1].timestampMs
		}
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b ProducerState) int { return int(min(max(a.ProducerID-b.ProducerID, -1), 1)) })
	return out
}

// encode writes the table: count, then per producer {id, epoch, seen, transaction start, coordinator epoch, batches}, all varints.
func (t *producerTable) encode() []byte {
	if t == nil || len(t.m) == 0 {
		return nil
	}
	b := binary.AppendUvarint(make([]byte, 0, 64*len(t.m)), uint64(len(t.m)))
	for id, p := range t.m {
		for _, v := range []int64{id, int64(p.epoch), p.seenMs, p.txnStart, int64(p.coordEpch)} {
			b = binary.AppendVarint(b, v)
		}
		b = binary.AppendUvarint(b, uint64(len(p.batches)))
		for i := range p.batches {
			x := &p.batches[i]
			for _, v := range []int64{x.lastOffset, x.timestampMs, int64(x.lastSeq), int64(x.delta), int64(x.epoch)} {
				b = binary.AppendVarint(b, v)
			}
		}
	}
	return b
}

func decodeProducers(b []byte) (*producerTable, error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := decoder{b: b}
	t := &producerTable{m: map[int64]*producer{}}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		id := d.varint()
		p := &producer{epoch: int16(d.varint()), seenMs: d.varint(), txnStart: d.varint(), coordEpch: int32(d.varint())}
		for k := d.uvarint(); k > 0 && !d.bad; k-- {
			p.batches = append(p.batches, producerBatch{lastOffset: d.varint(), timestampMs: d.varint(), lastSeq: int32(d.varint()),
				delta: int32(d.varint()), epoch: int16(d.varint())})
		}
		t.m[id] = p
	}
	if d.bad || len(d.b) != 0 {
		return nil, fmt.Errorf("read producer snapshot: %w", ErrCorrupt)
	}
	return t, nil
}
