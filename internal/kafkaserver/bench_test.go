package kafkaserver

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkProduce is synchronous producers with a connection each, one record of 1 KiB in flight, over a file system in memory: what
// the server itself costs per request, without a disk and with as little client as possible.
//
//	go test -run xxx -bench Produce -cpuprofile cpu ./internal/kafkaserver
func BenchmarkProduce(b *testing.B) {
	for _, clients := range []int{1, 16, 128} {
		b.Run(fmt.Sprint("clients=", clients), func(b *testing.B) {
			s := newStack(b, Limits{})
			s.topic(b, "t", 12)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			conns := make([]*client, clients)
			for i := range conns {
				conns[i] = s.dial(b)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i, c := range conns {
				frame := c.frame(9, produceRequest("t", -1, map[int32][]byte{int32(i % 12): records(1, 1024)}))
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						c.send(frame)
						if _, err := c.read(10 * time.Second); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkFetch reads 12 partitions of 1 MiB each, again and again.
func BenchmarkFetch(b *testing.B) {
	s := newStack(b, Limits{})
	s.topic(b, "t", 12)
	c := s.dial(b)
	offsets := map[int32]int64{}
	for n := range int32(12) {
		offsets[n] = 0
		for range 16 {
			c.ask(9, produceRequest("t", -1, map[int32][]byte{n: records(64, 1024)}))
		}
	}
	frame := c.frame(12, fetchRequest("t", 0, offsets))
	b.ResetTimer()
	for b.Loop() {
		c.send(frame)
		body, err := c.read(10 * time.Second)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(body)))
	}
}

// BenchmarkProduceResponse is what completing one request costs.
func BenchmarkProduceResponse(b *testing.B) {
	p := produceCall{version: 9, topics: []produceTopic{{label: "topic", to: 4}}, parts: make([]producePart, 4)}
	b.ReportAllocs()
	for b.Loop() {
		buf := p.respond()
		if binary.BigEndian.Uint32(buf.b) == 0 {
			b.Fatal("empty")
		}
		buf.release()
	}
}

// BenchmarkProduceParse is reading one request with 12 partitions.
func BenchmarkProduceParse(b *testing.B) {
	parts := map[int32][]byte{}
	for n := range int32(12) {
		parts[n] = records(1, 1024)
	}
	req := produceRequest("t", -1, parts)
	req.SetVersion(9)
	body := req.AppendTo(nil)
	schema := apis[kmsg.Produce].schemas[9-3]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := walkRequest(schema, body); err != nil {
			b.Fatal(err)
		}
		p := produceCalls.Get().(*produceCall)
		p.version = 9
		if !p.parse(body) {
			b.Fatal("not read")
		}
		p.recycle()
	}
}
