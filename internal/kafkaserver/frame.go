package kafkaserver

import (
	"encoding/binary"
	"errors"
)

// What a frame can be wrong in; each closes the connection, as with Kafka.
var (
	errFrameSize   = errors.New("frame size out of bounds")
	errHeader      = errors.New("malformed request header")
	errUnknownKey  = errors.New("API key not served")
	errVersion     = errors.New("API version not served")
	errBody        = errors.New("malformed request body")
	errBodyTooBig  = errors.New("request would take too much memory to decode")
	errPeerGone    = errors.New("peer closed the connection")
	errIdle        = errors.New("connection idle for too long")
	errSlowFrame   = errors.New("frame took too long to arrive")
	errSlowReader  = errors.New("client does not read its responses")
	errNoMemory    = errors.New("no memory for the frame in time")
	errAcksZero    = errors.New("produce with acks=0 failed") // the only way to tell such a producer
	errServerStops = errors.New("server stops")
)

// header is a parsed request header; clientID aliases the frame.
type header struct {
	key, version int16
	corrID       int32
	clientID     []byte
	nullClientID bool
}

// frameSize reads a frame's length prefix and checks it against the bound of the API that the frame names, as far as it has arrived.
// It returns 0 while b is too short to tell.
func (s *Server) frameSize(b []byte) (int, error) {
	if len(b) < 4 {
		return 0, nil
	}
	n := int(int32(binary.BigEndian.Uint32(b)))
	if n < minFrameBytes || n > s.limits.RequestMaxBytes {
		return 0, errFrameSize
	}
	if len(b) >= 6 {
		if key := int16(binary.BigEndian.Uint16(b[4:])); n > s.maxFrame(key) {
			return 0, errFrameSize
		}
	} else if n > defaultFrameBytes {
		return 0, nil // wait for the key
	}
	return n, nil
}

// maxFrame is the largest frame for an API key.
func (s *Server) maxFrame(key int16) int {
	place := apiPlace(key)
	if place < 0 || apis[place] == nil {
		return defaultFrameBytes
	}
	return min(apis[place].maxBytes, s.limits.RequestMaxBytes)
}

// parseHeader splits a frame (without its length prefix) into header and body. flexible says for a key and version whether its header
// has tags.
func parseHeader(frame []byte, flexible func(key, version int16) bool) (header, []byte, error) {
	var h header
	if len(frame) < minFrameBytes {
		return h, nil, errHeader
	}
	h.key = int16(binary.BigEndian.Uint16(frame))
	h.version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.corrID = int32(binary.BigEndian.Uint32(frame[4:]))
	b := frame[8:]
	if len(b) < 2 {
		return h, nil, errHeader
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	b = b[2:]
	switch {
	case n == -1:
		h.nullClientID = true
	case n < 0 || n > len(b):
		return h, nil, errHeader
	default:
		h.clientID, b = b[:n], b[n:]
	}
	if flexible(h.key, h.version) {
		rest, ok := skipTags(b)
		if !ok {
			return h, nil, errHeader
		}
		b = rest
	}
	return h, b, nil
}

// skipTags skips a section of tagged fields that nobody here knows.
func skipTags(b []byte) ([]byte, bool) {
	count, b, ok := readUvarint(b)
	if !ok || count > maxTagsPerStruct {
		return nil, false
	}
	for range count {
		if _, b, ok = readUvarint(b); !ok { // the tag
			return nil, false
		}
		var size uint32
		if size, b, ok = readUvarint(b); !ok || uint64(size) > uint64(len(b)) {
			return nil, false
		}
		b = b[size:]
	}
	return b, true
}

// readUvarint reads an unsigned varint of at most 32 bits.
func readUvarint(b []byte) (uint32, []byte, bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), b[1:], true
	}
	var v uint64
	for i := 0; i < len(b) && i < 5; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return uint32(v), b[i+1:], v <= 0xffffffff
		}
	}
	return 0, nil, false
}
