package peer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
)

// A frame, big endian:
//
//	length of payload 4 | type 1 | flags 1 | method 2 | request id 8 | crc32c of the 16 bytes before and the payload 4 | payload
const (
	frameHeader = 4 + 1 + 1 + 2 + 8 + 4
	// MaxFrame bounds a payload: the largest is an image of the metadata.
	MaxFrame = 256 << 20
	// readStep bounds what is allocated before bytes have arrived for it.
	readStep = 1 << 20
)

// FrameType says what a frame is. 1 to 15 belong to this package; below 32 frames travel in the first lane of a control connection, below
// 48 in the second.
type FrameType uint8

// The frame types.
const (
	framePing     FrameType = 1
	framePong     FrameType = 2
	frameRequest  FrameType = 3
	frameResponse FrameType = 4

	FrameMetalog   FrameType = 16 // a metalog.Message
	FrameHeartbeat FrameType = 32 // of the controller's sessions
	FrameOther     FrameType = 48 // and above: the last lane
)

// Flags of a frameResponse.
const (
	flagError     = 1 // payload is the text of the handler's error
	flagNoHandler = 2
	flagBusy      = 3
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is a decoded frame header.
type header struct {
	length uint32
	typ    FrameType
	flags  uint8
	method Method
	id     uint64
	crc    uint32
}

// seal writes the header into the first bytes of b; the payload follows.
func seal(b []byte, typ FrameType, flags uint8, method Method, id uint64) {
	binary.BigEndian.PutUint32(b, uint32(len(b)-frameHeader))
	b[4], b[5] = byte(typ), flags
	binary.BigEndian.PutUint16(b[6:], uint16(method))
	binary.BigEndian.PutUint64(b[8:], id)
	crc := crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, b[frameHeader:])
	binary.BigEndian.PutUint32(b[16:], crc)
}

// sealHeader writes the header of a payload that stands elsewhere.
func sealHeader(b, payload []byte, typ FrameType) {
	binary.BigEndian.PutUint32(b, uint32(len(payload)))
	clear(b[4:16])
	b[4] = byte(typ)
	binary.BigEndian.PutUint32(b[16:], crc32.Update(crc32.Checksum(b[:16], castagnoli), castagnoli, payload))
}

// readFrame reads a frame. The payload is appended to dst and valid as long as dst.
func readFrame(r *bufio.Reader, dst []byte) (header, []byte, error) {
	var h header
	b, err := r.Peek(frameHeader)
	if err != nil {
		if len(b) > 0 && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return h, dst, err
	}
	h = header{
		length: binary.BigEndian.Uint32(b), typ: FrameType(b[4]), flags: b[5], method: Method(binary.BigEndian.Uint16(b[6:])),
		id: binary.BigEndian.Uint64(b[8:]), crc: binary.BigEndian.Uint32(b[16:]),
	}
	if h.length > MaxFrame {
		return h, dst, fmt.Errorf("read frame: %w: %d bytes", ErrMalformed, h.length)
	}
	crc := crc32.Checksum(b[:16], castagnoli)
	_, _ = r.Discard(frameHeader) // was peeked
	for left := int(h.length); left > 0; {
		n := min(left, max(readStep, cap(dst)-len(dst)))
		at := len(dst)
		dst = slices.Grow(dst, n)[:at+n] // cleared only where it has to grow
		if _, err := io.ReadFull(r, dst[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return h, dst, err
		}
		crc = crc32.Update(crc, castagnoli, dst[at:])
		left -= n
	}
	if crc != h.crc {
		return h, dst, fmt.Errorf("read frame: %w: checksum", ErrMalformed)
	}
	return h, dst, nil
}

// outgoing is a sealed frame on its way. Its buffer goes back to the pool when it is written or dropped.
type outgoing struct {
	b    []byte
	call *call // of a request: told before the bytes leave
}

// pooledFrame bounds the buffers that are kept.
const pooledFrame = 64 << 10

var framePool = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// newFrame returns a buffer with room for the header; the payload is appended to it.
func newFrame() []byte {
	b := *framePool.Get().(*[]byte)
	return append(b[:0], make([]byte, frameHeader)...)
}

func freeFrame(b []byte) {
	if cap(b) <= pooledFrame {
		framePool.Put(&b)
	}
}
