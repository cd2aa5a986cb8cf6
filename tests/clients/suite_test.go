// Package clients runs Go's Kafka libraries against a server: each must be able to do the same things, unchanged and with its
// defaults. The addresses of the server's nodes are in CHRONIK_BOOTSTRAP; run.sh
// sets it. With CHRONIK_NODES, three nodes, each library works on while they are killed (killed_test.go).
package clients

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// message is one record as all libraries know it.
type message struct {
	key, value string
	header     string // value of the header "h"
}

// producerOptions is what the suite varies.
type producerOptions struct {
	codec      string // none, gzip, snappy, lz4 or zstd
	idempotent bool
	maxBytes   int // of a message; 0 for the library's default
}

type producer interface {
	// send returns when all messages are acknowledged by all replicas.
	send(ctx context.Context, topic string, messages []message) error
	close()
}

type consumer interface {
	// poll returns some messages, at least one.
	poll(ctx context.Context) ([]message, error)
	// commit stores the offsets of all messages returned so far.
	commit(ctx context.Context) error
	close()
}

// library adapts one client library.
type library struct {
	name          string
	newProducer   func(t *testing.T, bootstrap []string, o producerOptions) producer
	newConsumer   func(t *testing.T, bootstrap []string, group, topic string) consumer
	noIdempotence bool // the library has none
}

var libraries = []library{franz, saramaLibrary, segmentio, confluent}

func bootstrap(t *testing.T) []string {
	t.Helper()
	b := os.Getenv("CHRONIK_BOOTSTRAP")
	if b == "" {
		t.Skip("CHRONIK_BOOTSTRAP is not set: run tests/clients/run.sh")
	}
	return strings.Split(b, ",")
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func admin(t *testing.T) *kadm.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(bootstrap(t)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kadm.NewClient(c)
}

// topicName is new for every run, so that a server can be used twice.
func topicName(t *testing.T) string {
	return strings.NewReplacer("/", ".", " ", "-").Replace(t.Name()) + "." + rand.Text()[:8]
}

func createTopic(t *testing.T, partitions int32) string {
	t.Helper()
	name := topicName(t)
	if _, err := admin(t).CreateTopic(within(t, 10*time.Second), partitions, -1, nil, name); err != nil {
		t.Fatal(err)
	}
	return name
}

func numbered(n, size int) []message {
	all := make([]message, n)
	for i := range all {
		value := fmt.Sprintf("value %d ", i)
		all[i] = message{key: fmt.Sprintf("key %d", i), value: value + strings.Repeat("x", max(0, size-len(value))), header: fmt.Sprint(i)}
	}
	return all
}

// read polls until n messages have come.
func read(t *testing.T, c consumer, n int) []message {
	t.Helper()
	ctx := within(t, 60*time.Second)
	var all []message
	for len(all) < n {
		some, err := c.poll(ctx)
		if err != nil {
			t.Fatalf("after %d of %d messages: %v", len(all), n, err)
		}
		all = append(all, some...)
	}
	return all
}

// same compares what was read with what was sent, in any order.
func same(t *testing.T, got, want []message) {
	t.Helper()
	order := func(a, b message) int { return strings.Compare(a.key+a.value, b.key+b.value) }
	got, want = slices.SortedFunc(slices.Values(got), order), slices.SortedFunc(slices.Values(want), order)
	if !slices.Equal(got, want) {
		t.Errorf("read %d messages, sent %d", len(got), len(want))
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("first difference: read %.60q, sent %.60q", got[i], want[i])
			}
		}
	}
}

func eachLibrary(t *testing.T, test func(t *testing.T, l library)) {
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			bootstrap(t)
			t.Parallel()
			test(t, l)
		})
	}
}

// A topic that nobody created, with the library's defaults: the first thing a new user does.
func TestAutoCreatedTopic(t *testing.T) {
	eachLibrary(t, func(t *testing.T, l library) {
		topic := topicName(t)
		p := l.newProducer(t, bootstrap(t), producerOptions{codec: "none"})
		defer p.close()
		want := numbered(100, 0)
		if err := p.send(within(t, 30*time.Second), topic, want); err != nil {
			t.Fatal(err)
		}
		c := l.newConsumer(t, bootstrap(t), topic+"-group", topic)
		defer c.close()
		same(t, read(t, c, len(want)), want)
	})
}

func TestCodecs(t *testing.T) {
	eachLibrary(t, func(t *testing.T, l library) {
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			t.Run(codec, func(t *testing.T) {
				topic := createTopic(t, 3)
				p := l.newProducer(t, bootstrap(t), producerOptions{codec: codec})
				defer p.close()
				want := numbered(500, 300)
				if err := p.send(within(t, 30*time.Second), topic, want); err != nil {
					t.Fatal(err)
				}
				c := l.newConsumer(t, bootstrap(t), topic+"-group", topic)
				defer c.close()
				same(t, read(t, c, len(want)), want)
			})
		}
	})
}

func TestIdempotentProducer(t *testing.T) {
	eachLibrary(t, func(t *testing.T, l library) {
		if l.noIdempotence {
			t.Skip("the library has no idempotent producer")
		}
		topic := createTopic(t, 2)
		p := l.newProducer(t, bootstrap(t), producerOptions{codec: "lz4", idempotent: true})
		defer p.close()
		want := numbered(2000, 50)
		for i := 0; i < len(want); i += 100 {
			if err := p.send(within(t, 30*time.Second), topic, want[i:i+100]); err != nil {
				t.Fatal(err)
			}
		}
		c := l.newConsumer(t, bootstrap(t), topic+"-group", topic)
		defer c.close()
		same(t, read(t, c, len(want)), want)
	})
}

// Messages near the largest size that Kafka takes by default, and one beyond it.
func TestLargeMessages(t *testing.T) {
	eachLibrary(t, func(t *testing.T, l library) {
		topic := createTopic(t, 1)
		p := l.newProducer(t, bootstrap(t), producerOptions{codec: "none", maxBytes: 4 << 20})
		defer p.close()
		want := numbered(5, 900_000)
		for i := range want {
			if err := p.send(within(t, 30*time.Second), topic, want[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.send(within(t, 30*time.Second), topic, numbered(1, 2<<20)); err == nil || !tooLarge(err) {
			t.Errorf("a message of 2 MiB: %v", err)
		}
		c := l.newConsumer(t, bootstrap(t), topic+"-group", topic)
		defer c.close()
		same(t, read(t, c, len(want)), want)
	})
}

func tooLarge(err error) bool {
	text := strings.ToLower(strings.ReplaceAll(err.Error(), "_", " "))
	return strings.Contains(text, "large") || strings.Contains(text, "max message size") || strings.Contains(text, "size limit")
}

// Offsets that were committed are where the next member of the group begins.
func TestGroupResumesAtItsCommit(t *testing.T) {
	eachLibrary(t, func(t *testing.T, l library) {
		topic := createTopic(t, 3)
		p := l.newProducer(t, bootstrap(t), producerOptions{codec: "none"})
		defer p.close()
		first, second := numbered(300, 0), numbered(600, 0)[300:]
		if err := p.send(within(t, 30*time.Second), topic, first); err != nil {
			t.Fatal(err)
		}
		c := l.newConsumer(t, bootstrap(t), topic+"-group", topic)
		same(t, read(t, c, len(first)), first)
		if err := c.commit(within(t, 10*time.Second)); err != nil {
			t.Fatal(err)
		}
		c.close()
		if err := p.send(within(t, 30*time.Second), topic, second); err != nil {
			t.Fatal(err)
		}
		c = l.newConsumer(t, bootstrap(t), topic+"-group", topic)
		defer c.close()
		same(t, read(t, c, len(second)), second)
		committed, err := admin(t).FetchOffsets(within(t, 10*time.Second), topic+"-group")
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		committed.Each(func(o kadm.OffsetResponse) { sum += max(0, o.At) })
		if sum < 300 {
			t.Errorf("committed offsets sum up to %d, want 300 at least", sum)
		}
	})
}

// Two members share the partitions; when one leaves, the other takes over its part.
func TestGroupRebalances(t *testing.T) {
	eachLibrary(t, func(t *testing.T, l library) {
		topic := createTopic(t, 6)
		group := topic + "-group"
		p := l.newProducer(t, bootstrap(t), producerOptions{codec: "none"})
		defer p.close()
		if err := p.send(within(t, 30*time.Second), topic, numbered(60, 0)); err != nil {
			t.Fatal(err)
		}
		keepPolling := func() (consumer, func()) {
			c := l.newConsumer(t, bootstrap(t), group, topic)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					_, _ = c.poll(ctx) // what matters here is who is assigned what
				}
			}()
			return c, func() { cancel(); <-done; c.close() }
		}
		_, stopA := keepPolling()
		members(t, group, []int{6})
		_, stopB := keepPolling()
		members(t, group, []int{3, 3})
		stopA()
		members(t, group, []int{6})
		stopB()
		members(t, group, nil)
	})
}

// members waits until the group is stable with these numbers of partitions.
func members(t *testing.T, group string, want []int) {
	t.Helper()
	a := admin(t)
	var got []int
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		described, err := a.DescribeGroups(within(t, 10*time.Second), group)
		if err != nil {
			t.Fatal(err)
		}
		g := described[group]
		got = nil
		for _, m := range g.Members {
			if as, ok := m.Assigned.AsConsumer(); ok {
				n := 0
				for _, topic := range as.Topics {
					n += len(topic.Partitions)
				}
				got = append(got, n)
			}
		}
		slices.Sort(got)
		if slices.Equal(got, want) && (g.State == "Stable" || len(want) == 0) {
			return
		}
	}
	t.Fatalf("group %s has members with %v partitions, want %v", group, got, want)
}
