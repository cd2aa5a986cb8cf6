package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is the compression of a batch's records, as in its attributes.
type Codec int8

// Codecs of Kafka.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String is the codec's name in Kafka's configuration.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec-%d", int8(c))
}

// maxPooledBuffer is the largest buffer kept for reuse.
const maxPooledBuffer = 4 << 20

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if cap(*b) <= maxPooledBuffer {
		buffers.Put(b)
	}
}

var (
	gzipReaders sync.Pool // *gzip.Reader
	gzipWriters sync.Pool // *gzip.Writer
	lz4Readers  sync.Pool // *lz4.Reader
	lz4Writers  sync.Pool // *lz4.Writer

	// zstdDecoders holds one decoder per power of two of the output cap, because a decoder's cap is fixed. They are safe for
	// concurrent DecodeAll.
	zstdDecoders [64]atomic.Pointer[zstd.Decoder]
	zstdEncoder  = sync.OnceValues(func() (*zstd.Encoder, error) { return zstd.NewWriter(nil) })
)

// Decompress appends the decompressed src to dst. More than limit bytes give ErrDecompressedSize, bad input ErrDecompress, an
// unknown codec ErrCodec. On error dst is returned as far as it got, only for its memory.
func Decompress(codec Codec, dst, src []byte, limit int) ([]byte, error) {
	var err error
	start := len(dst)
	switch codec {
	case None:
		if len(src) > limit {
			return dst, fmt.Errorf("copy %d bytes: %w", len(src), ErrDecompressedSize)
		}
		return append(dst, src...), nil
	case Gzip:
		dst, err = gunzip(dst, src, limit)
	case Snappy:
		dst, err = unsnappy(dst, src, limit)
	case LZ4:
		dst, err = unlz4(dst, src, limit)
	case Zstd:
		dst, err = unzstd(dst, src, limit)
	default:
		return dst, fmt.Errorf("decompress codec %d: %w", codec, ErrCodec)
	}
	if err == nil && len(dst)-start > limit {
		err = ErrDecompressedSize
	}
	if err != nil {
		if !errors.Is(err, ErrDecompressedSize) {
			err = fmt.Errorf("%w: %w", ErrDecompress, err)
		}
		return dst, fmt.Errorf("decompress %d bytes of %s: %w", len(src), codec, err)
	}
	return dst, nil
}

// readAll appends what r gives to dst, up to one byte more than limit.
func readAll(dst []byte, r io.Reader, limit int) ([]byte, error) {
	start := len(dst)
	for {
		if len(dst)-start > limit {
			return dst, ErrDecompressedSize
		}
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		free := dst[len(dst):min(cap(dst), start+limit+1)]
		n, err := r.Read(free)
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

func gunzip(dst, src []byte, limit int) ([]byte, error) {
	z, _ := gzipReaders.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer gzipReaders.Put(z)
	if err := z.Reset(bytes.NewReader(src)); err != nil {
		return dst, err
	}
	return readAll(dst, z, limit)
}

func unlz4(dst, src []byte, limit int) ([]byte, error) {
	z, _ := lz4Readers.Get().(*lz4.Reader)
	if z == nil {
		z = lz4.NewReader(nil)
	}
	defer lz4Readers.Put(z)
	z.Reset(bytes.NewReader(src))
	return readAll(dst, z, limit)
}

func unzstd(dst, src []byte, limit int) ([]byte, error) {
	class := bits.Len(uint(max(len(dst)+limit, 1<<16)))
	d := zstdDecoders[class].Load()
	if d == nil {
		var err error
		d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(1<<class))
		if err != nil {
			return dst, err
		}
		if !zstdDecoders[class].CompareAndSwap(nil, d) {
			d.Close()
			d = zstdDecoders[class].Load()
		}
	}
	out, err := d.DecodeAll(src, dst)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return out, ErrDecompressedSize
	}
	return out, err
}

// xerialMagic starts the framing that Java's snappy streams put around blocks: 8 bytes, then version and compatible version of 4 each,
// then blocks of {4 bytes length, snappy block}.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeader = 16
	xerialBlock  = 32 << 10
)

var errXerial = errors.New("bad snappy framing")

func unsnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return unsnappyBlock(dst, src, limit)
	}
	if len(src) < xerialHeader {
		return dst, errXerial
	}
	start := len(dst)
	for src = src[xerialHeader:]; len(src) > 0; {
		if len(src) < 4 {
			return dst, errXerial
		}
		n := binary.BigEndian.Uint32(src)
		if uint64(n) > uint64(len(src)-4) {
			return dst, errXerial
		}
		var err error
		if dst, err = unsnappyBlock(dst, src[4:4+n], limit-(len(dst)-start)); err != nil {
			return dst, err
		}
		src = src[4+n:]
	}
	return dst, nil
}

// maxSnappyRatio bounds what a block may claim to unpack to, so that a few bytes cannot make us allocate up to the cap: a copy of
// 64 bytes takes three.
const maxSnappyRatio = 32

func unsnappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return dst, err
	}
	if n > limit {
		return dst, ErrDecompressedSize
	}
	if n > maxSnappyRatio*len(src) {
		return dst, errXerial
	}
	if cap(dst)-len(dst) < n {
		grown := make([]byte, len(dst), max(2*cap(dst), len(dst)+n))
		copy(grown, dst)
		dst = grown
	}
	out, err := snappy.Decode(dst[len(dst):len(dst)+n], src)
	if err != nil {
		return dst, err
	}
	return dst[:len(dst)+len(out)], nil
}

// Compress appends the compressed src to dst.
func Compress(codec Codec, dst, src []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		buf := bytes.NewBuffer(dst)
		z, _ := gzipWriters.Get().(*gzip.Writer)
		if z == nil {
			z = gzip.NewWriter(buf)
		} else {
			z.Reset(buf)
		}
		defer gzipWriters.Put(z)
		return finish(codec, buf, z, src)
	case LZ4:
		buf := bytes.NewBuffer(dst)
		z, _ := lz4Writers.Get().(*lz4.Writer)
		if z == nil {
			z = lz4.NewWriter(buf)
		} else {
			z.Reset(buf)
		}
		defer lz4Writers.Put(z)
		return finish(codec, buf, z, src)
	case Snappy:
		return xerial(dst, src), nil
	case Zstd:
		e, err := zstdEncoder()
		if err != nil {
			return dst, fmt.Errorf("make zstd encoder: %w", err)
		}
		return e.EncodeAll(src, dst), nil
	}
	return dst, fmt.Errorf("compress with codec %d: %w", codec, ErrCodec)
}

func finish(codec Codec, buf *bytes.Buffer, z io.WriteCloser, src []byte) ([]byte, error) {
	if _, err := z.Write(src); err != nil {
		return nil, fmt.Errorf("compress %s: %w", codec, err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("compress %s: %w", codec, err)
	}
	return buf.Bytes(), nil
}

func xerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	buf := getBuffer()
	defer putBuffer(buf)
	for len(src) > 0 {
		n := min(len(src), xerialBlock)
		block := snappy.Encode((*buf)[:cap(*buf)], src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		src = src[n:]
	}
	return dst
}
