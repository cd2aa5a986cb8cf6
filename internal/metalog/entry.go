package metalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

// Sizes in bytes; the tables are in README.md.
const (
	// entryHeaderSize is what stands before an entry's payload.
	entryHeaderSize = 4 + 1 + 1 + 2 + 8 + 8 + HashSize + 4
	// MaxEntryBytes bounds the payload of one entry.
	MaxEntryBytes = 2 << 20
	// MaxGroupBytes bounds one proposal, all headers included.
	MaxGroupBytes = 4 << 20

	flagMore = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errMalformed: bytes that are not what they should be. It never crosses the package's border alone.
var errMalformed = errors.New("malformed bytes")

// encodedSize is the length of an entry on disk and on the wire.
func (e *Entry) encodedSize() int64 { return entryHeaderSize + int64(len(e.Payload)) }

func (e *Entry) flags() byte {
	if e.More {
		return flagMore
	}
	return 0
}

// EntryHash is the hash of an entry: it covers everything but the entry's own length, and through PrevHash all of the log before.
func EntryHash(e *Entry) Hash {
	var scratch [512]byte
	b := append(scratch[:0], e.PrevHash[:]...)
	b = append(b, byte(e.Type), e.flags())
	b = binary.BigEndian.AppendUint64(b, e.Epoch)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Offset))
	b = append(b, e.Payload...)
	sum := sha256.Sum256(b)
	return Hash(sum[:HashSize])
}

// appendEntry appends the bytes of an entry.
func appendEntry(dst []byte, e *Entry) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Payload)))
	dst = append(dst, byte(e.Type), e.flags(), 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, e.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Offset))
	dst = append(dst, e.PrevHash[:]...)
	crc := crc32.Update(crc32.Checksum(dst[at:], castagnoli), castagnoli, e.Payload)
	dst = binary.BigEndian.AppendUint32(dst, crc)
	return append(dst, e.Payload...)
}

// decodeEntry reads one entry and returns the bytes after it. The payload is a copy.
func decodeEntry(b []byte) (Entry, []byte, error) {
	var e Entry
	if len(b) < entryHeaderSize {
		return e, nil, fmt.Errorf("decode entry: %w: %d bytes", errMalformed, len(b))
	}
	n := int(binary.BigEndian.Uint32(b))
	if n > MaxEntryBytes || len(b) < entryHeaderSize+n {
		return e, nil, fmt.Errorf("decode entry: %w: payload of %d bytes in %d", errMalformed, n, len(b))
	}
	e.Type = EntryType(b[4])
	if !e.Type.valid() || b[5] > flagMore || b[6] != 0 || b[7] != 0 {
		return e, nil, fmt.Errorf("decode entry: %w: %s, flags %x", errMalformed, e.Type, b[5:8])
	}
	e.More = b[5] == flagMore
	e.Epoch = binary.BigEndian.Uint64(b[8:])
	e.Offset = int64(binary.BigEndian.Uint64(b[16:]))
	copy(e.PrevHash[:], b[24:])
	const crcAt = entryHeaderSize - 4
	payload := b[entryHeaderSize : entryHeaderSize+n]
	crc := crc32.Update(crc32.Checksum(b[:crcAt], castagnoli), castagnoli, payload)
	if crc != binary.BigEndian.Uint32(b[crcAt:]) || e.Offset < 0 {
		return e, nil, fmt.Errorf("decode entry: %w: checksum of offset %d", errMalformed, e.Offset)
	}
	e.Payload = bytes.Clone(payload)
	e.Hash = EntryHash(&e)
	return e, b[entryHeaderSize+n:], nil
}

const ballotSize = 8 + 4 + 16 + 8

func appendMember(dst []byte, m Member) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.NodeID))
	return append(dst, m.DiskID[:]...)
}

func appendBallot(dst []byte, b Ballot) []byte {
	dst = binary.BigEndian.AppendUint64(dst, b.Term)
	dst = appendMember(dst, b.Member)
	return binary.BigEndian.AppendUint64(dst, b.Nonce)
}

func decodeMember(b []byte) Member {
	return Member{NodeID: int32(binary.BigEndian.Uint32(b)), DiskID: uuid.UUID(b[4:20])}
}

func decodeBallot(b []byte) (Ballot, error) {
	if len(b) != ballotSize {
		return Ballot{}, fmt.Errorf("decode ballot: %w: %d bytes", errMalformed, len(b))
	}
	return Ballot{Term: binary.BigEndian.Uint64(b), Member: decodeMember(b[8:]), Nonce: binary.BigEndian.Uint64(b[28:])}, nil
}

// DecodeEpochStart reads the payload of an EntryEpochStart.
func DecodeEpochStart(e *Entry) (Ballot, error) {
	if e.Type != EntryEpochStart {
		return Ballot{}, fmt.Errorf("decode epoch start: %w: a %s", errMalformed, e.Type)
	}
	return decodeBallot(e.Payload)
}

// votersPayload is the payload of an EntryVoters.
func votersPayload(members []Member) []byte {
	return metadata.AppendEvent(nil, &metadata.VotersChanged{Voters: members})
}

// DecodeVoters reads the voters of an EntryVoters.
func DecodeVoters(e *Entry) (VoterSet, error) {
	ev, err := metadata.DecodeEvent(e.Payload)
	if err != nil {
		return VoterSet{}, fmt.Errorf("decode voters at offset %d: %w", e.Offset, err)
	}
	v, ok := ev.(*metadata.VotersChanged)
	if !ok {
		return VoterSet{}, fmt.Errorf("decode voters at offset %d: %w: a %s", e.Offset, errMalformed, ev.Type())
	}
	return VoterSet{Offset: e.Offset, Members: v.Voters}, nil
}
