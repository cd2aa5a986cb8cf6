package partition

import (
	"encoding/binary"
	"fmt"

	"github.com/chronik-io/chronik/internal/wal"
)

// Kinds of WAL records. Their payloads begin with the portable prefix.
const (
	kindAppend   = wal.FirstUserKind + iota // prefix, batch
	kindTruncate                            // prefix with the offset cut to, flags: 0; 1 is kept for unclean truncation
	kindLogStart                            // prefix with the new log start
	kindReset                               // prefix with the first offset, residency
	kindState                               // prefix, then state
	kindDrop                                // prefix, residency
	kindMove                                // prefix, batch: one that was appended before, and is now kept here
)

const (
	// prefixSize is {topic id 16, partition 4, leader epoch 4, offset 8}, big endian.
	prefixSize = 32
)

// prefix is the head of every payload.
type prefix struct {
	id     ID
	epoch  int32
	offset int64
}

func (p *prefix) put(dst []byte) {
	copy(dst, p.id.Topic[:])
	binary.BigEndian.PutUint32(dst[16:], uint32(p.id.Partition))
	binary.BigEndian.PutUint32(dst[20:], uint32(p.epoch))
	binary.BigEndian.PutUint64(dst[24:], uint64(p.offset))
}

func parsePrefix(payload []byte) (p prefix, rest []byte, err error) {
	if len(payload) < prefixSize {
		return p, nil, fmt.Errorf("read record prefix of %d bytes: %w", len(payload), ErrCorrupt)
	}
	copy(p.id.Topic[:], payload)
	p.id.Partition = int32(binary.BigEndian.Uint32(payload[16:]))
	p.epoch = int32(binary.BigEndian.Uint32(payload[20:]))
	p.offset = int64(binary.BigEndian.Uint64(payload[24:]))
	return p, payload[prefixSize:], nil
}

// appendSmall writes a record that has a prefix and a few bytes behind it.
func (s *Store) appendSmall(kind uint8, p prefix, tail []byte, sub *wal.Sub, mark int64) (wal.Ref, error) {
	return s.wal.Append(kind, prefixSize+len(tail), func(dst []byte) {
		p.put(dst)
		copy(dst[prefixSize:], tail)
	}, sub, mark)
}

// activeMark names the synced part of the last segment: its base offset (-1: no segment) and bytes.
type activeMark struct {
	base  int64
	bytes int64
}

// epochStart is one entry of the leader epoch lineage: records from start on were appended in that epoch, until the next entry.
type epochStart struct {
	epoch int32
	start int64
}

// state is the content of a State record: all there is to know of a partition, except batches that are in segments below segEnd or in
// WAL records from keepFrom on.
type state struct {
	residency   int32
	leaderEpoch int32
	start       int64
	end         int64
	hw          int64
	segEnd      int64
	active      activeMark
	keepFrom    int64 // batches from this offset on are kept from the records before the State
	epochs      []epochStart
	producers   []byte // a producerTable, encoded
	carried     []byte // batches from segEnd on, to keepFrom
}

const stateVersion = 1

func (st *state) encode(id ID) []byte {
	p := prefix{id: id, epoch: st.leaderEpoch, offset: st.end}
	b := make([]byte, prefixSize, prefixSize+128+len(st.epochs)*8+len(st.producers)+len(st.carried))
	p.put(b)
	b = append(b, stateVersion)
	b = binary.AppendVarint(b, int64(st.residency))
	for _, v := range []int64{st.start, st.end, st.hw, st.segEnd, st.active.base, st.active.bytes, st.keepFrom} {
		b = binary.AppendVarint(b, v)
	}
	b = binary.AppendUvarint(b, uint64(len(st.epochs)))
	for _, e := range st.epochs {
		b = binary.AppendVarint(b, int64(e.epoch))
		b = binary.AppendVarint(b, e.start)
	}
	b = binary.AppendUvarint(b, uint64(len(st.producers)))
	b = append(b, st.producers...)
	b = binary.AppendUvarint(b, uint64(len(st.carried)))
	return append(b, st.carried...)
}

// decodeState reads what follows the prefix. carriedAt is where the carried batches begin in rest.
func decodeState(p prefix, rest []byte) (st state, carriedAt int, err error) {
	d := decoder{b: rest}
	if v := d.byte(); v != stateVersion {
		return st, 0, fmt.Errorf("read state of %s, version %d: %w", p.id, v, ErrCorrupt)
	}
	st.leaderEpoch = p.epoch
	st.residency = int32(d.varint())
	for _, v := range []*int64{&st.start, &st.end, &st.hw, &st.segEnd, &st.active.base, &st.active.bytes, &st.keepFrom} {
		*v = d.varint()
	}
	n := d.uvarint()
	if n > uint64(len(d.b)/2) {
		d.bad = true
		n = 0
	}
	for range n {
		st.epochs = append(st.epochs, epochStart{epoch: int32(d.varint()), start: d.varint()})
	}
	st.producers = d.bytes()
	st.carried = d.bytes()
	if d.bad || len(d.b) != 0 || st.start > st.end || st.segEnd > st.keepFrom || st.keepFrom > st.end {
		return st, 0, fmt.Errorf("read state of %s: %w", p.id, ErrCorrupt)
	}
	return st, len(rest) - len(st.carried), nil
}

// decoder reads varints and fields; after a short read bad is set and all further reads give zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) byte() byte {
	if len(d.b) < 1 {
		d.bad = true
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}
