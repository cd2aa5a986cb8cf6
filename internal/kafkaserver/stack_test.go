package kafkaserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stack is a server with everything below it, over a file system in memory whose WAL syncs can be held up.
type stack struct {
	*Server
	addr string
	disk *gate
	fs   vfs.FS
}

// gate holds up the syncs of the node WAL while it is shut.
type gate struct{ hold chan chan struct{} }

func newGate() *gate {
	g := &gate{hold: make(chan chan struct{}, 1)}
	g.hold <- nil
	return g
}

// shut makes every sync of the WAL wait until the returned function is called.
func (g *gate) shut() (open func()) {
	<-g.hold
	shut := make(chan struct{})
	g.hold <- shut
	return func() {
		<-g.hold
		g.hold <- nil
		close(shut)
	}
}

func (g *gate) pass(op vfs.Op, path string) {
	if op != vfs.OpSync || !strings.Contains(filepath.ToSlash(path), "data/wal") {
		return
	}
	shut := <-g.hold
	g.hold <- shut
	if shut != nil {
		<-shut
	}
}

// newStack starts a server of one node on a port of its own.
func newStack(t testing.TB, l Limits) *stack {
	t.Helper()
	g := newGate()
	fs := vfs.NewFaulty(vfs.NewMem())
	fs.Before = g.pass
	logger := slog.New(slog.DiscardHandler)
	fatal := func(err error) { t.Errorf("a log failed: %v", err) }
	store, err := partition.OpenStore(partition.StoreOptions{FS: fs, Dir: "data", Logger: logger,
		WAL: wal.Options{SlotBytes: 8 << 20, ZeroStep: 1 << 20, MaxBytes: 64 << 20, SealAfter: -1, OnFatal: fatal}})
	if err != nil {
		t.Fatal(err)
	}
	self := metalog.Member{NodeID: 1, DiskID: uuid.UUID{1}}
	meta, err := metalog.Open(metalog.Options{FS: fs, Dir: "metadata", Self: self, Boot: 1, SlotBytes: 1 << 20, HistoryBytes: 16 << 20,
		Genesis: metalog.Genesis{ClusterID: "c", Founders: []metalog.Member{self}, TimestampMs: 1}, OnHalt: fatal, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	replicas := replica.NewSet(replica.Options{NodeID: 1, Store: store, Logger: logger})
	meta.Subscribe(replicas.Apply)
	leads := make(chan struct{}, 1)
	meta.SubscribeRole(func(is bool, _ uint64) {
		if is {
			leads <- struct{}{}
		}
	})
	if err := replicas.Load(meta.Image()); err != nil {
		t.Fatal(err)
	}
	meta.Start()
	meta.Claimed(1, meta.SelfBallot())
	<-leads
	c := controller.New(controller.Options{Log: meta, NodeID: 1})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if _, err := c.RegisterBroker(t.Context(), controller.Registration{BrokerID: 1, Incarnation: uuid.New(), DiskID: self.DiskID,
		Endpoints: []metadata.Endpoint{{Listener: metadata.ListenerKafka, Host: "127.0.0.1", Port: int32(port)}}}); err != nil {
		t.Fatal(err)
	}
	s, err := New(Deps{NodeID: 1, ClusterID: "c", Config: &config.Config{NodeID: 1, DataDir: "data", MinFreeBytes: 64 << 20}, Meta: meta, Controller: c,
		Replicas: replicas, Store: store, Logger: logger}, l)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(Listener{Name: "PLAINTEXT", Net: ln}) }()
	background, stop := context.WithCancel(context.Background())
	go func() { _ = replicas.Run(background) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		stop()
		_ = meta.Close()
		_ = store.Close()
	})
	return &stack{Server: s, addr: ln.Addr().String(), disk: g, fs: fs}
}

// topic creates a topic and returns its replicas' leader, partition 0.
func (s *stack) topic(t testing.TB, name string, partitions int32) {
	t.Helper()
	res, err := s.deps.Controller.CreateTopics(t.Context(), []controller.NewTopic{{Name: name, Partitions: partitions, ReplicationFactor: 1}}, false)
	if err != nil || res[0].Err != nil {
		t.Fatalf("create %s: %v %+v", name, err, res)
	}
}

func (s *stack) replica(name string, n int32) *replica.Replica {
	return s.deps.Replicas.Get(s.image().Topic(name).ID, n)
}

// client is one raw connection.
type client struct {
	t    testing.TB
	c    net.Conn
	corr int32
}

func (s *stack) dial(t testing.TB) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{t: t, c: c}
}

// frame encodes a request; each has the next correlation id.
func (c *client) frame(version int16, req kmsg.Request) []byte {
	c.corr++
	req.SetVersion(version)
	b := []byte{0, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(req.Key()))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(c.corr))
	b = append(b, 0, 1, 't')
	if req.IsFlexible() {
		b = append(b, 0)
	}
	return finishFrame(req.AppendTo(b))
}

func (c *client) send(b []byte) {
	c.t.Helper()
	if _, err := c.c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next response without its length: correlation id, header tags, body.
func (c *client) read(wait time.Duration) ([]byte, error) {
	_ = c.c.SetReadDeadline(time.Now().Add(wait))
	var size [4]byte
	if _, err := io.ReadFull(c.c, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(c.c, b)
	return b, err
}

// answer reads the response to a request and returns the bytes of its body too.
func (c *client) answer(version int16, req kmsg.Request, corr int32) (kmsg.Response, []byte) {
	c.t.Helper()
	b, err := c.read(10 * time.Second)
	if err != nil {
		c.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	if got := int32(binary.BigEndian.Uint32(b)); got != corr {
		c.t.Fatalf("answer to request %d where %d is due", got, corr)
	}
	b = b[4:]
	resp := req.ResponseKind()
	resp.SetVersion(version)
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		c.t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	return resp, b
}

func (c *client) ask(version int16, req kmsg.Request) kmsg.Response {
	c.t.Helper()
	c.send(c.frame(version, req))
	resp, _ := c.answer(version, req, c.corr)
	return resp
}

// closed fails the test unless the server closes the connection.
func (c *client) closed(wait time.Duration) {
	c.t.Helper()
	if b, err := c.read(wait); err == nil {
		c.t.Fatalf("answered with %d bytes, should be closed", len(b))
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Fatalf("not closed within %v", wait)
	}
}

// records is a batch of n records of size bytes.
func records(n, size int) []byte {
	b := recordbatch.NewBuilder()
	for i := range n {
		b.Append(time.Now().UnixMilli(), []byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, size))
	}
	batch, err := b.Build(recordbatch.None)
	if err != nil {
		panic(err)
	}
	return batch
}

func produceRequest(topic string, acks int16, partitions map[int32][]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = acks, 10_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for n, b := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = n, b
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func fetchRequest(topic string, waitMs int32, offsets map[int32]int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = waitMs, 1, 50<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	for n, o := range offsets {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = n, o, 10<<20
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// deletionOf is the change that deletes a topic.
func deletionOf(t *metadata.Topic) *metadata.Delta {
	return &metadata.Delta{TopicsDeleted: []*metadata.Topic{t}}
}
