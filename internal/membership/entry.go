package membership

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
)

// An entry of the store, big endian:
//
//	version 1 | type 1 | term 8 | appended at, Unix ns 8 | length of data 4 | data | extensions | crc32c 4
//
// The index is the key, and part of what the checksum covers.
const (
	entryVersion = 1
	entryHeader  = 1 + 1 + 8 + 8 + 4
	entryTrailer = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeEntry(l *raft.Log) []byte {
	b := make([]byte, 0, entryHeader+len(l.Data)+len(l.Extensions)+entryTrailer)
	b = append(b, entryVersion, byte(l.Type))
	b = binary.BigEndian.AppendUint64(b, l.Term)
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Data)))
	b = append(b, l.Data...)
	b = append(b, l.Extensions...)
	return binary.BigEndian.AppendUint32(b, entrySum(l.Index, b))
}

func entrySum(index uint64, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(indexKey(index), castagnoli), castagnoli, b)
}

// decodeEntry copies out of b, which is only valid during a transaction.
func decodeEntry(index uint64, b []byte, l *raft.Log) error {
	if len(b) < entryHeader+entryTrailer || b[0] != entryVersion {
		return fmt.Errorf("read raft entry %d: %w", index, ErrCorrupt)
	}
	body, sum := b[:len(b)-entryTrailer], binary.BigEndian.Uint32(b[len(b)-entryTrailer:])
	n := uint64(binary.BigEndian.Uint32(body[18:]))
	if entrySum(index, body) != sum || n > uint64(len(body)-entryHeader) {
		return fmt.Errorf("read raft entry %d: %w", index, ErrCorrupt)
	}
	rest := append([]byte(nil), body[entryHeader:]...)
	*l = raft.Log{Index: index, Type: raft.LogType(body[1]), Term: binary.BigEndian.Uint64(body[2:]), Data: rest[:n:n]}
	if at := int64(binary.BigEndian.Uint64(body[10:])); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	if len(rest) > int(n) {
		l.Extensions = rest[n:]
	}
	return nil
}
