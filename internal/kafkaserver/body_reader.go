package kafkaserver

import "encoding/binary"

// bodyReader reads the fields of a request body in place, for the APIs whose load is worth a reader of their own. Slices alias the body.
// A read past the end yields zero values and sets bad; it is looked at once, at the end.
type bodyReader struct {
	b    []byte
	flex bool
	bad  bool
}

func (r *bodyReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *bodyReader) int16() int16 {
	if v := r.take(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

func (r *bodyReader) int32() int32 {
	if v := r.take(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

func (r *bodyReader) int64() int64 {
	if v := r.take(8); v != nil {
		return int64(binary.BigEndian.Uint64(v))
	}
	return 0
}

func (r *bodyReader) uvarint() uint32 {
	v, rest, ok := readUvarint(r.b)
	if !ok {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = rest
	return v
}

// length reads a compact length, or one of width bytes; -1 is null.
func (r *bodyReader) length(width int) int {
	if r.flex {
		v, rest, ok := readUvarint(r.b)
		if !ok || v > 1<<31-1 {
			r.bad, r.b = true, nil
			return 0
		}
		r.b = rest
		return int(v) - 1
	}
	if width == 2 {
		return int(r.int16())
	}
	return int(r.int32())
}

// string reads a string; null is nil.
func (r *bodyReader) string() []byte { return r.sized(r.length(2)) }

// bytes reads a byte array; null is nil.
func (r *bodyReader) bytes() []byte { return r.sized(r.length(4)) }

func (r *bodyReader) sized(n int) []byte {
	if n < 0 {
		return nil
	}
	return r.take(n)
}

// count reads an array's length; null is 0.
func (r *bodyReader) count() int {
	n := r.length(4)
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return 0
	}
	return max(n, 0)
}

// tags skips a section of tagged fields.
func (r *bodyReader) tags() {
	if !r.flex {
		return
	}
	rest, ok := skipTags(r.b)
	if !ok {
		r.bad, r.b = true, nil
		return
	}
	r.b = rest
}
