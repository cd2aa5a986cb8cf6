package kafkaserver

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func apiVersionsRequest() *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1"
	return req
}

// Responses come in the order of the requests, although produces finish later than what is answered at once, and although frames come
// in pieces of any size, from one byte to many frames, and are up to some MiB large.
func TestResponsesKeepRequestOrder(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 3)
	r := rand.New(rand.NewPCG(7, 8))
	c := s.dial(t)
	type sent struct {
		version int16
		req     kmsg.Request
		corr    int32
	}
	var all []byte
	var want []sent
	for range 300 {
		var req kmsg.Request
		version := int16(3)
		switch r.IntN(5) {
		case 0:
			req = apiVersionsRequest()
		case 1:
			req, version = kmsg.NewPtrMetadataRequest(), 9
		default:
			size := 10
			if r.IntN(40) == 0 {
				size = 900_000
			}
			version = 3 + int16(r.IntN(10))
			req = produceRequest("t", []int16{1, -1}[r.IntN(2)], map[int32][]byte{int32(r.IntN(3)): records(1, size), 77: records(1, 1)})
		}
		all = append(all, c.frame(version, req)...)
		want = append(want, sent{version, req, c.corr})
	}
	go func() {
		for len(all) > 0 {
			n := min(len(all), 1+r.IntN([]int{1, 7, 100, 5000, 200_000}[r.IntN(5)]))
			if _, err := c.c.Write(all[:n]); err != nil {
				return
			}
			all = all[n:]
		}
	}()
	for _, w := range want {
		resp, body := c.answer(w.version, w.req, w.corr)
		if got := resp.AppendTo(nil); string(got) != string(body) {
			t.Fatalf("%s v%d: body is not what kmsg writes for it\n%x\n%x", kmsg.NameForKey(w.req.Key()), w.version, body, got)
		}
		if p, ok := resp.(*kmsg.ProduceResponse); ok {
			for _, part := range p.Topics[0].Partitions {
				if (part.ErrorCode == 0) != (part.Partition != 77) {
					t.Fatalf("partition %d: %v", part.Partition, kerr.ErrorForCode(part.ErrorCode))
				}
			}
		}
	}
}

// A record is acked, and readable, only after the sync that covers it (R3, R5).
func TestProduceIsAnsweredAfterSync(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	for _, acks := range []int16{1, -1} {
		c := s.dial(t)
		before := s.replica("t", 0).HighWatermark()
		open := s.disk.shut()
		req := produceRequest("t", acks, map[int32][]byte{0: records(2, 10)})
		c.send(c.frame(9, req))
		for s.replica("t", 0).End() == before {
			time.Sleep(time.Millisecond)
		}
		if b, err := c.read(100 * time.Millisecond); err == nil {
			t.Fatalf("acks %d: answered before the sync: %x", acks, b)
		}
		f := s.dial(t).ask(12, fetchRequest("t", 0, map[int32]int64{0: before})).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if len(f.RecordBatches) > 0 || f.HighWatermark != before {
			t.Errorf("acks %d: %d bytes readable before the sync, high watermark %d", acks, len(f.RecordBatches), f.HighWatermark)
		}
		open()
		resp, _ := c.answer(9, req, c.corr)
		if p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != before {
			t.Errorf("acks %d: %+v", acks, p)
		}
	}
}

// A produce whose partition is deleted while it waits fails with a retriable error; it is not left without an answer.
func TestPendingProduceFailsWhenTopicGoes(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	open := s.disk.shut()
	defer open()
	c := s.dial(t)
	req := produceRequest("t", -1, map[int32][]byte{0: records(1, 10)})
	c.send(c.frame(9, req))
	rep := s.replica("t", 0)
	for rep.End() == 0 {
		time.Sleep(time.Millisecond)
	}
	s.deps.Replicas.Apply(nil, s.image(), deletionOf(s.image().Topic("t")))
	resp, _ := c.answer(9, req, c.corr)
	if p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.NotLeaderForPartition.Code {
		t.Errorf("%+v", p)
	}
}

// A produce that is not committed within its timeout is told so.
func TestProduceTimesOut(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	open := s.disk.shut()
	defer open()
	c := s.dial(t)
	req := produceRequest("t", -1, map[int32][]byte{0: records(1, 10)})
	req.TimeoutMillis = 50
	c.send(c.frame(9, req))
	resp, _ := c.answer(9, req, c.corr)
	if p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != kerr.RequestTimedOut.Code {
		t.Errorf("%+v", p)
	}
}

// acks=0 is never answered; requests behind it are. An error closes the connection.
func TestAcksZero(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	c := s.dial(t)
	c.send(c.frame(9, produceRequest("t", 0, map[int32][]byte{0: records(1, 10)})))
	av := apiVersionsRequest()
	c.send(c.frame(3, av))
	c.answer(3, av, c.corr)
	c.send(c.frame(9, produceRequest("t", 0, map[int32][]byte{5: records(1, 10)})))
	c.closed(5 * time.Second)
}

// What is no request of ours closes the connection and leaves the server as it was.
func TestBadFramesClose(t *testing.T) {
	s := newStack(t, Limits{RequestMaxBytes: 2 << 20})
	frame := func(key, version int16, body ...byte) []byte {
		b := binary.BigEndian.AppendUint16([]byte{0, 0, 0, 0}, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		return finishFrame(append(append(b, 0, 0, 0, 1, 0xff, 0xff), body...))
	}
	cases := []struct {
		name string
		b    []byte
	}{
		{"negative size", []byte{0xff, 0xff, 0xff, 0xff}},
		{"over the limit", []byte{0, 0x30, 0, 0, 0, 0, 0, 9}},
		{"over the limit of the key", append([]byte{0, 0x18, 0, 0}, frame(18, 3)[4:]...)},
		{"size too small", []byte{0, 0, 0, 2, 0, 3}},
		{"unknown key", frame(999, 0)},
		{"negative key", frame(-1, 0)},
		{"key not served", frame(24, 0, 0, 0, 0, 0)},
		{"version too high", frame(3, 99)},
		{"version too low", frame(1, 3)},
		{"negative version", frame(3, -1)},
		{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"cut body", frame(3, 9, 0, 5)},
		{"tag bomb", frame(18, 3, 0, 2, 'a', 2, 'b', 0xff, 0xff, 0xff, 0xff, 0x0f)},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := s.dial(t)
			c.send(tc.b)
			c.closed(5 * time.Second)
		})
	}
	c := s.dial(t)
	c.ask(3, apiVersionsRequest())
}

// ApiVersions in a version that is not known is answered in version 0, with the range of ApiVersions.
func TestUnknownApiVersionsVersion(t *testing.T) {
	s := newStack(t, Limits{})
	c := s.dial(t)
	b := c.frame(3, apiVersionsRequest())
	binary.BigEndian.PutUint16(b[6:], 77)
	c.send(b)
	resp, _ := c.answer(0, apiVersionsRequest(), c.corr)
	v := resp.(*kmsg.ApiVersionsResponse)
	if v.ErrorCode != kerr.UnsupportedVersion.Code || len(v.ApiKeys) != 1 || v.ApiKeys[0].ApiKey != 18 || v.ApiKeys[0].MaxVersion != 4 {
		t.Errorf("%+v", v)
	}
}

// A client that does not read its responses is cut off, and nobody else waits for it meanwhile.
func TestSlowReaderHurtsOnlyItself(t *testing.T) {
	s := newStack(t, Limits{WriteTimeout: 3 * time.Second, MaxResponseBytes: 256 << 10})
	s.topic(t, "t", 1)
	other := s.dial(t)
	for range 8 {
		if p := other.ask(9, produceRequest("t", -1, map[int32][]byte{0: records(1, 900_000)})).(*kmsg.ProduceResponse); p.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatalf("%+v", p)
		}
	}
	slow := s.dial(t)
	go func() {
		for range 100 {
			if _, err := slow.c.Write(slow.frame(12, fetchRequest("t", 0, map[int32]int64{0: 0}))); err != nil {
				return
			}
		}
	}()
	for s.Stats().FetchBytes == 0 {
		time.Sleep(time.Millisecond)
	}
	end := time.Now().Add(15 * time.Second)
	for s.Stats().Connections > 1 && time.Now().Before(end) {
		began := time.Now()
		p := other.ask(9, produceRequest("t", -1, map[int32][]byte{0: records(1, 10)})).(*kmsg.ProduceResponse)
		if code := p.Topics[0].Partitions[0].ErrorCode; code != 0 {
			t.Fatalf("another client got error %d", code)
		}
		if took := time.Since(began); took > 2*time.Second { // one that waits for the slow client waits for the write timeout
			t.Fatalf("another client waited %v", took)
		}
		time.Sleep(20 * time.Millisecond) // nothing recycles the little WAL of a test
	}
	if n := s.Stats().Connections; n != 1 {
		t.Errorf("%d connections after the write timeout", n)
	}
	if n := s.Stats().FetchBytes; n != 0 {
		t.Errorf("%d bytes of fetch memory kept", n)
	}
}

// Responses that a full socket did not take are finished by the fallback, in order.
func TestFullSocketFinishesLater(t *testing.T) {
	s := newStack(t, Limits{MaxInFlight: 1000, MaxResponseBytes: 64 << 20})
	s.topic(t, "t", 1)
	c := s.dial(t)
	if err := c.c.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
		t.Fatal(err)
	}
	const n = 8_000
	req := produceRequest("t", -1, map[int32][]byte{0: records(1, 1)})
	first := c.corr + 1
	go func() {
		for range n {
			if _, err := c.c.Write(c.frame(9, req)); err != nil {
				return
			}
		}
	}()
	time.Sleep(300 * time.Millisecond)
	for i := range int32(n) {
		b, err := c.read(10 * time.Second)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if got := int32(binary.BigEndian.Uint32(b)); got != first+i {
			t.Fatalf("answer %d where %d is due", got, first+i)
		}
	}
}

// A frame that does not come to its end, and a connection that says nothing, are closed in time; one that waits for an answer is not.
func TestSlowFramesAndIdleConnections(t *testing.T) {
	s := newStack(t, Limits{FrameTimeout: time.Second, IdleTimeout: 1500 * time.Millisecond})
	s.topic(t, "t", 1)
	slow, idle, waiting := s.dial(t), s.dial(t), s.dial(t)
	slow.send([]byte{0, 0, 1, 0, 0, 18})
	req := fetchRequest("t", 3500, map[int32]int64{0: 0})
	waiting.send(waiting.frame(12, req))
	slow.closed(5 * time.Second)
	idle.closed(6 * time.Second)
	waiting.answer(12, req, waiting.corr)
}

// The end of the stream may come together with the last request: there is no second edge then, and the connection must go all the same.
func TestEndOfStreamWithLastRequest(t *testing.T) {
	s := newStack(t, Limits{})
	for range 20 {
		c := s.dial(t)
		c.send(c.frame(3, apiVersionsRequest()))
		if err := c.c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.answer(3, apiVersionsRequest(), c.corr)
	}
	for end := time.Now().Add(10 * time.Second); s.Stats().Connections > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are left", s.Stats().Connections)
		}
	}
}

// A client that goes away while it waits for records does not keep its connection until the wait is over.
func TestLongPollOfGoneClientEnds(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	c := s.dial(t)
	c.send(c.frame(12, fetchRequest("t", 600_000, map[int32]int64{0: 0})))
	time.Sleep(50 * time.Millisecond)
	_ = c.c.Close()
	for end := time.Now().Add(10 * time.Second); s.Stats().Connections > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is still there")
		}
	}
}

// Connections beyond the limits are closed; room that comes back is given again.
func TestConnectionLimits(t *testing.T) {
	for _, l := range []Limits{{MaxConnections: 3}, {MaxPerIP: 3}} {
		s := newStack(t, l)
		var all []*client
		for range 3 {
			c := s.dial(t)
			c.ask(3, apiVersionsRequest())
			all = append(all, c)
		}
		s.dial(t).closed(5 * time.Second)
		_ = all[0].c.Close()
		for end := time.Now().Add(5 * time.Second); s.Stats().Connections > 2; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a closed connection still counts")
			}
		}
		s.dial(t).ask(3, apiVersionsRequest())
	}
}

// Frames that claim much and send little hold little; the budget bounds what all connections hold together.
func TestFrameMemoryIsBounded(t *testing.T) {
	const budget = 8 << 20
	s := newStack(t, Limits{InFlightBytes: budget, FrameTimeout: time.Minute})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	begin := []byte{0x05, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff} // a Produce of 80 MiB
	for range 200 {
		s.dial(t).send(begin)
	}
	time.Sleep(200 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 20<<20 {
		t.Errorf("200 claims of 80 MiB hold %d MiB", grown>>20)
	}
	// Now ten send for real: together they stay within the budget, and the server still answers others.
	var wg sync.WaitGroup
	chunk := make([]byte, 4<<20)
	for range 10 {
		c := s.dial(t)
		wg.Add(1)
		go func() {
			defer wg.Done()
			_ = c.c.SetWriteDeadline(time.Now().Add(2 * time.Second))
			_, _ = c.c.Write(append(append([]byte{}, begin...), chunk...)) // blocks when the server does not take it: that is the point
		}()
	}
	for range 20 {
		if n := s.frameBudget.inUse(); n > budget { // without the chunks of 64 KiB, which have a budget of their own
			t.Errorf("%d bytes of frames held, budget %d", n, budget)
		}
		time.Sleep(20 * time.Millisecond)
	}
	wg.Wait()
}

// A frame of nearly the whole budget is read: its buffer grows by what is missing, and does not wait for the one that it replaces.
func TestFramesOfMoreThanHalfTheBudget(t *testing.T) {
	s := newStack(t, Limits{InFlightBytes: 8 << 20, FrameTimeout: 20 * time.Second})
	for _, size := range []int{3 << 20, 4<<20 + 1, 6 << 20, 7<<20 + 12345, 8<<20 - 100} {
		c := s.dial(t)
		frame := binary.BigEndian.AppendUint32(nil, uint32(size))
		frame = append(frame, make([]byte, size)...)
		binary.BigEndian.PutUint16(frame[6:], 9) // a Produce of version 9 that ends in rubbish: it is closed once it has been read
		c.send(frame)
		c.closed(10 * time.Second)
		for end := time.Now().Add(5 * time.Second); s.Stats().FrameBytes > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d bytes are held after a frame of %d", s.Stats().FrameBytes, size)
			}
		}
	}
}

// Shutdown answers what was accepted and ends long polls at once.
func TestShutdownAnswersWhatWasAccepted(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	poll, c := s.dial(t), s.dial(t)
	poll.send(poll.frame(12, fetchRequest("t", 60_000, map[int32]int64{0: 0})))
	open := s.disk.shut()
	req := produceRequest("t", -1, map[int32][]byte{0: records(1, 10)})
	c.send(c.frame(9, req))
	for s.replica("t", 0).End() == 0 {
		time.Sleep(time.Millisecond)
	}
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- s.Shutdown(t.Context()) }()
	time.Sleep(50 * time.Millisecond)
	open()
	resp, _ := c.answer(9, req, c.corr)
	if p := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		t.Errorf("%+v", p)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	if _, err := c.read(time.Second); err != io.EOF {
		t.Errorf("connection after Shutdown: %v", err)
	}
}

// A batch is readable byte for byte as it was sent, but for base offset and leader epoch.
func TestBatchesAreVerbatim(t *testing.T) {
	s := newStack(t, Limits{})
	s.topic(t, "t", 1)
	c := s.dial(t)
	var sent [][]byte
	for i := range 5 {
		b := records(3+i, 100)
		sent = append(sent, b)
		c.ask(9, produceRequest("t", -1, map[int32][]byte{0: b}))
	}
	got := c.ask(12, fetchRequest("t", 0, map[int32]int64{0: 0})).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
	offset := int64(0)
	for i, b := range sent {
		h, err := recordbatch.VerifyCRC(got)
		if err != nil || h.BaseOffset != offset || h.LeaderEpoch < 0 {
			t.Fatalf("batch %d: %v %+v", i, err, h)
		}
		if string(got[16:h.Size()]) != string(b[16:]) {
			t.Errorf("batch %d differs behind its base offset, length and epoch", i)
		}
		offset += int64(h.Count)
		got = got[h.Size():]
	}
}
