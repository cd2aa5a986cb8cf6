package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
)

// rig is some meshes that can be stopped, started again and cut off from each other in one direction.
type rig struct {
	t     *testing.T
	mu    sync.Mutex
	addr  map[int32]string
	cut   map[[2]int32]bool
	conns map[[2]int32][]net.Conn
}

type rigNode struct {
	*Mesh
	hello  atomic.Pointer[Hello]
	events chan Event
	stop   func()
}

func newRig(t *testing.T) *rig {
	return &rig{t: t, addr: map[int32]string{}, cut: map[[2]int32]bool{}, conns: map[[2]int32][]net.Conn{}}
}

func disk(n int32) uuid.UUID { return uuid.UUID{0: 1, 15: byte(n)} }

func helloOf(node int32, nonce uint64) Hello {
	return Hello{ClusterID: "c", Genesis: [32]byte{1}, Member: Member{NodeID: node, DiskID: disk(node)}, Boot: nonce, Nonce: nonce, Version: "test",
		MetadataMin: 1, MetadataMax: 1}
}

func (r *rig) start(h Hello, peers []int32, change func(o *Options)) *rigNode {
	r.t.Helper()
	id := h.Member.NodeID
	r.mu.Lock()
	at := r.addr[id]
	r.mu.Unlock()
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	r.addr[id] = l.Addr().String()
	r.mu.Unlock()
	n := &rigNode{events: make(chan Event, 1024)}
	n.hello.Store(&h)
	o := Options{
		Listener: l,
		Hello:    func() Hello { return *n.hello.Load() },
		Addr: func(node int32) string {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.addr[node]
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	o.dial = func(ctx context.Context, address string) (net.Conn, error) { return r.dial(ctx, id, address) }
	if change != nil {
		change(&o)
	}
	n.Mesh = New(o)
	n.Watch(func(e Event) {
		select {
		case n.events <- e:
		default:
		}
	})
	n.SetPeers(peers)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			r.t.Error("Run does not return")
		}
	})
	r.t.Cleanup(n.stop)
	return n
}

func (r *rig) dial(ctx context.Context, from int32, address string) (net.Conn, error) {
	r.mu.Lock()
	to := int32(0)
	for id, a := range r.addr {
		if a == address {
			to = id
		}
	}
	cut := r.cut[[2]int32{from, to}]
	r.mu.Unlock()
	if cut {
		return nil, errors.New("cut")
	}
	nc, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err == nil {
		r.mu.Lock()
		r.conns[[2]int32{from, to}] = append(r.conns[[2]int32{from, to}], nc)
		r.mu.Unlock()
	}
	return nc, err
}

// sever cuts one direction: its connections end and new ones fail.
func (r *rig) sever(from, to int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut[[2]int32{from, to}] = true
	for _, c := range r.conns[[2]int32{from, to}] {
		_ = c.Close()
	}
}

func (n *rigNode) wait(t *testing.T, what string, ok func(Event) bool) Event {
	t.Helper()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case e := <-n.events:
			if ok(e) {
				return e
			}
		case <-timeout:
			t.Fatalf("no event: %s; peers %+v", what, n.Peers())
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func up(t *testing.T, a *rigNode, to int32) {
	t.Helper()
	until(t, "connection", func() bool { p := a.Peer(to); return p.Out })
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestCallsAndCasts(t *testing.T) {
	r := newRig(t)
	a, b := r.start(helloOf(1, 11), []int32{2}, nil), r.start(helloOf(2, 12), []int32{1}, nil)
	b.Handle(MethodForward, func(_ context.Context, from *Hello, p []byte) ([]byte, error) {
		if string(p) == "fail" {
			return nil, errors.New("no such thing")
		}
		return fmt.Appendf(nil, "%d:%s", from.Member.NodeID, p), nil
	})
	got := make(chan string, 10)
	b.HandleCast(FrameHeartbeat, func(from *Hello, p []byte) { got <- fmt.Sprint(from.Nonce, ":", string(p)) })
	up(t, a, 2)
	ctx := within(t, 5*time.Second)
	if out, err := a.Call(ctx, 2, MethodForward, []byte("x")); err != nil || string(out) != "1:x" {
		t.Fatalf("call: %q, %v", out, err)
	}
	if _, err := a.Call(ctx, 2, MethodForward, []byte("fail")); !errors.Is(err, ErrRemote) || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("handler's error: %v", err)
	}
	if _, err := a.Call(ctx, 2, MethodRegister, nil); !errors.Is(err, ErrNoHandler) {
		t.Errorf("unknown method: %v", err)
	}
	if _, err := a.Call(ctx, 3, MethodForward, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("unknown node: %v", err)
	}
	if !a.Cast(2, ClassControl, FrameHeartbeat, []byte("beat")) {
		t.Fatal("cast not queued")
	}
	if s := <-got; s != "11:beat" {
		t.Errorf("cast: %q", s)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	if out, err := a.Call(ctx, 2, MethodForward, big); err != nil || len(out) != len(big)+2 || !bytes.Equal(out[2:], big) {
		t.Errorf("large call: %d bytes, %v", len(out), err)
	}
}

// A call whose connection ends while the handler runs may have had its effect; one to a node that is down cannot have had any.
func TestOutcomeOfBrokenCalls(t *testing.T) {
	r := newRig(t)
	a, b := r.start(helloOf(1, 1), []int32{2}, nil), r.start(helloOf(2, 2), nil, nil)
	running, over := make(chan struct{}), make(chan error, 1)
	b.Handle(MethodForward, func(ctx context.Context, _ *Hello, _ []byte) ([]byte, error) {
		close(running)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	up(t, a, 2)
	go func() {
		_, err := a.Call(context.Background(), 2, MethodForward, nil)
		over <- err
	}()
	<-running
	b.stop()
	if err := <-over; !errors.Is(err, ErrUnknown) || errors.Is(err, ErrUnreachable) {
		t.Errorf("call under way: %v", err)
	}
	until(t, "gone", func() bool { p := a.Peer(2); return p.Gone() })
	if _, err := a.Call(context.Background(), 2, MethodForward, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("call to a dead node: %v", err)
	}
}

func TestDeadlineTravels(t *testing.T) {
	r := newRig(t)
	a, b := r.start(helloOf(1, 1), []int32{2}, nil), r.start(helloOf(2, 2), nil, nil)
	ended := make(chan error, 1)
	b.Handle(MethodForward, func(ctx context.Context, _ *Hello, _ []byte) ([]byte, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	up(t, a, 2)
	if _, err := a.Call(within(t, 50*time.Millisecond), 2, MethodForward, nil); !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrRemote) {
		t.Errorf("call: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the handler does not know the deadline")
	}
}

func TestHandshakeRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(h *Hello)
		code   RefusalCode
	}{
		{"cluster", func(h *Hello) { h.ClusterID = "d" }, RefusedCluster},
		{"genesis", func(h *Hello) { h.Genesis[31] = 9 }, RefusedGenesis},
		{"node", func(h *Hello) { h.Member.NodeID = 3 }, RefusedNode},
		{"own node", func(h *Hello) { h.Member.NodeID = 1 }, RefusedNode},
		{"copied disk", func(h *Hello) { h.Member.DiskID = disk(1) }, RefusedDisk},
		{"wiped disk", func(h *Hello) { h.Member.DiskID = disk(77) }, RefusedDisk},
		{"metadata version", func(h *Hello) { h.MetadataMin, h.MetadataMax = 2, 3 }, RefusedMetadata},
		{"no identity", func(h *Hello) { h.Nonce = 0 }, RefusedIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			h := helloOf(2, 2)
			c.change(&h)
			node := h.Member.NodeID
			admit := func(o *Options) {
				o.Admit = func(h *Hello) error {
					if h.Member.DiskID != disk(h.Member.NodeID) {
						return &Refusal{Code: RefusedDisk, Text: "wiped"}
					}
					return nil
				}
			}
			r.start(h, nil, nil)
			r.mu.Lock()
			at := r.addr[node]
			delete(r.addr, node)
			r.addr[2] = at
			r.mu.Unlock()
			a := r.start(helloOf(1, 1), []int32{2}, admit)
			e := a.wait(t, "incompatible", func(e Event) bool { return e.Kind == Incompatible })
			var refusal *Refusal
			if !errors.As(e.Err, &refusal) || refusal.Code != c.code || !errors.Is(e.Err, ErrRefused) {
				t.Errorf("refused with %v, want %s", e.Err, c.code)
			}
			if p := a.Peer(2); p.Out || p.Gone() {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestOtherProtocolVersion(t *testing.T) {
	r := newRig(t)
	r.start(helloOf(1, 1), nil, nil)
	nc, err := net.Dial("tcp", r.addr[1])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var b bytes.Buffer
	if err := writeGreeting(&b, &greeting{Hello: helloOf(2, 2), Want: 1, Class: ClassControl}); err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint16(b.Bytes()[4:], ProtocolVersion+1)
	if _, err := nc.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	g, err := readGreeting(nc)
	if err != nil || g.Refusal == nil || g.Refusal.Code != RefusedVersion {
		t.Fatalf("answer %+v, %v", g, err)
	}
	if _, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}
}

// Before a node has adopted a cluster only founding passes; after Renew everything does.
func TestFoundingFence(t *testing.T) {
	r := newRig(t)
	h := helloOf(2, 2)
	h.ClusterID, h.Genesis, h.Founding = "", [32]byte{}, true
	a, b := r.start(helloOf(1, 1), []int32{2}, nil), r.start(h, []int32{1}, nil)
	echo := func(_ context.Context, _ *Hello, p []byte) ([]byte, error) { return p, nil }
	got := make(chan struct{}, 10)
	for _, n := range []*rigNode{a, b} {
		n.Handle(MethodFound, echo)
		n.Handle(MethodForward, echo)
		n.HandleCast(FrameMetalog, func(*Hello, []byte) { got <- struct{}{} })
	}
	up(t, a, 2)
	ctx := within(t, 5*time.Second)
	if _, err := a.Call(ctx, 2, MethodFound, nil); err != nil {
		t.Errorf("founding: %v", err)
	}
	if _, err := a.Call(ctx, 2, MethodForward, nil); !errors.Is(err, ErrNoHandler) {
		t.Errorf("forward: %v", err)
	}
	if a.Cast(2, ClassControl, FrameMetalog, nil) {
		t.Error("cast was sent")
	}
	// A sender that does not keep the rule is not believed.
	c := a.out(2)
	f := newFrame()
	seal(f, FrameMetalog, 0, 0, 0)
	if err := c.send(f, nil, FrameMetalog, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Call(ctx, 2, MethodFound, nil); err != nil || len(got) > 0 {
		t.Errorf("a founding node took a cast: %d, %v", len(got), err)
	}
	adopted := helloOf(2, 2)
	b.hello.Store(&adopted)
	b.Renew()
	until(t, "forward works", func() bool { _, err := a.Call(ctx, 2, MethodForward, nil); return err == nil })
	until(t, "cast works", func() bool { a.Cast(2, ClassControl, FrameMetalog, nil); return len(got) > 0 })
}

func TestReconnectAndOtherNonce(t *testing.T) {
	r := newRig(t)
	a := r.start(helloOf(1, 1), []int32{2}, nil)
	b := r.start(helloOf(2, 20), []int32{1}, nil)
	up(t, a, 2)
	b.stop()
	a.wait(t, "refused", func(e Event) bool { return e.Kind == Refused })
	until(t, "gone", func() bool { p := a.Peer(2); return p.Gone() && p.Hello.Nonce == 20 })
	began := time.Now()
	r.start(helloOf(2, 21), []int32{1}, nil)
	e := a.wait(t, "other nonce", func(e Event) bool { return e.Kind == OtherNonce })
	if e.Hello.Nonce != 21 {
		t.Errorf("nonce %d", e.Hello.Nonce)
	}
	up(t, a, 2)
	if d := time.Since(began); d > time.Second {
		t.Errorf("back after %v", d)
	}
}

// A cut of one direction leaves the other one, and does not look like the end of the process.
func TestOneWayCut(t *testing.T) {
	r := newRig(t)
	a, b := r.start(helloOf(1, 1), []int32{2}, nil), r.start(helloOf(2, 2), []int32{1}, nil)
	a.Handle(MethodForward, func(_ context.Context, _ *Hello, p []byte) ([]byte, error) { return p, nil })
	up(t, a, 2)
	up(t, b, 1)
	r.sever(1, 2)
	until(t, "a sees the cut", func() bool { p := a.Peer(2); return !p.Out && p.In })
	if _, err := a.Call(context.Background(), 2, MethodForward, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("through the cut: %v", err)
	}
	if _, err := b.Call(within(t, 5*time.Second), 1, MethodForward, nil); err != nil {
		t.Errorf("the other way: %v", err)
	}
	if p := a.Peer(2); p.Gone() {
		t.Error("taken for dead")
	}
}

func TestQueueBoundsAndPriority(t *testing.T) {
	q := newQueue()
	frame := func(size int, mark byte) outgoing {
		b := append(newFrame(), make([]byte, size)...)
		b[frameHeader] = mark
		return outgoing{b: b}
	}
	if err := q.put(laneRest, frame(laneBytes+1, 'h')); err != nil {
		t.Fatalf("one large frame must pass: %v", err)
	}
	if err := q.put(laneRest, frame(1, 'x')); !errors.Is(err, ErrBusy) {
		t.Errorf("over the bytes: %v", err)
	}
	if err := q.put(laneMetalog, frame(1, 'm')); err != nil {
		t.Errorf("the lanes share a bound: %v", err)
	}
	if err := q.put(laneHeartbeat, frame(1, 'b')); err != nil {
		t.Error(err)
	}
	order := ""
	for {
		batch := q.take(nil)
		if len(batch) == 0 {
			break
		}
		for _, o := range batch {
			order += string(o.b[frameHeader])
		}
	}
	if order != "mbh" {
		t.Errorf("order %q", order)
	}
	for i := range laneFrames + 1 {
		if err := q.put(laneMetalog, frame(1, 'm')); (err != nil) != (i == laneFrames) {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	q.close()
	if err := q.put(laneMetalog, frame(1, 'm')); !errors.Is(err, ErrUnreachable) {
		t.Errorf("after close: %v", err)
	}
	if f, b := q.depth(); f != 0 || b != 0 {
		t.Errorf("%d frames, %d bytes left", f, b)
	}
}

// Calls beyond the bound are refused by the receiver; heartbeats go on meanwhile.
func TestHandlersAreBounded(t *testing.T) {
	r := newRig(t)
	a, b := r.start(helloOf(1, 1), []int32{2}, nil), r.start(helloOf(2, 2), nil, nil)
	release := make(chan struct{})
	b.Handle(MethodForward, func(context.Context, *Hello, []byte) ([]byte, error) { <-release; return nil, nil })
	b.Handle(MethodHeartbeat, func(context.Context, *Hello, []byte) ([]byte, error) { return []byte("ok"), nil })
	up(t, a, 2)
	var busy, fine atomic.Int32
	var wg sync.WaitGroup
	for range handlersMost + 20 {
		wg.Go(func() {
			_, err := a.Call(within(t, 20*time.Second), 2, MethodForward, nil)
			switch {
			case err == nil:
				fine.Add(1)
			case errors.Is(err, ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	until(t, "refusals", func() bool { return busy.Load() == 20 })
	if out, err := a.Call(within(t, 5*time.Second), 2, MethodHeartbeat, nil); err != nil || string(out) != "ok" {
		t.Errorf("heartbeat: %q, %v", out, err)
	}
	close(release)
	wg.Wait()
	if fine.Load() != handlersMost {
		t.Errorf("%d calls ran", fine.Load())
	}
}

func TestStream(t *testing.T) {
	r := newRig(t)
	a, b := r.start(helloOf(1, 1), nil, nil), r.start(helloOf(2, 2), nil, nil)
	b.HandleStream(ClassLive, func(_ context.Context, s Stream) {
		for {
			typ, p, err := s.ReadFrame(nil)
			if err != nil {
				return
			}
			if s.WriteFrame(typ+1, p) != nil || s.Flush() != nil {
				return
			}
		}
	})
	_ = a
	s, err := a.Open(within(t, 5*time.Second), 2, ClassLive)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, p := range []string{"", "x", strings.Repeat("y", 300<<10)} {
		if err := s.WriteFrame(60, []byte(p)); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
		typ, got, err := s.ReadFrame(nil)
		if err != nil || typ != 61 || string(got) != p {
			t.Errorf("%d, %d bytes, %v", typ, len(got), err)
		}
	}
	b.stop()
	if _, _, err := s.ReadFrame(nil); err == nil {
		t.Error("the stream outlives the mesh")
	}
}

func TestMetalogTransport(t *testing.T) {
	r := newRig(t)
	a, b := r.start(helloOf(1, 11), []int32{2}, nil), r.start(helloOf(2, 12), []int32{1}, nil)
	got := make(chan *metalog.Message, 10)
	MetalogTransport(b.Mesh).Deliver(func(m *metalog.Message) { got <- m })
	up(t, a, 2)
	m := &metalog.Message{Type: metalog.MsgFence, From: helloOf(1, 0).Member, To: helloOf(2, 0).Member, FromBoot: 11, FromNonce: 99,
		Ballot: metalog.Ballot{Term: 3, Member: helloOf(1, 0).Member, Nonce: 11}}
	tr := MetalogTransport(a.Mesh)
	tr.Send(m) // names another process than the connection's
	right := *m
	right.FromNonce = 11
	tr.Send(&right)
	select {
	case g := <-got:
		if g.FromNonce != 11 || g.Ballot != m.Ballot || g.Type != m.Type {
			t.Errorf("%+v", g)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nothing arrived")
	}
	if len(got) > 0 {
		t.Error("a message in another process's name was delivered")
	}
}

func FuzzReadFrame(f *testing.F) {
	b := append(newFrame(), "payload"...)
	seal(b, FrameOther, 0, 7, 42)
	f.Add(b)
	f.Add(b[:len(b)-1])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x0f, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(in), 4096)
		h, p, err := readFrame(r, nil)
		if err != nil {
			return
		}
		out := append(newFrame(), p...)
		seal(out, h.typ, h.flags, h.method, h.id)
		if !bytes.Equal(out, in[:len(out)]) {
			t.Errorf("%x read as %x", in, out)
		}
	})
}

func FuzzReadGreeting(f *testing.F) {
	var b bytes.Buffer
	_ = writeGreeting(&b, &greeting{Hello: helloOf(1, 1), Want: 2, Class: ClassControl, Refusal: &Refusal{Code: RefusedDisk}})
	f.Add(b.Bytes())
	f.Add([]byte(handshakeMagic))
	f.Fuzz(func(_ *testing.T, in []byte) { _, _ = readGreeting(bytes.NewReader(in)) })
}

// An acceptor does not see that the dialer refuses it: what the other side has refused stays known, and is logged once.
func TestOneSidedRefusalIsKept(t *testing.T) {
	r := newRig(t)
	r.start(helloOf(1, 1), []int32{3}, func(o *Options) {
		o.Admit = func(*Hello) error { return &Refusal{Code: RefusedBoot, Text: "an older disk"} }
	})
	var log strings.Builder // of one goroutine each for the two directions, under mu
	var mu sync.Mutex
	old := r.start(helloOf(3, 3), []int32{1}, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
	})
	for refused, accepted := 0, 0; refused < 3 || accepted < 3; {
		e := old.wait(t, "both directions tried", func(e Event) bool { return e.Kind == Incompatible || e.Kind == Connected })
		if e.Kind == Incompatible {
			refused++
		} else {
			accepted++
		}
		var refusal *Refusal
		if p := old.Peer(1); refused > 0 && (!errors.As(p.Err, &refusal) || !refusal.Remote || refusal.Code != RefusedBoot) {
			t.Fatalf("after %d refusals and %d connections that ended at once: %v", refused, accepted, p.Err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "node refused"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestHangUpEndsAllButOneProcess(t *testing.T) {
	r := newRig(t)
	a := r.start(helloOf(1, 1), []int32{2}, nil)
	b := r.start(helloOf(2, 22), []int32{1}, nil)
	both := func() bool { p := a.Peer(2); return p.Out && p.In }
	until(t, "connected", both)
	connects := a.Peer(2).Connects
	a.HangUp(Member{NodeID: 2, DiskID: disk(77)}, 0)
	a.HangUp(helloOf(2, 0).Member, 22)
	time.Sleep(50 * time.Millisecond)
	if p := a.Peer(2); !both() || p.Connects != connects {
		t.Errorf("another disk was meant, or this process kept: %+v", p)
	}
	a.HangUp(helloOf(2, 0).Member, 21)
	b.wait(t, "disconnected", func(e Event) bool { return e.Kind == Disconnected })
	until(t, "connected again", func() bool { return both() && a.Peer(2).Connects >= connects+2 })
}
