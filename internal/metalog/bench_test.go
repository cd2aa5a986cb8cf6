package metalog

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
)

// BenchmarkProposeOne is the latency of one proposer: each change is durable and applied before the next.
func BenchmarkProposeOne(b *testing.B) {
	o := soloOptions(vfs.OS, b.TempDir(), 1)
	o.SlotBytes, o.HistoryBytes = 0, 0
	l := openSolo(b, o)
	defer l.Close()
	waitLeader(b, l)
	for b.Loop() {
		if _, err := l.Propose(context.Background(), setConfig("key", "value")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPropose measures committed and applied config changes on a real disk, with one and with many proposers.
func BenchmarkPropose(b *testing.B) {
	for _, n := range []int{8, 64, 256} {
		b.Run(fmt.Sprintf("proposers=%d", n), func(b *testing.B) {
			o := soloOptions(vfs.OS, b.TempDir(), 1)
			o.SlotBytes, o.HistoryBytes = 0, 0
			l := openSolo(b, o)
			defer l.Close()
			waitLeader(b, l)
			b.SetParallelism((n + 1) / 2) // times GOMAXPROCS, which is 2 on the reference machine
			var id atomic.Int64
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				name := fmt.Sprint(id.Add(1)) // of a broker: a resource of its own, as in real life
				p := func(*metadata.Image) ([]metadata.Event, error) {
					return []metadata.Event{&metadata.ConfigChanged{Resource: metadata.ResourceBroker, Name: name, Set: map[string]string{"key": "value"}}}, nil
				}
				for pb.Next() {
					if _, err := l.Propose(context.Background(), p); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
