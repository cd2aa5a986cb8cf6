package bench

import (
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
)

// A payload begins with a header, big endian; the rest is filler:
//
//	magic     4   "CHRB"
//	crc32c    4   of everything behind it
//	run       8   random per run: records of other runs in the topic are told apart
//	producer  4
//	reserved  4
//	sequence  8   from 0, per producer
//	intended  8   nanoseconds since the run began at which the record was to be sent
const (
	headerSize   = 40
	payloadMagic = 0x43485242
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp writes the header of one record into its payload.
func stamp(b []byte, run uint64, producer uint32, seq uint64, intendedNs int64) {
	binary.BigEndian.PutUint32(b, payloadMagic)
	binary.BigEndian.PutUint64(b[8:], run)
	binary.BigEndian.PutUint32(b[16:], producer)
	binary.BigEndian.PutUint32(b[20:], 0)
	binary.BigEndian.PutUint64(b[24:], seq)
	binary.BigEndian.PutUint64(b[32:], uint64(intendedNs))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
}

// header is a payload's header as read back.
type header struct {
	run        uint64
	producer   uint32
	seq        uint64
	intendedNs int64
}

// payloadState says what a value is.
type payloadState uint8

const (
	payloadForeign payloadState = iota // not written by this tool
	payloadCorrupt
	payloadGood
)

// readHeader checks a value and returns its header.
func readHeader(b []byte) (header, payloadState) {
	if len(b) < headerSize || binary.BigEndian.Uint32(b) != payloadMagic {
		return header{}, payloadForeign
	}
	h := header{
		run: binary.BigEndian.Uint64(b[8:]), producer: binary.BigEndian.Uint32(b[16:]),
		seq: binary.BigEndian.Uint64(b[24:]), intendedNs: int64(binary.BigEndian.Uint64(b[32:])),
	}
	if binary.BigEndian.Uint32(b[4:]) != crc32.Checksum(b[8:], castagnoli) {
		return h, payloadCorrupt
	}
	return h, payloadGood
}

// fillPayload makes the filler: random bytes, which no codec shrinks, or text like JSON, which all do.
func fillPayload(b []byte, kind string, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	if kind == payloadJSON {
		words := []string{`{"customer":`, `"amount":`, `"currency":"EUR",`, `"status":"paid",`, `"items":[`, `{"sku":`, `"qty":1},`, `"note":"`}
		for i := headerSize; i < len(b); {
			i += copy(b[i:], words[r.IntN(len(words))])
			for n := r.IntN(6); n > 0 && i < len(b); n-- {
				b[i] = byte('0' + r.IntN(10))
				i++
			}
		}
		return
	}
	for i := headerSize; i < len(b); i++ {
		b[i] = byte(r.Uint32())
	}
}
