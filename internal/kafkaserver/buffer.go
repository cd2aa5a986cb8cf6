package kafkaserver

import (
	"math/bits"
	"sync"
)

// Buffers come in powers of two from smallestBuffer to largestBuffer; larger ones are made for the occasion. They are kept in free lists
// of our own and not in a sync.Pool: a garbage collection would empty that, and the first touch of fresh memory costs more than filling
// it.
const (
	smallestBuffer = 1 << 10
	largestBuffer  = 16 << 20
	keptPerClass   = 8 << 20 // bytes kept free of each size, at least one buffer
)

// buffer is a byte slice that goes back to its free list by release.
type buffer struct {
	b     []byte
	class int8 // -1: not kept
	taken *byteBudget
	cost  int64
}

type bufferClass struct {
	mu   sync.Mutex // guards the rest
	free []*buffer  // last in, first out: the warmest first
	low  int        // fewest free since the last trim: nobody needed those
}

var bufferClasses [15]bufferClass // 1 KiB ... 16 MiB

// getBuffer returns an empty buffer with room for n bytes.
func getBuffer(n int) *buffer {
	class := bufferClassOf(n)
	if class < 0 {
		return &buffer{b: make([]byte, 0, n), class: -1}
	}
	c := &bufferClasses[class]
	c.mu.Lock()
	if k := len(c.free); k > 0 {
		b := c.free[k-1]
		c.free[k-1] = nil
		c.free = c.free[:k-1]
		if k-1 < c.low {
			c.low = k - 1
		}
		c.mu.Unlock()
		return b
	}
	c.mu.Unlock()
	return &buffer{b: make([]byte, 0, smallestBuffer<<class), class: int8(class)}
}

// release gives the buffer and the bytes charged for it back. The buffer must not be used afterwards.
func (b *buffer) release() {
	if b == nil {
		return
	}
	if b.taken != nil {
		b.taken.give(b.cost)
		b.taken, b.cost = nil, 0
	}
	if b.class < 0 || cap(b.b) != smallestBuffer<<b.class {
		return // grown by append, or too large to keep
	}
	b.b = b.b[:0]
	c := &bufferClasses[b.class]
	c.mu.Lock()
	if len(c.free) == 0 || len(c.free) < keptPerClass>>(10+b.class) {
		c.free = append(c.free, b)
	}
	c.mu.Unlock()
}

// trimBuffers drops free buffers that nobody needed since the last call.
func trimBuffers() {
	for i := range bufferClasses {
		c := &bufferClasses[i]
		c.mu.Lock()
		drop := (c.low + 1) / 2
		if drop > len(c.free) {
			drop = len(c.free)
		}
		n := copy(c.free, c.free[drop:])
		clear(c.free[n:])
		c.free = c.free[:n]
		c.low = len(c.free)
		c.mu.Unlock()
	}
}

// bufferClassOf is the index of the smallest class with room for n bytes, -1 when there is none.
func bufferClassOf(n int) int {
	if n <= smallestBuffer {
		return 0
	}
	class := bits.Len(uint(n-1)) - 10
	if class >= len(bufferClasses) {
		return -1
	}
	return class
}
