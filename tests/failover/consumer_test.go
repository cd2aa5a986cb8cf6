package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/testcluster"
)

const (
	sessionTime = 30 * time.Second
	beat        = 500 * time.Millisecond
)

// member is a consumer of a group that commits after every poll.
type member struct {
	name    string
	kafka   *kgo.Client
	offsets *Offsets
	log     clientLog

	assigned, lost, commits atomic.Int64 // callbacks with partitions, and commits that were acknowledged
	ctx                     context.Context
	cancel                  context.CancelFunc
	done                    chan struct{}

	mu       sync.Mutex
	lastSeen time.Time
	gap      time.Duration // longest time without a commit since it was reset
}

// join starts a member; instance is "" for a dynamic one.
func (c *rig) join(t *testing.T, name, topic, instance string, offsets *Offsets) *member {
	t.Helper()
	m := &member{name: name, offsets: offsets, done: make(chan struct{}), lastSeen: time.Now()}
	opts := []kgo.Opt{kgo.WithLogger(kgo.BasicLogger(&m.log, kgo.LogLevelDebug, nil)), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(offsets.group), kgo.DisableAutoCommit(), kgo.SessionTimeout(sessionTime),
		kgo.HeartbeatInterval(beat), kgo.RebalanceTimeout(sessionTime), kgo.FetchMaxWait(100 * time.Millisecond), kgo.ClientID(name),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.assigned.Add(int64(len(p))) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.lost.Add(int64(len(p))) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { m.lost.Add(int64(len(p))) })}
	if instance != "" {
		opts = append(opts, kgo.InstanceID(instance))
	}
	m.kafka = c.client(t, opts...)
	m.ctx, m.cancel = context.WithCancel(t.Context())
	go m.run(t)
	t.Cleanup(func() {
		m.stop()
		if t.Failed() {
			t.Logf("what the client of %s says:\n%s", name, m.log.String())
		}
	})
	return m
}

// clientLog keeps what a client says about its group and what it tries again.
type clientLog struct {
	mu     sync.Mutex // guards the rest
	lines  []string
	gaveUp int // heartbeats that the client did not try again: it joins the group anew
}

// Write implements io.Writer; it is given a line at a time.
func (l *clientLog) Write(b []byte) (int, error) {
	line := string(b)
	if strings.Contains(line, "heartbeat errored") && strings.Contains(line, "unable to dial") {
		l.mu.Lock()
		l.gaveUp++
		l.mu.Unlock()
	}
	for _, about := range []string{"heartbeat errored", "rejoin", "retrying request", "joined", "session", "leaving", "error"} {
		if strings.Contains(line, about) && !strings.Contains(line, "err: <nil>") {
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.lines) >= 500 {
				l.lines = slices.Delete(l.lines, 0, 100)
			}
			l.lines = append(l.lines, time.Now().Format("15:04:05.000 ")+line)
			break
		}
	}
	return len(b), nil
}

// String returns what was kept.
func (l *clientLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

func (m *member) run(t *testing.T) {
	defer close(m.done)
	for m.ctx.Err() == nil {
		records := m.kafka.PollFetches(m.ctx).Records()
		if len(records) == 0 {
			continue
		}
		if err := m.kafka.CommitRecords(m.ctx, records...); err != nil {
			if m.ctx.Err() == nil && !mayRefuse(err) {
				t.Errorf("%s: commit: %v", m.name, err)
			}
			continue
		}
		m.commits.Add(1)
		for _, r := range records {
			m.offsets.Acked(r.Topic, r.Partition, r.Offset+1)
		}
		m.mu.Lock()
		now := time.Now()
		m.gap, m.lastSeen = max(m.gap, now.Sub(m.lastSeen)), now
		m.mu.Unlock()
	}
}

// mayRefuse tells which refusals of a commit a consumer has to live with: a rebalance goes on, or it is tried again.
func mayRefuse(err error) bool {
	for _, e := range []error{kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.FencedInstanceID} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ke *kerr.Error
	return !errors.As(err, &ke) || ke.Retriable
}

// stop ends the member; a dynamic one leaves the group.
func (m *member) stop() {
	m.cancel()
	<-m.done
	m.kafka.Close()
}

// takeGap gives the longest time without a commit since the last call.
func (m *member) takeGap() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	gap := max(m.gap, time.Since(m.lastSeen))
	m.gap, m.lastSeen = 0, time.Now()
	return gap
}

// identity is what a rebalance changes.
func (m *member) identity() string {
	id, generation := m.kafka.GroupMetadata()
	return fmt.Sprintf("%s generation %d, revocations %d", id, generation, m.lost.Load())
}

// undisturbed checks that a group is as it was and returns what it is. This client does not try a heartbeat again when the very question who
// the coordinator is went to the broker that is dead, which happens in one of some fifty kills: then it is the client that disturbs its group.
func undisturbed(t *testing.T, before []string, members []*member) []string {
	t.Helper()
	time.Sleep(3 * beat) // heartbeats reach the new coordinator
	after := identities(members)
	if slices.Equal(before, after) {
		return after
	}
	own := 0
	for _, m := range members {
		m.log.mu.Lock()
		own += m.log.gaveUp
		m.log.gaveUp = 0
		m.log.mu.Unlock()
	}
	if own == 0 {
		t.Fatalf("the group was %v, is %v", before, after)
	}
	t.Logf("a client gave up a heartbeat: the group was %v, is %v", before, after)
	committing(t, 1, members...)
	return identities(members)
}

// identities are those of all members.
func identities(members []*member) (all []string) {
	for _, m := range members {
		all = append(all, m.identity())
	}
	return all
}

// committing waits until each member has committed n times more.
func committing(t *testing.T, n int64, members ...*member) time.Duration {
	t.Helper()
	var from []int64
	for _, m := range members {
		from = append(from, m.commits.Load())
	}
	return until(t, "all members commit", func(context.Context) bool {
		return !slices.ContainsFunc(members, func(m *member) bool { return m.commits.Load() < from[slices.Index(members, m)]+n })
	})
}

// stable waits until the group is stable with as many members.
func (c *rig) stable(t *testing.T, group string, members int) {
	t.Helper()
	until(t, fmt.Sprintf("group is stable with %d members", members), func(ctx context.Context) bool {
		return c.ask(func(k *kadm.Client) bool {
			d, err := k.DescribeGroups(ctx, group)
			return err == nil && d[group].Err == nil && d[group].State == "Stable" && len(d[group].Members) == members
		})
	})
}

// writer is an idempotent producer that writes to all partitions of a topic, one record at a time to each.
type writer struct {
	kafka  *kgo.Client
	ledger *testcluster.Ledger
	cancel context.CancelFunc
	wg     sync.WaitGroup
	acked  atomic.Int64
}

func (c *rig) write(t *testing.T, topic string, partitions int32, pause time.Duration) *writer {
	t.Helper()
	w := &writer{ledger: testcluster.NewLedger()}
	w.kafka = c.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.StopProducerOnDataLossDetected(), kgo.RequiredAcks(kgo.AllISRAcks()))
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	w.wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			for p := range partitions {
				w.wg.Add(1)
				w.kafka.Produce(context.Background(), &kgo.Record{Topic: topic, Partition: p, Value: testcluster.Value("w", p, n)}, func(r *kgo.Record, err error) {
					defer w.wg.Done()
					if err != nil {
						t.Errorf("produce to %s-%d: %v", r.Topic, r.Partition, err)
						return
					}
					w.ledger.Ack(r)
					w.acked.Add(1)
				})
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	})
	t.Cleanup(w.stop)
	return w
}

// stop ends the producing; all that was begun is finished.
func (w *writer) stop() {
	w.cancel()
	w.wg.Wait()
}

// check compares what is in the topic with what was acknowledged.
func (w *writer) check(t *testing.T, c *rig, topic string, partitions int32) {
	t.Helper()
	w.stop()
	ctx, cancel := context.WithTimeout(t.Context(), mostPatience)
	defer cancel()
	records, err := testcluster.ReadAll(ctx, c.Addresses()[0], topic, partitions)
	if err != nil {
		t.Fatal(err)
	}
	v := w.ledger.Check(records)
	t.Log(v)
	if !v.OK() || v.Acked == 0 || v.Read != v.Acked {
		t.Errorf("%v: %v", v, v.Examples)
	}
}
