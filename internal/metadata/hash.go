package metadata

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
)

// Hash is the sum, modulo 2^128, of the hashes of an image's entities. A sum can be kept up to date by adding what came and
// subtracting what went.
type Hash struct{ hi, lo uint64 }

func (h Hash) plus(o Hash) Hash {
	lo, carry := bits.Add64(h.lo, o.lo, 0)
	hi, _ := bits.Add64(h.hi, o.hi, carry)
	return Hash{hi, lo}
}

func (h Hash) minus(o Hash) Hash {
	lo, borrow := bits.Sub64(h.lo, o.lo, 0)
	hi, _ := bits.Sub64(h.hi, o.hi, borrow)
	return Hash{hi, lo}
}

// Bytes is the hash as it stands in the log and in snapshots.
func (h Hash) Bytes() [16]byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], h.hi)
	binary.BigEndian.PutUint64(b[8:], h.lo)
	return b
}

// HashFromBytes reads what Bytes wrote.
func HashFromBytes(b [16]byte) Hash {
	return Hash{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// String is the hash in hexadecimal digits.
func (h Hash) String() string {
	b := h.Bytes()
	return hex.EncodeToString(b[:])
}

// MarshalText writes String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads String.
func (h *Hash) UnmarshalText(text []byte) error {
	var b [16]byte
	if len(text) != 2*len(b) {
		return fmt.Errorf("read hash: %d characters instead of %d", len(text), 2*len(b))
	}
	if _, err := hex.Decode(b[:], text); err != nil {
		return fmt.Errorf("read hash: %w", err)
	}
	*h = HashFromBytes(b)
	return nil
}

// entityHash is the hash of one entity: of its key and its canonical value.
func entityHash(key string, value []byte) Hash {
	var scratch [512]byte
	b := append(scratch[:0], key...)
	b = append(b, 0)
	b = append(b, value...)
	sum := sha256.Sum256(b)
	return Hash{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])}
}
