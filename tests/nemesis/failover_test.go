package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/testcluster"
)

const (
	aimFailover   = 500 * time.Millisecond // p50
	mostFailover  = 10 * time.Second
	steadyBefore  = 6 * time.Second // more than the time in which a node begins one election only
	measuredAfter = 2 * time.Second
	streams       = 2 // by broker
)

// stream changes one topic's setting, and now and then creates a topic, one request at a time, as long as its broker is none to be killed.
type stream struct {
	kafka *kgo.Client
	node  int
	topic string
	n     int
}

func (s *stream) change(ctx context.Context) error {
	s.n++
	o := &op{key: s.topic, kind: alter, value: int64(firstValue + s.n)}
	switch s.n % 40 {
	case 20:
		o.key, o.kind = s.topic+"-more", create
	case 0:
		o.key, o.kind = s.topic+"-more", remove
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	resp, err := s.kafka.SeedBrokers()[0].Request(ctx, o.request())
	if err != nil {
		return err
	}
	if err := o.take(resp); err != nil {
		return err
	}
	if o.result != done {
		return errNotDone
	}
	return nil
}

var errNotDone = errors.New("not acknowledged")

// TestFailover measures the longest time without an acknowledged change when the controller is killed, as clients of the other two brokers
// see it. CHRONIK_NEMESIS_KILLS says how often, CHRONIK_NEMESIS_TOPICS how many topics there are besides.
func TestFailover(t *testing.T) {
	kills := int(number(t, "CHRONIK_NEMESIS_KILLS", 0))
	if kills == 0 {
		t.Skip("a measurement: set CHRONIK_NEMESIS_KILLS")
	}
	c := testcluster.StartCluster(t, 3, testcluster.Options{})
	o, err := NewObserver(c.Addresses())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	ctx, stop := context.WithCancel(context.Background())
	progress := NewProgress()
	var victim atomic.Int64 // node whose clients rest; -1 for none
	victim.Store(-1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for node, a := range c.Addresses() {
		for i := range streams {
			s := &stream{node: node, topic: fmt.Sprintf("stream-%d-%d", node, i), kafka: openStream(t, a)}
			createTopic(ctx, t, s)
			wg.Go(func() {
				for ctx.Err() == nil {
					if int(victim.Load()) == s.node {
						_ = sleep(ctx, 5*time.Millisecond) // the loop's condition sees it
						continue
					}
					asked := time.Now()
					if s.change(ctx) == nil {
						progress.Ack(asked)
					}
					_ = sleep(ctx, 2*time.Millisecond) // likewise
				}
			})
		}
	}
	if n := int(number(t, "CHRONIK_NEMESIS_TOPICS", 0)); n > 0 {
		createMany(ctx, t, openStream(t, c.Nodes[0].Kafka), n)
	}
	var gaps []time.Duration
	for k := range kills {
		gap, line := killController(ctx, t, c, o, progress, &victim)
		gaps = append(gaps, gap)
		t.Logf("kill %d: %s", k+1, line)
		if gap > mostFailover {
			t.Fatalf("nothing was acknowledged for %v", gap)
		}
	}
	t.Logf("longest time without an acknowledged change after kill -9 of the controller: %s (aim: p50 < %v)", Summary(gaps), aimFailover)
	over := 0
	for _, g := range gaps {
		if g > aimFailover {
			over++
		}
	}
	t.Logf("%d of %d above the aim; changes acknowledged: %d", over, len(gaps), progress.Count())
	if slices.Sort(gaps); kills >= 20 && gaps[len(gaps)/2] > 2*aimFailover {
		t.Errorf("p50 is %v, the aim is %v", gaps[len(gaps)/2], aimFailover)
	}
}

func openStream(t *testing.T, address string) *kgo.Client {
	k, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DialTimeout(time.Second), kgo.ClientID("nemesis-stream"), kgo.RequestRetries(0), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

// createMany creates topics of one partition, which make the image large.
func createMany(ctx context.Context, t *testing.T, k *kgo.Client, n int) {
	t.Helper()
	const atOnce = 500
	for from := 0; from < n; from += atOnce {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.TimeoutMillis = int32(settleWithin.Milliseconds())
		for i := from; i < min(from+atOnce, n); i++ {
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("many-%d", i), 1, 1
			req.Topics = append(req.Topics, topic)
		}
		resp, err := k.SeedBrokers()[0].Request(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range resp.(*kmsg.CreateTopicsResponse).Topics {
			if err := kerr.ErrorForCode(topic.ErrorCode); err != nil {
				t.Fatalf("create %s: %v", topic.Topic, err)
			}
		}
	}
}

func createTopic(ctx context.Context, t *testing.T, s *stream) {
	t.Helper()
	resp, err := s.kafka.SeedBrokers()[0].Request(ctx, (&op{key: s.topic, kind: create, value: firstValue}).request())
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
}

var logTime = regexp.MustCompile(`time=(\S+)`)

// since is the lines of a server's log after a time.
func since(log string, after time.Time) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if m := logTime.FindStringSubmatch(line); m != nil {
			if at, err := time.Parse(time.RFC3339Nano, m[1]); err == nil && at.After(after) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

// killController kills the controller under load, measures, and starts it again.
func killController(ctx context.Context, t *testing.T, c *testcluster.Cluster, o *Observer, p *Progress, victim *atomic.Int64) (time.Duration, string) {
	t.Helper()
	if _, err := o.AwaitAll(ctx, settleWithin); err != nil {
		t.Fatal(err)
	}
	_ = sleep(ctx, steadyBefore+time.Duration(rand.Int64N(int64(300*time.Millisecond))))
	leader := o.Controller(ctx)
	if leader < 0 {
		t.Fatal("no controller after a time of rest")
	}
	victim.Store(int64(leader))
	_ = sleep(ctx, 100*time.Millisecond) // its clients come to rest
	at := time.Now()
	before := p.LongestGap(at.Add(-time.Second), at)
	c.Nodes[leader].Kill()
	within, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if _, err := p.AwaitAsked(within, time.Now()); err != nil {
		t.Fatalf("kill of node %d: %v; %s", leader+1, err, positions(o.Infos(ctx)))
	}
	_ = sleep(ctx, measuredAfter)
	gap := p.LongestGap(at, time.Now())
	if gap > aimFailover { // why
		for i, s := range c.Nodes {
			if i != leader {
				t.Logf("node %d since the kill at %s:\n%s", i+1, at.Format("15:04:05.000"), since(s.Log(), at))
			}
		}
	}
	if err := c.Nodes[leader].TryRestart(); err != nil {
		t.Fatal(err)
	}
	victim.Store(-1)
	return gap, fmt.Sprintf("node %d, longest gap %d ms (in the second before: %d ms), new controller %d", leader+1, gap.Milliseconds(), before.Milliseconds(), o.Controller(ctx)+1)
}
