package kafkaserver

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill appends batches of the given sizes to a partition, past the limits on clients, and waits until they are committed.
func (s *stack) fill(t *testing.T, topic string, n int32, sizes ...int) {
	t.Helper()
	r := s.replica(topic, n)
	for _, size := range sizes {
		b := records(1, size)
		info, err := recordbatch.Validate(b, recordbatch.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Append(b, info, time.Now().UnixMilli(), false); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); r.HighWatermark() < r.End(); {
		if time.Now().After(end) {
			t.Fatal("not committed")
		}
		time.Sleep(time.Millisecond)
	}
}

// log is all records of a partition.
func (s *stack) log(t *testing.T, topic string, n int32) []byte {
	t.Helper()
	l := s.replica(topic, n).Log()
	var all []byte
	for at := l.Start(); at < l.End(); {
		b, err := l.Read(nil, at, l.End(), 1<<20, true)
		if err == nil {
			all = append(all, b...)
			at, err = endOfBatches(b, at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func (s *stack) noFetchMemory(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); s.Stats().FetchBytes != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes of fetch memory kept", s.Stats().FetchBytes)
		}
	}
}

// A streamed response is what kmsg writes for the same values, in every version, with batches smaller and larger than a piece, and with
// partitions that have nothing, an error or one small batch between them.
func TestStreamedFetchIsExact(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 5)
	s.fill(t, "t", 0, 900_000, 100, 900_000, 300_000, 300_000)
	s.fill(t, "t", 1, 3<<20, 10, 10, 5<<20)
	s.fill(t, "t", 3, 1)
	s.fill(t, "t", 4, streamBuffer-streamLead-200, streamBuffer, 70_000)
	c := s.dial(t)
	for v := int16(4); v <= 18; v++ {
		req := s.fetchVersion(v, "t", 0, map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 7: 0})
		c.send(c.frame(v, req))
		resp, body := c.answer(v, req, c.corr)
		if !bytes.Equal(resp.AppendTo(nil), body) {
			t.Fatalf("v%d: body is not what kmsg writes for it", v)
		}
		for _, p := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
			if p.Partition < 5 && !bytes.Equal(p.RecordBatches, s.log(t, "t", p.Partition)) {
				t.Errorf("v%d: partition %d: %d bytes, the log has %d", v, p.Partition, len(p.RecordBatches), len(s.log(t, "t", p.Partition)))
			}
		}
		if n := s.Stats().FetchBytes; n > streamBuffer*8 {
			t.Errorf("v%d: %d bytes of memory", v, n)
		}
	}
	s.noFetchMemory(t)
	s.suspects.add(s.replica("t", 0).ID())
	resp := c.ask(12, fetchRequest("t", 0, map[int32]int64{0: 0, 1: 0})).(*kmsg.FetchResponse)
	for _, p := range resp.Topics[0].Partitions {
		if !bytes.Equal(p.RecordBatches, s.log(t, "t", p.Partition)) {
			t.Errorf("not streamed: partition %d has %d bytes", p.Partition, len(p.RecordBatches))
		}
	}
}

// Limits hold for streamed responses as for others: whole batches within the partition's and the request's bytes.
func TestStreamedFetchLimits(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 2)
	for n := range int32(2) {
		s.fill(t, "t", n, 500_000, 500_000, 500_000, 500_000)
	}
	c := s.dial(t)
	one := len(records(1, 500_000))
	req := fetchRequest("t", 0, map[int32]int64{0: 0})
	p := req.Topics[0].Partitions[0]
	p.PartitionMaxBytes = int32(3*one + 100)
	req.Topics[0].Partitions[0] = p
	p.Partition = 1
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
	req.MaxBytes = int32(5*one - 1)
	got := c.ask(12, req).(*kmsg.FetchResponse).Topics[0].Partitions
	if len(got[0].RecordBatches) != 3*one || len(got[1].RecordBatches) != one {
		t.Errorf("%d and %d bytes, want 3 and 1 batches of %d", len(got[0].RecordBatches), len(got[1].RecordBatches), one)
	}
}

// Requests pipelined around a streamed response are answered in order, also those before it that are ready only later.
func TestStreamedFetchKeepsTheOrder(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 2)
	s.fill(t, "t", 0, 900_000, 900_000, 900_000, 900_000)
	c := s.dial(t)
	produce := produceRequest("t", -1, map[int32][]byte{1: records(1, 10)})
	fetch := fetchRequest("t", 0, map[int32]int64{0: 0})
	for round := range 10 {
		open := s.disk.shut()
		first := c.corr + 1
		var all []byte
		for range 3 {
			all = append(all, c.frame(9, produce)...)
			all = append(all, c.frame(12, fetch)...)
		}
		c.send(append(all, c.frame(9, produce)...))
		if round%2 == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		open()
		for i := range int32(7) {
			b, err := c.read(10 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got := int32(binary.BigEndian.Uint32(b)); got != first+i {
				t.Fatalf("answer %d where %d is due", got, first+i)
			}
			if big := len(b) > 3_600_000; big != (i%2 == 1) {
				t.Fatalf("answer %d has %d bytes", i, len(b))
			}
		}
	}
	s.noFetchMemory(t)
}

// A reader that is slow gets everything and costs one piece; one that leaves in the middle costs nothing afterwards.
func TestStreamedFetchToSlowAndLostReaders(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	for range 12 {
		s.fill(t, "t", 0, 900_000)
	}
	want := s.log(t, "t", 0)[:8*len(records(1, 900_000))]
	req := fetchRequest("t", 0, map[int32]int64{0: 0})
	req.MaxBytes = int32(len(want))
	slow, lost := s.dial(t), s.dial(t)
	for _, c := range []*client{slow, lost} {
		if err := c.c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		c.send(c.frame(12, req))
	}
	if _, err := io.ReadFull(lost.c, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().FetchBytes; n > 2*streamBuffer {
		t.Errorf("two responses hold %d bytes", n)
	}
	_ = lost.c.Close()
	var got []byte
	chunk := make([]byte, 100_000)
	for len(got) < len(want) {
		n, err := slow.c.Read(chunk)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, chunk[:n]...)
		time.Sleep(500 * time.Microsecond)
	}
	if !bytes.Contains(got, want[:1000]) || !bytes.Contains(got, want[len(want)-5000:len(want)-100]) {
		t.Error("not the log's bytes")
	}
	s.noFetchMemory(t)
	for end := time.Now().Add(5 * time.Second); s.Stats().Connections > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lost connection is still there")
		}
	}
}

// Records deleted under a response that has begun end its connection; what the client got until then is the log's.
func TestStreamedFetchOfDeletedRecords(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	for range 12 {
		s.fill(t, "t", 0, 900_000)
	}
	want := s.log(t, "t", 0)
	c := s.dial(t)
	if err := c.c.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	req := fetchRequest("t", 0, map[int32]int64{0: 0})
	req.Topics[0].Partitions[0].PartitionMaxBytes = 50 << 20
	c.send(c.frame(12, req))
	head := make([]byte, 200_000)
	if _, err := io.ReadFull(c.c, head); err != nil {
		t.Fatal(err)
	}
	if _, err := s.replica("t", 0).AdvanceStart(12); err != nil {
		t.Fatal(err)
	}
	_ = c.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	rest, err := io.ReadAll(c.c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("neither finished nor closed")
	}
	got := append(head, rest...)
	if len(got) > len(want) {
		t.Skip("all of it was in the sockets' buffers already")
	}
	at := bytes.Index(got, want[:100])
	if at < 0 || !bytes.Equal(got[at:], want[:len(got)-at]) {
		t.Error("what came is not the log's beginning")
	}
	s.noFetchMemory(t)
	if s.suspects.has(s.replica("t", 0).ID()) {
		t.Error("deleted records count as damage")
	}
}
