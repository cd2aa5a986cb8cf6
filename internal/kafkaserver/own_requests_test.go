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
	info := c.ask(0, req).(*chronikapi.NodeInfoResponse)
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
	if info.Leaders != 3 || info.Replicas != 3 {
		t.Errorf("%d leaders, %d replicas", info.Leaders, info.Replicas)
	}
	req.HashAt = info.Commit + 100
	if info := c.ask(0, req).(*chronikapi.NodeInfoResponse); info.EntryOffset != chronikapi.None {
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
