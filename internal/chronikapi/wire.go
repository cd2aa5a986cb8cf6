package chronikapi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed: bytes that are not what they should be.
var ErrMalformed = errors.New("malformed message")

// Bounds on what is read.
const (
	maxString   = 32767
	maxElements = 100_000
	maxTags     = 64
)

// wire writes or reads fields in Kafka's flexible encoding: integers big endian, compact lengths, tagged fields at the end of a struct.
// A read past the end yields zero values and sets bad; it is looked at once, at the end.
type wire struct {
	b       []byte // written so far, or left to read
	reading bool
	bad     bool
	version int16
}

// message is a struct with its fields in order.
type message interface{ fields(w *wire) }

func appendMessage(b []byte, version int16, m message) []byte {
	w := wire{b: b, version: version}
	m.fields(&w)
	w.tags()
	return w.b
}

func readMessage(name string, b []byte, version int16, m message) error {
	w := wire{b: b, reading: true, version: version}
	m.fields(&w)
	w.tags()
	if w.bad {
		return fmt.Errorf("read %s version %d: %w", name, version, ErrMalformed)
	}
	return nil
}

func (w *wire) take(n int) []byte {
	if n < 0 || n > len(w.b) {
		w.bad, w.b = true, nil
		return nil
	}
	v := w.b[:n:n]
	w.b = w.b[n:]
	return v
}

func (w *wire) i16(p *int16) {
	if !w.reading {
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(*p))
	} else if v := w.take(2); v != nil {
		*p = int16(binary.BigEndian.Uint16(v))
	}
}

func (w *wire) i32(p *int32) {
	if !w.reading {
		w.b = binary.BigEndian.AppendUint32(w.b, uint32(*p))
	} else if v := w.take(4); v != nil {
		*p = int32(binary.BigEndian.Uint32(v))
	}
}

func (w *wire) i64(p *int64) {
	if !w.reading {
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(*p))
	} else if v := w.take(8); v != nil {
		*p = int64(binary.BigEndian.Uint64(v))
	}
}

func (w *wire) bool(p *bool) {
	if !w.reading {
		v := byte(0)
		if *p {
			v = 1
		}
		w.b = append(w.b, v)
	} else if v := w.take(1); v != nil {
		*p = v[0] != 0
	}
}

func (w *wire) id(p *[16]byte) {
	if !w.reading {
		w.b = append(w.b, p[:]...)
	} else if v := w.take(16); v != nil {
		*p = [16]byte(v)
	}
}

func (w *wire) uvarint() uint32 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 || n > 5 || v > 1<<32-1 {
		w.bad, w.b = true, nil
		return 0
	}
	w.b = w.b[n:]
	return uint32(v)
}

// length writes or reads a compact length that is not null.
func (w *wire) length(n, limit int) int {
	if !w.reading {
		w.b = binary.AppendUvarint(w.b, uint64(n)+1)
		return n
	}
	v := int64(w.uvarint()) - 1
	if v < 0 || v > int64(limit) || v > int64(len(w.b)) { // an element takes a byte at least
		w.bad, w.b = true, nil
		return 0
	}
	return int(v)
}

func (w *wire) string(p *string) {
	if !w.reading {
		s := *p
		s = s[:min(len(s), maxString)]
		w.length(len(s), maxString)
		w.b = append(w.b, s...)
		return
	}
	*p = string(w.take(w.length(0, maxString)))
}

// bytes reads into a slice of the input.
func (w *wire) bytes(p *[]byte) {
	if !w.reading {
		w.length(len(*p), 0)
		w.b = append(w.b, *p...)
		return
	}
	*p = w.take(w.length(0, len(w.b)))
}

// list writes or reads an array of structs.
func list[T any](w *wire, p *[]T, fields func(w *wire, v *T)) {
	n := w.length(len(*p), maxElements)
	if w.reading {
		*p = nil // it grows with what is there, not with what a length says
	}
	for i := 0; i < n && !w.bad; i++ {
		if !w.reading {
			fields(w, &(*p)[i])
			w.tags()
			continue
		}
		var v T
		fields(w, &v)
		w.tags()
		*p = append(*p, v)
	}
}

// tags writes no tagged fields, and skips those that are there: they are of a later program.
func (w *wire) tags() {
	if !w.reading {
		w.b = append(w.b, 0)
		return
	}
	n := w.uvarint()
	if n > maxTags {
		w.bad, w.b = true, nil
		return
	}
	for ; n > 0 && !w.bad; n-- {
		w.uvarint()
		w.take(int(w.uvarint()))
	}
}
