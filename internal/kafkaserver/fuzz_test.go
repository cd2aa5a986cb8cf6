package kafkaserver

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzFrame: whatever a frame's first bytes say, its size is within the bounds of its API or refused.
func FuzzFrame(f *testing.F) {
	s := &Server{limits: defaultLimits}
	f.Add([]byte{0, 0, 0, 20, 0, 3, 0, 9})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0, 0})
	f.Add([]byte{0x06, 0x40, 0, 1, 0, 0})
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := s.frameSize(b)
		if err != nil || n == 0 {
			return
		}
		if n < minFrameBytes || n > s.limits.RequestMaxBytes {
			t.Fatalf("size %d accepted", n)
		}
		if len(b) >= 6 {
			if key := int16(binary.BigEndian.Uint16(b[4:])); n > s.maxFrame(key) {
				t.Fatalf("size %d accepted for key %d", n, key)
			}
		}
	})
}

// FuzzHeader: a header that is accepted lies within its frame, and the body is what follows it.
func FuzzHeader(f *testing.F) {
	f.Add([]byte{0, 3, 0, 9, 0, 0, 0, 1, 0, 1, 'c', 0, 1, 0})
	f.Add([]byte{0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 1, 5, 3, 'a', 'b', 'c', 0})
	f.Add([]byte{0, 18, 0, 3, 0, 0, 0, 1, 0x7f, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, body, err := parseHeader(b, flexibleHeader)
		if err != nil {
			return
		}
		if len(body)+len(h.clientID)+10 > len(b) {
			t.Fatalf("header and body of %d bytes in a frame of %d", len(body)+len(h.clientID)+10, len(b))
		}
	})
}

// FuzzRequest: for every key and version, what the walker accepts kmsg decodes without error, and our own readers of Produce and Fetch
// accept it too.
func FuzzRequest(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	schemas := map[[2]int16]*walkFields{}
	for _, k := range allRequests {
		for v := k[1]; v <= k[2]; v++ {
			s, err := compileSchema(k[0], v)
			if err != nil {
				f.Fatal(err)
			}
			schemas[[2]int16{k[0], v}] = s
			f.Add(k[0], v, randomRequest(r, k[0], v, true).AppendTo(nil))
		}
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		s := schemas[[2]int16{key, version}]
		if s == nil {
			return
		}
		if _, err := walkRequest(s, body); err != nil {
			return
		}
		req := requestForKey(key)
		req.SetVersion(version)
		if err := decodeRequest(req, body); err != nil {
			t.Fatalf("walked, but kmsg says %v", err)
		}
		switch kmsg.Key(key) {
		case kmsg.Produce:
			p := produceCall{version: version}
			if !p.parse(body) {
				t.Fatal("walked, but the produce reader refuses it")
			}
			want := req.(*kmsg.ProduceRequest)
			if p.acks != want.Acks || p.timeout != want.TimeoutMillis || len(p.topics) != len(want.Topics) {
				t.Fatalf("read as %d %d %d, kmsg has %+v", p.acks, p.timeout, len(p.topics), want)
			}
		case kmsg.Fetch:
			var q fetchQuery
			if !q.parse(version, body) {
				t.Fatal("walked, but the fetch reader refuses it")
			}
			want := req.(*kmsg.FetchRequest)
			if q.maxBytes != want.MaxBytes || q.sessionID != want.SessionID && version >= 7 {
				t.Fatalf("read as %+v, kmsg has %+v", q, want)
			}
		}
	})
}
