package nemesis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/testcluster"
)

const (
	gapPartitions  = 12
	gapReplicas    = 3
	gapRest        = 10 * time.Millisecond   // between an acknowledgement and the partition's next record
	gapMetadataAge = 5500 * time.Millisecond // franz-go's minimum age of metadata, and some
	gapClientLog   = 64 << 10                // bytes of the client's own log that are kept
)

// impatient are the settings of a client that gives a request up after 0.3 seconds, and asks for metadata again as soon.
var impatient = []kgo.Opt{kgo.ProduceRequestTimeout(100 * time.Millisecond), kgo.RequestTimeoutOverhead(200 * time.Millisecond),
	kgo.MetadataMinAge(100 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond })}

// gapLoad writes to every partition of a topic all the time, one record in flight in each, through one client: acks=all, idempotent. The
// measured one has its default settings. What differs from the defaults is what any user gives: the addresses, and a key's partition, here
// chosen by hand. Beside it, where brokers are stopped, writes an impatient one.
type gapLoad struct {
	t      *testing.T
	topic  string
	kafka  *kgo.Client
	other  *kgo.Client // asks; what it learns is not what the measured client knows
	admin  *kadm.Client
	ledger *testcluster.Ledger
	all    *Progress
	each   [gapPartitions]*Progress
	failed atomic.Int64
	log    *clientLog
	asked  metadataAge
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newGapLoad makes the topic and a client.
func newGapLoad(t *testing.T, addresses []string, topic string, settings ...kgo.Opt) *gapLoad {
	t.Helper()
	l := &gapLoad{t: t, topic: topic, ledger: testcluster.NewLedger(), all: NewProgress(), log: &clientLog{}}
	for p := range l.each {
		l.each[p] = NewProgress()
	}
	var err error
	l.kafka, err = kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addresses...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.WithLogger(l.log),
		kgo.WithHooks(&l.asked)}, settings...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.kafka.Close)
	if l.other, err = kgo.NewClient(kgo.SeedBrokers(addresses...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.other.Close)
	l.admin = kadm.NewClient(l.other)
	created, err := l.admin.CreateTopic(context.Background(), gapPartitions, gapReplicas, nil, topic)
	if err = errors.Join(err, created.Err); err != nil {
		t.Fatal(err)
	}
	return l
}

// start begins to write.
func (l *gapLoad) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for p := range l.each {
		l.done.Go(func() { l.write(ctx, int32(p)) })
	}
}

// stop ends the load; every record that was given to the client is acknowledged first.
func (l *gapLoad) stop() {
	l.cancel()
	l.done.Wait()
}

func (l *gapLoad) write(ctx context.Context, p int32) {
	for n := 0; ctx.Err() == nil; n++ {
		asked := time.Now()
		r := &kgo.Record{Topic: l.topic, Partition: p, Value: testcluster.Value("gap", p, n)}
		if err := l.kafka.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			l.failed.Add(1)
			l.t.Errorf("record %d of partition %d is refused: %v", n, p, err)
			return
		}
		l.ledger.Ack(r)
		l.each[p].Ack(asked)
		l.all.Ack(asked)
		_ = sleep(ctx, gapRest) // the loop's condition sees it
	}
}

// leaders are the leaders of the partitions, and whether all is as it should be: all replicas in sync, the first one leading.
func (l *gapLoad) leaders(ctx context.Context) (leaders []int32, whole, preferred bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest() // not by kadm, which may answer from what it was told seconds ago
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &l.topic
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, l.other)
	if err != nil {
		return nil, false, false, err
	}
	parts := resp.Topics[0].Partitions
	slices.SortFunc(parts, func(a, b kmsg.MetadataResponseTopicPartition) int { return int(a.Partition - b.Partition) })
	whole, preferred = len(parts) == gapPartitions, true
	for _, p := range parts {
		leaders = append(leaders, p.Leader)
		whole = whole && len(p.ISR) == gapReplicas && p.Leader >= 0
		preferred = preferred && p.Leader == p.Replicas[0]
	}
	return leaders, whole, preferred, nil
}

// settle waits until all replicas are in sync and the first ones lead, and returns the leaders.
func (l *gapLoad) settle(ctx context.Context) ([]int32, error) {
	for {
		leaders, whole, preferred, err := l.leaders(ctx)
		if err == nil && whole && preferred {
			return leaders, nil
		}
		if err == nil && whole {
			_, err = l.admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, l.partitions()) // looked at again
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return nil, fmt.Errorf("not all replicas in sync and led by the first: leaders %v, in sync %v, %w", leaders, whole, errors.Join(err, ctx.Err()))
		}
	}
}

// awaitWhole waits until all replicas are in sync, as who restarts one node after the other does.
func (l *gapLoad) awaitWhole(ctx context.Context, t *testing.T) {
	t.Helper()
	for {
		if _, whole, _, err := l.leaders(ctx); err == nil && whole {
			return
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			t.Fatalf("not all replicas in sync: %v", err)
		}
	}
}

func (l *gapLoad) partitions() kadm.TopicsSet {
	s := kadm.TopicsSet{}
	for p := range l.each {
		s.Add(l.topic, int32(p))
	}
	return s
}

// awaitAll waits until every partition has acknowledged something that was asked after a time.
func (l *gapLoad) awaitAll(ctx context.Context, after time.Time) error {
	for p, progress := range l.each {
		if _, err := progress.AwaitAsked(ctx, after); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

// gaps are the longest times without an acknowledgement between two times.
func (l *gapLoad) gaps(from, to time.Time, victims []int32, leaders []int32) gaps {
	g := gaps{overall: l.all.LongestGap(from, to)}
	for p, progress := range l.each {
		d, began := progress.Gap(from, to)
		if d > g.worst {
			g.worst, g.after = d, began.Sub(from)
		}
		if slices.Contains(victims, leaders[p]) {
			g.led = max(g.led, d)
		} else {
			g.others = max(g.others, d)
		}
	}
	return g
}

// forget drops what is not needed any more of the times of acknowledgements.
func (l *gapLoad) forget() {
	for _, p := range append(l.each[:], l.all) {
		p.Forget(time.Now().Add(-5 * time.Second))
	}
}

// gaps are the longest times without an acknowledgement around one fault.
type gaps struct {
	worst   time.Duration // of any partition
	after   time.Duration // when it began, since the fault
	led     time.Duration // of those that the victim led
	others  time.Duration // of those that it did not lead
	overall time.Duration // of the topic as a whole
	// replaced is when another broker led what a stopped one had led, since the fault.
	replaced time.Duration
	// impatient is the longest time of any partition of the impatient client.
	impatient time.Duration
}

func (g gaps) String() string {
	s := fmt.Sprintf("worst partition %d ms from %d ms on (led by the victim %d, by others %d), all together %d ms", g.worst.Milliseconds(), g.after.Milliseconds(), g.led.Milliseconds(),
		g.others.Milliseconds(), g.overall.Milliseconds())
	if g.replaced > 0 {
		s += fmt.Sprintf(", replaced after %d ms, worst partition of the impatient client %d ms", g.replaced.Milliseconds(), g.impatient.Milliseconds())
	}
	return s
}

// metadataAge knows when the client asked for metadata last. franz-go does not ask again for five seconds, whatever happens: what it felt
// would be this, if the fault came sooner.
type metadataAge struct{ at atomic.Int64 } // Unix milliseconds

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (m *metadataAge) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, _ kgo.BrokerE2E) {
	if key == int16(kmsg.Metadata) {
		m.at.Store(time.Now().UnixMilli())
	}
}

// awaitAge waits until metadata may be asked for at once.
func (m *metadataAge) awaitAge(ctx context.Context) {
	for time.Since(time.UnixMilli(m.at.Load())) < gapMetadataAge && sleep(ctx, 50*time.Millisecond) == nil {
	}
}

// clientLog keeps the end of what the client says of itself, to explain a gap.
type clientLog struct {
	mu  sync.Mutex
	buf []byte
}

// Level implements kgo.Logger. What was refused stands in lines of the lowest level, which cost time: they are for looking closer.
func (c *clientLog) Level() kgo.LogLevel {
	if os.Getenv("CHRONIK_GAP_VERBOSE") != "" {
		return kgo.LogLevelDebug
	}
	return kgo.LogLevelInfo
}

// Log implements kgo.Logger.
func (c *clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if level == kgo.LogLevelDebug && !strings.Contains(msg+fmt.Sprint(keyvals...), "retry") {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "time=%s %s", time.Now().Format(time.RFC3339Nano), msg)
	for i := 0; i+1 < len(keyvals); i += 2 {
		fmt.Fprintf(&b, " %v=%v", keyvals[i], keyvals[i+1])
	}
	b.WriteByte('\n')
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf = append(c.buf, b.String()...); len(c.buf) > gapClientLog {
		c.buf = append([]byte(nil), c.buf[len(c.buf)-gapClientLog/2:]...)
	}
}

func (c *clientLog) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.buf)
}
