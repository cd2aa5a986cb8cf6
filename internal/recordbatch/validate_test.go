package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

const testTime = 1_700_000_000_000

// build makes a batch of n records and lets edit change it before the CRC is set anew.
func build(t testing.TB, codec Codec, n int, edit func(b []byte)) []byte {
	t.Helper()
	b := NewBuilder()
	for i := range n {
		b.Append(testTime+int64(i), []byte("key"), []byte("value"), RecordHeader{Key: "h", Value: nil})
	}
	out, err := b.Build(codec)
	if err != nil {
		t.Fatal(err)
	}
	out = bytes.Clone(out)
	if edit != nil {
		edit(out)
		binary.BigEndian.PutUint32(out[positionCRC:], Checksum(out))
	}
	return out
}

func put32(at int, v int32) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
}

// relength appends tail inside the batch.
func relength(b, tail []byte) []byte {
	b = append(b, tail...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-lengthEnd))
	binary.BigEndian.PutUint32(b[positionCRC:], Checksum(b))
	return b
}

func TestValidateAnswersLikeKafka(t *testing.T) {
	good := func() []byte { return build(t, None, 2, nil) }
	tests := []struct {
		name string
		b    []byte
		want error
	}{
		{"good", good(), nil},
		{"stray bytes after it", append(good(), 1, 2, 3), nil},
		{"a cut batch after it", append(good(), good()[:70]...), nil},
		{"two batches", append(good(), good()...), ErrManyBatches},
		{"empty", nil, ErrNoBatch},
		{"cut", good()[:len(good())-5], ErrNoBatch},
		{"length too long", func() []byte { b := good(); put32(8, int32(len(b)))(b); return b }(), ErrNoBatch},
		{"length too small", func() []byte { b := good(); put32(8, 20)(b); return b }(), ErrTooShort},
		{"length negative", func() []byte { b := good(); put32(8, -1)(b); return b }(), ErrTooShort},
		{"crc", func() []byte { b := good(); b[len(b)-1] ^= 1; return b }(), ErrCRC},
		{"magic 0", func() []byte { b := good(); b[16] = 0; return b }(), ErrOldMagic},
		{"magic 1", func() []byte { b := good(); b[16] = 1; return b }(), ErrOldMagic},
		{"magic 3", func() []byte { b := good(); b[16] = 3; return b }(), ErrMagic},
		{"magic -1", func() []byte { b := good(); b[16] = 255; return b }(), ErrMagic},
		{"base offset", func() []byte { b := good(); PatchBaseOffset(b, 40); return b }(), ErrBaseOffset},
		{"leader epoch is the broker's", func() []byte { b := good(); PatchLeaderEpoch(b, 77); return b }(), nil},
		{"count too high", build(t, None, 2, put32(57, 3)), ErrCount},
		{"count negative", build(t, None, 1, put32(57, -1)), ErrCount},
		{"no records", build(t, None, 0, put32(23, 0)), ErrCount},
		{"count and last offset too high", build(t, None, 2, func(b []byte) { put32(57, 3)(b); put32(23, 2)(b) }), ErrRecords},
		{"count and last offset too low", build(t, None, 2, func(b []byte) { put32(57, 1)(b); put32(23, 0)(b) }), ErrRecords},
		{"last offset delta off", build(t, None, 2, put32(23, 5)), ErrCount},
		{"count at the edge", build(t, None, 2, func(b []byte) { put32(57, math.MinInt32)(b); put32(23, math.MaxInt32)(b) }), ErrCount},
		{"bytes after the records", relength(good(), []byte{1, 2, 3}), ErrRecords},
		{"codec 5", build(t, None, 1, func(b []byte) { b[22] = 5 }), ErrCodec},
		{"codec 7", build(t, None, 1, func(b []byte) { b[22] = 7 }), ErrCodec},
		{"gzip that is none", build(t, None, 1, func(b []byte) { b[22] = 1 }), ErrDecompress},
		{"snappy that is none", build(t, None, 1, func(b []byte) { b[22] = 2 }), ErrDecompress},
		{"lz4 that is none", build(t, None, 1, func(b []byte) { b[22] = 3 }), ErrDecompress},
		{"zstd that is none", build(t, None, 1, func(b []byte) { b[22] = 4 }), ErrDecompress},
		{"control", build(t, None, 1, func(b []byte) { b[22] = attrControl }), ErrControl},
		{"log append time flag", build(t, None, 1, func(b []byte) { b[22] = attrLogAppendTime }), nil},
		{"producer without sequence", build(t, None, 1, func(b []byte) { binary.BigEndian.PutUint64(b[43:], 9) }), ErrSequence},
		{"offset delta off", build(t, None, 2, func(b []byte) { b[HeaderSize+3] = 2 }), ErrRecords},
		{"gzip", build(t, Gzip, 3, nil), nil},
		{"snappy", build(t, Snappy, 3, nil), nil},
		{"lz4", build(t, LZ4, 3, nil), nil},
		{"zstd", build(t, Zstd, 3, nil), nil},
		{"gzip, count too high", build(t, Gzip, 2, func(b []byte) { put32(57, 3)(b); put32(23, 2)(b) }), ErrRecords},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			info, err := Validate(tt.b, Limits{Deep: true, DeepCompressed: true})
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (!info.Walked || info.Size() > len(tt.b)) {
				t.Fatalf("accepted without a walk, or larger than it is: %+v", info)
			}
		})
	}
}

func TestValidateLimits(t *testing.T) {
	b := build(t, None, 3, nil)
	if _, err := Validate(b, Limits{MaxBytes: len(b) - 1}); !errors.Is(err, ErrTooLarge) {
		t.Fatal(err)
	}
	for name, l := range map[string]Limits{
		"too old":        {Deep: true, CheckTimestamps: true, NowMs: testTime + 1001, BeforeMaxMs: 1000, AfterMaxMs: 0},
		"too old, cheap": {CheckTimestamps: true, NowMs: testTime + 1001, BeforeMaxMs: 1000, AfterMaxMs: 0},
		"too new":        {Deep: true, CheckTimestamps: true, NowMs: testTime - 1002, BeforeMaxMs: 1000, AfterMaxMs: 1002},
		"too new, cheap": {CheckTimestamps: true, NowMs: testTime - 1000, BeforeMaxMs: 1000, AfterMaxMs: 1001},
	} {
		_, err := Validate(b, l)
		var e *RecordsError
		if !errors.Is(err, ErrTimestamp) || !errors.As(err, &e) || len(e.Records) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Validate(b, Limits{Deep: true, CheckTimestamps: true, NowMs: testTime, BeforeMaxMs: math.MaxInt64, AfterMaxMs: 2}); err != nil {
		t.Fatal(err)
	}
	nb := NewBuilder()
	nb.Append(-1, []byte("k"), nil)
	nb.Append(-1, nil, []byte("v"))
	b, _ = nb.Build(None)
	_, err := Validate(b, Limits{Deep: true, RequireKey: true, CheckTimestamps: true, NowMs: testTime})
	var e *RecordsError
	if !errors.Is(err, ErrNullKey) || !errors.As(err, &e) || len(e.Records) != 1 || e.Records[0].Index != 1 {
		t.Fatalf("no time is within any bound, but a key is missing: %v", err)
	}
}

// The header's max timestamp is a client's claim; a deep check tells the true one, for SetTimestamps to correct.
func TestMaxTimestampIsCorrected(t *testing.T) {
	b := build(t, None, 3, func(b []byte) { binary.BigEndian.PutUint64(b[positionMaxTime:], 5); b[22] |= attrLogAppendTime })
	info, err := Validate(b, Limits{Deep: true})
	if err != nil || info.MaxRecordTimestamp != testTime+2 {
		t.Fatal(info.MaxRecordTimestamp, err)
	}
	SetTimestamps(b, false, info.MaxRecordTimestamp)
	h, err := VerifyCRC(b)
	if err != nil || h.MaxTimestamp != testTime+2 || h.LogAppendTime() {
		t.Fatal(h, err)
	}
	SetLogAppendTime(b, 77)
	if h, err = VerifyCRC(b); err != nil || h.MaxTimestamp != 77 || !h.LogAppendTime() {
		t.Fatal(h, err)
	}
	for r, err := range Records(b, 0) {
		if err != nil || r.Timestamp != 77 {
			t.Fatal(r, err)
		}
	}
}

func TestRecordsRoundTrip(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		b := NewBuilder()
		b.SetProducer(7, 1, math.MaxInt32)
		b.SetBaseOffset(100)
		b.SetTransactional()
		b.Append(testTime, nil, []byte{})
		b.Append(testTime+5, []byte("k"), nil, RecordHeader{"a", []byte("1")}, RecordHeader{"b", nil})
		b.Append(testTime-5, bytes.Repeat([]byte("x"), 100_000), nil)
		out, err := b.Build(codec)
		if err != nil {
			t.Fatal(err)
		}
		h, err := VerifyCRC(out)
		if err != nil || h.Codec() != codec || h.LastOffset() != 102 || h.MaxTimestamp != testTime+5 || h.LastSequence() != 1 || !h.Transactional() {
			t.Fatalf("%s: %+v %v", codec, h, err)
		}
		var got []Record
		for r, err := range Records(out, 1<<20) {
			if err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
			if r.Offset == 101 {
				hs := r.Headers()
				if len(hs) != 2 || hs[0].Key != "a" || string(hs[0].Value) != "1" || hs[1].Value != nil {
					t.Fatalf("headers %v", hs)
				}
			}
			got = append(got, r)
		}
		if len(got) != 3 || got[0].Key != nil || got[0].Value == nil || got[1].Value != nil || got[2].Timestamp != testTime-5 || len(got[2].Key) != 100_000 {
			t.Fatalf("%s: %d records", codec, len(got))
		}
	}
}

func TestDecompressionStopsAtTheCap(t *testing.T) {
	big := make([]byte, 8<<20)
	for codec := Gzip; codec <= Zstd; codec++ {
		c, err := Compress(codec, nil, big)
		if err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{0, 1, 1000, 1 << 20, len(big) - 1} {
			out, err := Decompress(codec, nil, c, limit)
			if !errors.Is(err, ErrDecompressedSize) {
				t.Fatalf("%s, limit %d: %v", codec, limit, err)
			}
			if len(out) > 2*limit+128<<10 {
				t.Fatalf("%s, limit %d: %d bytes made", codec, limit, len(out))
			}
		}
		out, err := Decompress(codec, []byte("ab"), c, len(big))
		if err != nil || len(out) != len(big)+2 || string(out[:2]) != "ab" {
			t.Fatalf("%s: %d %v", codec, len(out), err)
		}
	}
}

// Sarama, librdkafka and segmentio send snappy without the framing of Java's streams.
func TestSnappyWithoutFraming(t *testing.T) {
	raw := []byte{5, 4 << 2, 'h', 'e', 'l', 'l', 'o'}
	out, err := Decompress(Snappy, nil, raw, 5)
	if err != nil || string(out) != "hello" {
		t.Fatal(string(out), err)
	}
}

func TestSequenceWraps(t *testing.T) {
	if got := IncrementSequence(math.MaxInt32, 1); got != 0 {
		t.Fatal(got)
	}
	if got := IncrementSequence(math.MaxInt32-1, 3); got != 1 {
		t.Fatal(got)
	}
}

func TestDeepWalkAllocatesNothing(t *testing.T) {
	b := build(t, None, 100, nil)
	l := Limits{Deep: true, CheckTimestamps: true, NowMs: testTime, BeforeMaxMs: 1000, AfterMaxMs: 1000}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Validate(b, l); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzValidate(f *testing.F) {
	for codec := None; codec <= Zstd; codec++ {
		f.Add(build(f, codec, 3, nil))
	}
	f.Add(relength(build(f, None, 2, nil), []byte{1, 2, 3}))
	f.Add(append(build(f, None, 1, nil), build(f, None, 1, nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= HeaderSize { // let the records be reached
			b = bytes.Clone(b)
			binary.BigEndian.PutUint32(b[positionCRC:], Checksum(b))
		}
		info, err := Validate(b, Limits{Deep: true, DeepCompressed: true, MaxDecompressed: 1 << 20})
		n := 0
		for r, rerr := range Records(b, 1<<20) {
			if rerr != nil {
				if err == nil {
					t.Fatalf("valid, but cannot be read: %v", rerr)
				}
				return
			}
			r.Headers()
			n++
		}
		if err == nil && n != int(info.Count) {
			t.Fatalf("%d records, header says %d", n, info.Count)
		}
	})
}

func FuzzDecompress(f *testing.F) {
	for codec := Gzip; codec <= Zstd; codec++ {
		c, _ := Compress(codec, nil, bytes.Repeat([]byte("chronik "), 100))
		f.Add(int8(codec), c)
	}
	f.Fuzz(func(t *testing.T, codec int8, b []byte) {
		const limit = 1 << 16
		out, err := Decompress(Codec(codec), nil, b, limit)
		if err == nil && len(out) > limit {
			t.Fatalf("%d bytes out", len(out))
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	for _, n := range []int{1, 1000} {
		for _, codec := range []Codec{None, LZ4} {
			b.Run(codec.String()+"/"+map[int]string{1: "1", 1000: "1000"}[n], func(b *testing.B) {
				batch := build(b, codec, n, nil)
				b.SetBytes(int64(len(batch)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Validate(batch, Limits{Deep: true, DeepCompressed: true}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
