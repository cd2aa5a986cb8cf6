package recordbatch

import "encoding/binary"

// walker steps over the records of an uncompressed payload. Its slices point into the payload; nothing is allocated.
type walker struct {
	b []byte // not yet walked

	timestampDelta int64
	offsetDelta    int64
	key, value     []byte // nil means null
	headers        []byte // raw
	headerCount    int
}

// next reads one record; false means the bytes are not one (or there are none left).
func (w *walker) next() bool {
	length, n := binary.Varint(w.b)
	if n <= 0 || length < 0 || length > int64(len(w.b)-n) {
		return false
	}
	r := w.b[n : n+int(length)]
	rest := w.b[n+int(length):]
	if len(r) < 1 {
		return false
	}
	r = r[1:] // attributes, unused
	var ok bool
	if w.timestampDelta, r, ok = varint(r); !ok {
		return false
	}
	if w.offsetDelta, r, ok = varint(r); !ok {
		return false
	}
	if w.key, r, ok = varbytes(r); !ok {
		return false
	}
	if w.value, r, ok = varbytes(r); !ok {
		return false
	}
	count, r, ok := varint(r)
	if !ok || count < 0 || count > int64(len(r)/2) { // a header takes two bytes at least
		return false
	}
	w.headers, w.headerCount = r, int(count)
	for range int(count) {
		var key []byte
		if key, r, ok = varbytes(r); !ok || key == nil {
			return false
		}
		if _, r, ok = varbytes(r); !ok {
			return false
		}
	}
	if len(r) != 0 {
		return false
	}
	w.b = rest
	return true
}

func varint(b []byte) (int64, []byte, bool) {
	if len(b) > 0 && b[0] < 0x80 { // one byte, by far the most frequent
		u := b[0]
		return int64(u>>1) ^ -int64(u&1), b[1:], true
	}
	v, n := binary.Varint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// varbytes reads a length and that many bytes; length -1 gives nil, 0 an empty slice that is not nil.
func varbytes(b []byte) (val, rest []byte, ok bool) {
	n, b, ok := varint(b)
	if !ok || n < -1 || n > int64(len(b)) {
		return nil, nil, false
	}
	if n == -1 {
		return nil, b, true
	}
	return b[:n:n], b[n:], true
}
