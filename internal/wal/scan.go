package wal

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronik-io/chronik/internal/vfs"
)

// window is how much of a slot is read at once.
const window = 4 << 20

// reader reads a slot file in large pieces; bytes behind the end of the file read as zeros. The buffer is handed from
// slot to slot.
type reader struct {
	f    vfs.File
	path string
	size int64 // of the slot
	end  int64 // of the file, at most size
	buf  []byte
	from int64 // position of buf[0]
	n    int   // valid bytes in buf
}

// view returns n bytes at pos; they are valid until the next call. pos+n must not pass size.
func (r *reader) view(pos int64, n int) ([]byte, error) {
	if pos < r.from || pos+int64(n) > r.from+int64(r.n) {
		want := int(min(max(int64(n), window), r.size-pos))
		if cap(r.buf) < want {
			r.buf = make([]byte, want)
		}
		r.buf, r.from, r.n = r.buf[:want], pos, 0
		have := int(max(0, min(int64(want), r.end-pos)))
		if have > 0 {
			got, err := r.f.ReadAt(r.buf[:have], pos)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("read %s at %d: %w", r.path, pos, err)
			}
			have = got
		}
		clear(r.buf[have:])
		r.n = want
	}
	at := int(pos - r.from)
	return r.buf[at : at+n], nil
}

// verdict is what stands at the place where a commit is expected.
type verdict int

const (
	commitValid verdict = iota
	commitNone          // nothing that was a commit of this generation, or nothing at all
	commitTorn          // a commit of which sectors are missing
	commitBad           // a commit that was damaged after it was written
)

// examine judges the bytes at pos, where commit seq of the slot is expected. data is the whole commit when valid.
func (s *slot) examine(r *reader, pos int64, seq uint64) (v verdict, h commitHeader, data []byte, why string, err error) {
	block, err := r.view(pos, blockSize)
	if err != nil {
		return 0, h, nil, "", err
	}
	h, ok := decodeCommitHeader(block, s.salt)
	if !ok {
		switch {
		case resemblesHeader(block, s.salt, seq):
			return commitBad, h, nil, "commit header damaged", nil
		case s.zeroed && !allZero(block[:sectorSize]):
			return commitBad, h, nil, "bytes that are no commit header", nil
		}
		return commitNone, h, nil, "", nil
	}
	if h.Seq != seq {
		return commitBad, h, nil, fmt.Sprintf("commit %d in place of %d", h.Seq, seq), nil
	}
	if pos+h.size() > s.size {
		return commitBad, h, nil, "commit longer than its slot", nil
	}
	data, err = r.view(pos, int(h.size()))
	if err != nil {
		return 0, h, nil, "", err
	}
	if verifyBody(h, data[commitHeaderSize:]) {
		return commitValid, h, data, "", nil
	}
	// Where nothing but zeros was before, a sector that never arrived is one more that is all zeros. Where an earlier
	// generation wrote, missing sectors cannot be told from damaged ones; the Seal behind an idle log's last commit is
	// what protects it there.
	if s.zeroed && countZeroSectors(data[sectorSize:]) <= h.ZeroSectors {
		return commitBad, h, nil, "commit body damaged, no sector is missing", nil
	}
	return commitTorn, h, nil, "commit body incomplete", nil
}

// findLater looks for a commit header of this generation behind pos, where commit seq is expected. One with a sequence
// that cannot be is reported too: it is no torn write.
func (s *slot) findLater(r *reader, pos int64, seq uint64) (at int64, h commitHeader, found, possible bool, err error) {
	for at = pos + blockSize; at+blockSize <= s.size && at < r.end; at += blockSize {
		b, err := r.view(at, blockSize)
		if err != nil {
			return 0, h, false, false, err
		}
		if h, ok := decodeCommitHeader(b, s.salt); ok {
			possible := h.Seq > seq && h.Seq-seq <= uint64((at-pos)/blockSize)
			return at, h, true, possible, nil
		}
	}
	return 0, h, false, false, nil
}

// lastNonZero returns the end of the last block of the slot from pos on that is not all zeros, or pos.
func (s *slot) lastNonZero(r *reader, pos int64) (int64, error) {
	last := pos
	for at := pos; at+blockSize <= s.size && at < r.end; at += blockSize {
		b, err := r.view(at, blockSize)
		if err != nil {
			return 0, err
		}
		if !allZero(b) {
			last = at + blockSize
		}
	}
	return last, nil
}

// eachFrame calls fn for the frames of a valid commit.
func eachFrame(h commitHeader, data []byte, fn func(kind byte, off int, payload []byte) error) error {
	off := commitHeaderSize
	for range h.Frames {
		f, _ := getFrameHeader(data[off:])
		off += frameHeaderSize
		if err := fn(f.Kind, off, data[off:off+int(f.Len)]); err != nil {
			return err
		}
		off += int(f.Len)
	}
	return nil
}
