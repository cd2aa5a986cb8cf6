package metadata

import (
	"fmt"
	"testing"

	"github.com/chronik-io/chronik/internal/uuid"
)

// bigImage has so many topics of one partition.
func bigImage(b *testing.B, topics int) *Image {
	batch := NewBatch(fixture(b))
	for i := range topics {
		if err := batch.Apply(int64(100+i), numbered(i)); err != nil {
			b.Fatal(err)
		}
	}
	im, _ := batch.Done()
	return im
}

func numbered(i int) *TopicCreated {
	return &TopicCreated{Name: fmt.Sprintf("topic-%d", i), TopicID: uuid.UUID{1, 2, byte(i >> 16), byte(i >> 8), byte(i)}, TimestampMs: 1,
		Partitions: []PartitionState{{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, Leader: 1}}, Configs: map[string]string{"retention.ms": "1000"}}
}

func BenchmarkEncode(b *testing.B) {
	ev, buf := numbered(7), []byte(nil)
	for b.Loop() {
		buf = AppendEvent(buf[:0], ev)
	}
}

func BenchmarkDecode(b *testing.B) {
	text := AppendEvent(nil, numbered(7))
	for b.Loop() {
		if _, err := DecodeEvent(text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApplyAt10k and BenchmarkApplyAt100 differ little: the cost is that of the change.
func BenchmarkApplyAt10k(b *testing.B) { benchmarkApply(b, 10_000) }
func BenchmarkApplyAt100(b *testing.B) { benchmarkApply(b, 100) }

func benchmarkApply(b *testing.B, topics int) {
	im, ev := bigImage(b, topics), numbered(topics+1)
	for b.Loop() {
		if _, _, err := Apply(im, Entry{1 << 40, ev}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdateIsr(b *testing.B) {
	im := bigImage(b, 10_000)
	t := im.Topic("topic-7")
	ev := &UpdateIsr{"topic-7", t.ID, 0, []int32{1, 2}, nil, []int64{0, 1}, 0, 1}
	for b.Loop() {
		if _, _, err := Apply(im, Entry{1 << 40, ev}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSnapshot10k(b *testing.B) {
	im := bigImage(b, 10_000)
	for b.Loop() {
		reload(b, im)
	}
}

func BenchmarkRegister10k(b *testing.B) {
	im := bigImage(b, 10_000)
	ev := &BrokerRegistered{BrokerID: 1, BrokerEpoch: 1 << 40, Incarnation: idB, DiskID: idA}
	for b.Loop() {
		if _, _, err := Apply(im, Entry{1 << 40, ev}); err != nil {
			b.Fatal(err)
		}
	}
}
