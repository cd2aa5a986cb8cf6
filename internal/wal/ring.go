package wal

import (
	"fmt"
	"sync/atomic"
)

// chunk is a piece of memory that holds consecutive commits, one after the other, as they are on disk.
//
// All fields but pins are guarded by WAL.mu. mem itself is written only by Append (frames, under WAL.mu) and by the
// commit goroutine (header and padding of the commit it took); a reader touches only payloads of records that Append
// has returned.
type chunk struct {
	mem      []byte
	used     int      // end of the last sealed commit
	firstSeq uint64   // sequence of the first commit in it
	offsets  []uint32 // offset in mem of each commit from firstSeq on
	large    bool     // made for one record; freed, not reused

	// pins counts readers. It rises under WAL.mu only, so whoever holds the lock and sees zero owns the memory.
	pins atomic.Int32
}

// lastSeq is the sequence of the last commit placed in the chunk.
func (c *chunk) lastSeq() uint64 { return c.firstSeq + uint64(len(c.offsets)) - 1 }

// ring is the memory of recent commits: chunks in order of their commits, the last one being filled. Guarded by
// WAL.mu.
type ring struct {
	maxBytes  int64
	chunkSize int64
	chunks    []*chunk // oldest first
	bytes     int64    // of all chunks
	waiting   atomic.Bool
}

// tail returns the chunk that is being filled if it has room for n bytes.
func (r *ring) tail(n int64) *chunk {
	if len(r.chunks) == 0 {
		return nil
	}
	c := r.chunks[len(r.chunks)-1]
	if c.large || int64(len(c.mem)-c.used) < n {
		return nil
	}
	return c
}

// grow adds a chunk for a commit of n bytes, dropping the oldest commits as needed. It returns nil without an error
// when these are still needed: not durable, or being read.
func (r *ring) grow(n int64, durable uint64) (*chunk, error) {
	size, large := r.chunkSize, false
	if n > size {
		size, large = n, true
	}
	var reuse *chunk
	for r.bytes+size > r.maxBytes && len(r.chunks) > 0 {
		oldest := r.chunks[0]
		// Set before looking: a reader that lets go after this look sees it and wakes us.
		r.waiting.Store(true)
		if oldest.lastSeq() > durable || oldest.pins.Load() > 0 {
			if reuse != nil {
				freeMemory(reuse.mem)
			}
			return nil, nil
		}
		r.waiting.Store(false)
		r.chunks[0] = nil
		r.chunks = r.chunks[1:]
		r.bytes -= int64(len(oldest.mem))
		if reuse == nil && !oldest.large && !large {
			reuse = oldest
			continue
		}
		freeMemory(oldest.mem)
	}
	if reuse == nil {
		mem, err := allocMemory(int(size))
		if err != nil {
			return nil, fmt.Errorf("allocate %d bytes for the ring: %w", size, err)
		}
		reuse = &chunk{mem: mem, large: large}
	}
	reuse.used, reuse.firstSeq, reuse.offsets = 0, 0, reuse.offsets[:0]
	r.chunks = append(r.chunks, reuse)
	r.bytes += int64(len(reuse.mem))
	return reuse, nil
}

// place puts commit seq at the end of the tail chunk c.
func (c *chunk) place(seq uint64) {
	if len(c.offsets) == 0 {
		c.firstSeq = seq
	}
	c.offsets = append(c.offsets, uint32(c.used))
}

// find returns the chunk of commit seq and the commit's offset in it, or nil.
func (r *ring) find(seq uint64) (*chunk, uint32) {
	lo, hi := 0, len(r.chunks)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if r.chunks[mid].lastSeq() < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(r.chunks) || seq < r.chunks[lo].firstSeq {
		return nil, 0
	}
	c := r.chunks[lo]
	return c, c.offsets[seq-c.firstSeq]
}

// free gives all memory back; no reader may hold a pin.
func (r *ring) free() {
	for _, c := range r.chunks {
		freeMemory(c.mem)
	}
	r.chunks, r.bytes = nil, 0
}
