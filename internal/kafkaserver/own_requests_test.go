package kafkaserver

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// introduce sends ApiVersions with a software name and returns the advertised keys.
func (c *client) introduce(software string) []int16 {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = software, "1"
	var keys []int16
	for _, k := range c.ask(3, req).(*kmsg.ApiVersionsResponse).ApiKeys {
		keys = append(keys, k.ApiKey)
	}
	return keys
}

// For all but our own clients the private keys do not exist: they are not advertised, and whoever uses them is cut off.
func TestOwnRequestsAreForOurClients(t *testing.T) {
	s := newStack(t, Limits{})
	for _, software := range []string{"", "kgo", "apache-kafka-java"} {
		for k := chronikapi.FirstKey; k <= chronikapi.LastKey; k++ {
			c := s.dial(t)
			if software != "" && slices.Contains(c.introduce(software), k) {
				t.Errorf("key %d is advertised to %s", k, software)
			}
			c.send(c.frame(0, chronikapi.RequestForKey(k)))
			c.closed(5 * time.Second)
		}
	}
	c := s.dial(t)
	keys := c.introduce("chronikctl")
	for k := chronikapi.FirstKey; k <= chronikapi.LastKey; k++ {
		if !slices.Contains(keys, k) {
			t.Errorf("key %d is not advertised to chronikctl", k)
		}
	}
	if !slices.IsSorted(keys) {
		t.Errorf("keys are not in order: %v", keys)
	}
}

func TestNodeInfo(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "orders", 3)
	c := s.dial(t)
	c.introduce("chronikctl")
	im := s.image()
	req := chronikapi.NewNodeInfoRequest()
	req.HashAt = im.Offset()
	info := c.ask(req.MaxVersion(), req).(*chronikapi.NodeInfoResponse)
	if info.NodeID != 1 || info.ClusterID != "c" || info.Role != "leader" || !info.Voter || info.Leader != 1 || info.FaultFrom != chronikapi.None {
		t.Errorf("identity or role: %+v", info)
	}
	if info.ImageOffset != im.Offset() || info.ImageHash != im.Hash().Bytes() || info.Applied != im.Offset()+1 || info.Commit < info.Applied {
		t.Errorf("offsets or hash: %+v, the image is at %d", info, im.Offset())
	}
	entries, _, err := s.deps.Meta.ReadEntries(im.Offset(), 1)
	if err != nil || info.EntryOffset != im.Offset() || info.EntryHash != entries[0].Hash {
		t.Errorf("entry %d has hash %x here, %v", info.EntryOffset, info.EntryHash, err)
	}
	if s.deps.Config.MinFreeBytes == 0 || info.DiskFull || info.MinFreeBytes != s.deps.Config.MinFreeBytes {
		t.Errorf("disk full: %v below %d bytes", info.DiskFull, info.MinFreeBytes)
	}
	if info.Leaders != 3 || info.Replicas != 3 {
		t.Errorf("%d leaders, %d replicas", info.Leaders, info.Replicas)
	}
	req.HashAt = info.Commit + 100
	if info := c.ask(req.MaxVersion(), req).(*chronikapi.NodeInfoResponse); info.EntryOffset != chronikapi.None {
		t.Errorf("an entry that is not there has a hash: %+v", info)
	}
}

func TestNodeStats(t *testing.T) {
	s := newStack(t, Limits{})
	c := s.dial(t)
	c.introduce("chronik-top")
	first := c.ask(0, &chronikapi.NodeStatsRequest{}).(*chronikapi.NodeStatsResponse)
	second := c.ask(0, &chronikapi.NodeStatsRequest{}).(*chronikapi.NodeStatsResponse)
	count := func(r *chronikapi.NodeStatsResponse, key int16) int64 {
		for _, k := range r.Requests {
			if k.Key == key {
				return k.Count
			}
		}
		return 0
	}
	if n := count(second, chronikapi.NodeStats); n != 2 || count(second, int16(kmsg.ApiVersions)) != 1 {
		t.Errorf("counted %d of its own requests: %+v", n, second.Requests)
	}
	if second.BytesIn <= first.BytesIn || second.BytesOut <= first.BytesOut || second.Connections != 1 || second.HeapBytes == 0 || second.SyncP50Us != chronikapi.None {
		t.Errorf("%+v after %+v", second, first)
	}
}

func TestGetImage(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "orders", 2)
	c := s.dial(t)
	c.introduce("chronikctl")
	want := s.image()
	got := c.ask(0, &chronikapi.GetImageRequest{Offset: 1 << 40}).(*chronikapi.GetImageResponse)
	im, err := metadata.Decode(bytes.NewReader(got.Image))
	if err != nil || got.Offset != want.Offset() || im.Hash() != want.Hash() || got.Hash != want.Hash().Bytes() || got.Redacted != 0 {
		t.Errorf("image at %d, %v, not that at %d", got.Offset, err, want.Offset())
	}
	// All of the log is there, so what is older begins with nothing.
	got = c.ask(0, &chronikapi.GetImageRequest{Offset: want.Offset() - 1}).(*chronikapi.GetImageResponse)
	if im, err := metadata.Decode(bytes.NewReader(got.Image)); err != nil || got.Offset != -1 || im.Offset() != -1 {
		t.Errorf("image at %d, %v", got.Offset, err)
	}
	if got := c.ask(0, &chronikapi.GetImageRequest{Offset: -7}).(*chronikapi.GetImageResponse); got.ErrorCode != kerr.OffsetOutOfRange.Code || got.ErrorMessage == "" {
		t.Errorf("an image before the first: %+v", got)
	}
	if n := s.fetchBudget.inUse(); n != 0 {
		t.Errorf("%d bytes are still charged", n)
	}
	// A body that ends early never reaches the handler.
	b := c.frame(0, &chronikapi.GetImageRequest{})
	b = b[:len(b)-3]
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	c.send(b)
	c.closed(5 * time.Second)
}

// A node tells of its own log, part by part: the same checksum as at once, whoever asks; what it does not have is an error.
func TestPartitionChecksum(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "orders", 2)
	s.fill(t, "orders", 1, 100, 5000, 300)
	c := s.dial(t)
	c.introduce("chronikctl")
	r := s.replica("orders", 1)
	want, n, err := r.Log().Checksum(0, 3)
	if err != nil || n != 3 {
		t.Fatal(n, err)
	}
	ask := func(from, to int64, crc int32) *chronikapi.PartitionChecksumResponse {
		req := chronikapi.NewPartitionChecksumRequest()
		req.TopicID, req.Partition, req.From, req.To, req.CRC = r.ID().Topic, 1, from, to, crc
		return c.ask(0, req).(*chronikapi.PartitionChecksumResponse)
	}
	if got := ask(chronikapi.None, chronikapi.None, 0); got.ErrorCode != 0 || got.NodeID != 1 || !got.Leads || got.Start != 0 || got.End != 3 ||
		got.HighWatermark != 3 || got.Durable != 3 || got.LeaderEpoch != r.LeaderEpoch() || got.Next != chronikapi.None {
		t.Errorf("bounds: %+v", got)
	}
	if got := ask(0, 3, 0); got.ErrorCode != 0 || uint32(got.CRC) != want || got.Batches != 3 || got.Next != 3 {
		t.Errorf("%+v, want checksum %08x", got, want)
	}
	if got := ask(2, 3, ask(0, 2, 0).CRC); uint32(got.CRC) != want || got.Batches != 1 {
		t.Errorf("in two parts: %+v, want checksum %08x", got, want)
	}
	if got := ask(0, 4, 0); got.ErrorCode != kerr.OffsetOutOfRange.Code || got.ErrorMessage == "" || got.End != 3 {
		t.Errorf("beyond the end: %+v", got)
	}
	req := chronikapi.NewPartitionChecksumRequest()
	if got := c.ask(0, req).(*chronikapi.PartitionChecksumResponse); got.ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("a topic that is not there: %+v", got)
	}
	if len(s.summing) != 0 {
		t.Error("the place for one checksum at a time is not given back")
	}
}
