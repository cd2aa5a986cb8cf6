package kafkaserver

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Damage far behind where a read began is remembered: the one that chronikctl partition verify comes upon, and that of the longest read there is.
func TestFarDamageIsRemembered(t *testing.T) {
	t.Run("checksum", func(t *testing.T) {
		s := damagedStack(t)
		c := s.dial(t)
		c.introduce("chronikctl")
		r := s.replica("orders", 0)
		req := chronikapi.NewPartitionChecksumRequest()
		req.TopicID, req.From, req.To = r.ID().Topic, 0, r.HighWatermark()
		if got := c.ask(0, req).(*chronikapi.PartitionChecksumResponse); got.ErrorCode != kerr.KafkaStorageError.Code {
			t.Fatalf("%+v", got)
		}
		s.knowsDamage(t)
	})
	t.Run("read", func(t *testing.T) {
		s := damagedStack(t)
		s.replica("orders", 0).ReportCorrupt(0, fmt.Errorf("read 0 to 64 MiB: %w", partition.ErrCorrupt))
		s.knowsDamage(t)
	})
}

// knowsDamage waits until the replica is known to be damaged.
func (s *stack) knowsDamage(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); s.replica("orders", 0).Damaged() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the damage was forgotten")
		}
	}
}

// damagedStack has a topic whose only segment is damaged 18 MiB behind its start.
func damagedStack(t *testing.T) *stack {
	t.Helper()
	const damage = 18 << 20
	s := newStack(t, Limits{})
	s.topic(t, "orders", 1)
	ctx, stop := context.WithCancel(t.Context())
	var maintenance sync.WaitGroup
	maintenance.Go(func() { _ = s.deps.Store.Run(ctx) })
	t.Cleanup(func() { stop(); maintenance.Wait() })
	l := s.replica("orders", 0).Log()
	for end := time.Now().Add(20 * time.Second); ; {
		infos, err := l.SegmentInfos()
		if err != nil || time.Now().After(end) {
			t.Fatal("no segment has so much", infos, err)
		}
		if !infos[0].InWAL && infos[0].Bytes > damage+2<<20 {
			break
		}
		if l.End() < 64 { // more than half of the WAL, which is written to segments then
			s.fill(t, "orders", 0, slices.Repeat([]int{1 << 20}, 4)...)
		}
		time.Sleep(5 * time.Millisecond)
	}
	path := fmt.Sprintf("data/topics/%s/0/%020d.log", s.replica("orders", 0).ID().Topic, 0)
	f, err := s.fs.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), damage); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}
