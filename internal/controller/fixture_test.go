package controller

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
)

// memoryLog is a metadata log that commits at once. Each event goes through its JSON, as it does in the real log, and each closure is
// run twice, as it may be.
type memoryLog struct {
	mu     sync.Mutex
	im     *metadata.Image
	events []metadata.Event
	fail   error
}

func (l *memoryLog) Image() *metadata.Image {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.im
}

func (l *memoryLog) Propose(_ context.Context, p metalog.Proposal) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	if _, err := p(l.im); err != nil {
		return 0, err
	}
	events, err := p(l.im)
	if err != nil {
		return 0, err
	}
	b := metadata.NewBatch(l.im)
	for i, ev := range events {
		back, err := metadata.DecodeEvent(metadata.AppendEvent(nil, ev))
		if err != nil {
			return 0, err
		}
		if err := b.Apply(l.im.Offset()+1+int64(i), back); err != nil {
			return 0, err
		}
		l.events = append(l.events, back)
	}
	l.im, _ = b.Done()
	return l.im.Offset(), nil
}

// cluster makes a controller over a log with so many brokers, ids from 1, racks a and b in turn.
func cluster(t testing.TB, brokers int, static map[string]string) (*Controller, *memoryLog) {
	t.Helper()
	log := &memoryLog{im: metadata.Empty()}
	return clusterOn(t, log, brokers, static), log
}

// clusterOn is cluster over a log that may have something in it.
func clusterOn(t testing.TB, log *memoryLog, brokers int, static map[string]string) *Controller {
	t.Helper()
	c := New(Options{Log: log, NodeID: 1, Static: static, Now: func() time.Time { return time.UnixMilli(1000) }})
	for id := range int32(brokers) {
		_, err := c.RegisterBroker(t.Context(), Registration{BrokerID: id + 1, Incarnation: uuid.New(), DiskID: uuid.UUID{byte(id + 1)},
			Endpoints: []metadata.Endpoint{{Listener: metadata.ListenerKafka, Host: "h", Port: 1}}, Rack: string(rune('a' + id%2))})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func topic(name string, partitions, replicas int32, configs ...string) NewTopic {
	n := NewTopic{Name: name, Partitions: partitions, ReplicationFactor: replicas}
	for i := 0; i+1 < len(configs); i += 2 {
		n.Configs = append(n.Configs, ConfigValue{configs[i], &configs[i+1]})
	}
	return n
}

func mustCreate(t testing.TB, c *Controller, topics ...NewTopic) {
	t.Helper()
	results, err := c.CreateTopics(t.Context(), topics, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatalf("create %s: %v", r.Name, r.Err)
		}
	}
}

// expect wants an error of the reason (nil: none).
func expect(t testing.TB, what string, got, want error) {
	t.Helper()
	if want == nil && got != nil || want != nil && !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func str(s string) *string { return &s }
