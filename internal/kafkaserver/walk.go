package kafkaserver

import "encoding/binary"

// walker checks a request body against its schema without allocating: every length and count fits into the bytes that are there, and
// what decoding will allocate stays within a budget. kmsg may decode what passed. (By itself kmsg reads up to 2^32 tags that are not
// there, and allocates arrays before it has seen their elements: 80 times the frame's size.)
type walker struct {
	b    []byte
	cost int // decode budget left
	bad  bool
}

// walkRequest returns the bytes after the body (Kafka ignores those) or an error.
func walkRequest(f *walkFields, body []byte) ([]byte, error) {
	w := walker{b: body, cost: maxDecodeBytes}
	w.fields(f)
	switch {
	case w.cost < 0:
		return nil, errBodyTooBig
	case w.bad:
		return nil, errBody
	}
	return w.b, nil
}

// fields walks one struct. Recursion is as deep as the schema, whatever the input.
func (w *walker) fields(f *walkFields) {
	for i := range f.ops {
		w.op(&f.ops[i], f.flex)
		if w.bad {
			return
		}
	}
	if f.flex && !f.bare {
		w.tagged(f)
	}
}

// op walks one field.
func (w *walker) op(op *walkOp, flex bool) {
	switch op.kind {
	case walkSkip:
		w.skip(op.n)
	case walkString:
		n, ok := w.length(flex, 2)
		if !ok && !op.nullable || n > maxStringBytes {
			w.bad = true
			return
		}
		w.skip(n)
	case walkBytes:
		n, ok := w.length(flex, 4)
		if !ok && !op.nullable {
			w.bad = true
			return
		}
		w.skip(n)
	case walkArray:
		n, ok := w.length(flex, 4)
		if !ok && !op.nullable {
			w.bad = true
			return
		}
		w.elements(op.elem, n)
	case walkStruct:
		if op.nullable {
			if len(w.b) == 0 {
				w.bad = true
				return
			}
			present := int8(w.b[0]) >= 0
			w.b = w.b[1:]
			if !present {
				return
			}
		}
		w.fields(op.elem)
	}
}

// elements walks n elements of an array.
func (w *walker) elements(f *walkFields, n int) {
	if n > len(w.b) { // an element takes a byte at least
		w.bad = true
		return
	}
	if w.cost -= n * f.cost; w.cost < 0 {
		w.bad = true
		return
	}
	if f.bare && f.ops[0].kind == walkSkip {
		w.skip(n * f.ops[0].n)
		return
	}
	for range n {
		w.fields(f)
		if w.bad {
			return
		}
	}
}

// length reads the length of a string, bytes or an array: compact, or of width bytes. False means null.
func (w *walker) length(flex bool, width int) (int, bool) {
	if flex {
		n, rest, ok := readUvarint(w.b)
		if !ok || n > 1<<31 {
			w.bad = true
			return 0, true
		}
		w.b = rest
		return max(int(n)-1, 0), n > 0
	}
	if len(w.b) < width {
		w.bad = true
		return 0, true
	}
	var n int
	if width == 2 {
		n = int(int16(binary.BigEndian.Uint16(w.b)))
	} else {
		n = int(int32(binary.BigEndian.Uint32(w.b)))
	}
	w.b = w.b[width:]
	return max(n, 0), n >= 0
}

// tagged walks the tagged fields at the end of a struct. Known ones must hold what they should, in their own bytes.
func (w *walker) tagged(f *walkFields) {
	count, rest, ok := readUvarint(w.b)
	if !ok || count > maxTagsPerStruct {
		w.bad = true
		return
	}
	w.b = rest
	for range count {
		tag, rest, ok := readUvarint(w.b)
		if !ok {
			w.bad = true
			return
		}
		size, rest, ok := readUvarint(rest)
		if !ok || uint64(size) > uint64(len(rest)) {
			w.bad = true
			return
		}
		if op, known := f.tags[tag]; known {
			inner := walker{b: rest[:size], cost: w.cost}
			inner.op(&op, true)
			if w.cost, w.bad = inner.cost, inner.bad; w.bad {
				return
			}
		} else if w.cost -= 128 + int(size); w.cost < 0 { // kmsg keeps unknown tags in a map
			w.bad = true
			return
		}
		w.b = rest[size:]
	}
}

// skip drops n bytes.
func (w *walker) skip(n int) {
	if n < 0 || n > len(w.b) {
		w.bad = true
		return
	}
	w.b = w.b[n:]
}
