package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
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
	topic      = "ledger"
	partitions = 6
	writers    = 4
	groupName  = "reader"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testcluster.Cleanup()
	os.Exit(code)
}

// budget says how often or how long to kill.
func budget(t *testing.T) (kills int, until time.Time) {
	kills, until = 12, time.Now().Add(24*time.Hour)
	if v := os.Getenv("CHRONIK_KILLS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("CHRONIK_KILLS: %v", err)
		}
		kills = n
	}
	if v := os.Getenv("CHRONIK_KILL_TIME"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatalf("CHRONIK_KILL_TIME: %v", err)
		}
		kills, until = 1<<30, time.Now().Add(d)
	}
	return kills, until
}

// load is everything that talks to the server while it is being killed.
type load struct {
	t       *testing.T
	server  *testcluster.Server
	ledger  *testcluster.Ledger
	ctx     context.Context
	stop    context.CancelFunc
	done    sync.WaitGroup
	sending atomic.Bool

	failed  atomic.Int64 // records that a producer gave up: may be there or not
	commits atomic.Int64 // offsets committed, as acknowledged

	mu      sync.Mutex // guards the rest
	created []string   // topics whose creation was acknowledged, and not their deletion
	deleted []string   // topics whose deletion was acknowledged
	tried   map[string]bool
}

func (l *load) client(o ...kgo.Opt) *kgo.Client {
	l.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.server.Kafka), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.DialTimeout(time.Second),
	}, o...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(c.Close)
	return c
}

// write produces idempotently with acks=all, numbering its records per partition.
func (l *load) write(id int) {
	c := l.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(time.Duration(id)*time.Millisecond), kgo.MaxBufferedRecords(500))
	name := fmt.Sprintf("w%d", id)
	l.done.Go(func() {
		var next [partitions]int
		for l.sending.Load() {
			p := rand.Int32N(partitions)
			r := &kgo.Record{Topic: topic, Partition: p, Value: testcluster.Value(name, p, next[p])}
			next[p]++
			c.Produce(l.ctx, r, func(r *kgo.Record, err error) {
				if err != nil {
					l.failed.Add(1)
					return
				}
				l.ledger.Ack(r)
			})
			if id == 0 { // one writer waits for each record
				if err := c.Flush(l.ctx); err != nil {
					return
				}
			}
		}
		if err := c.Flush(l.ctx); err != nil {
			l.t.Errorf("writer %d: not all records were answered: %v", id, err)
		}
	})
}

// read follows all partitions: no record that a consumer was given may change or vanish.
func (l *load) read() {
	starts := map[int32]kgo.Offset{}
	for p := range int32(partitions) {
		starts[p] = kgo.NewOffset().AtStart()
	}
	c := l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.FetchMaxWait(100*time.Millisecond))
	l.done.Go(func() {
		for l.ctx.Err() == nil && l.sending.Load() {
			ctx, cancel := context.WithTimeout(l.ctx, time.Second)
			c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				if err := l.ledger.See(r); err != nil {
					l.t.Error(err)
				}
			})
			cancel()
		}
	})
}

// commit raises a group's offset and expects never to find a lower one.
func (l *load) commit() {
	c := l.client()
	admin := kadm.NewClient(c)
	l.done.Go(func() {
		for n := int64(1); l.sending.Load(); n++ {
			var offsets kadm.Offsets
			offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: n, LeaderEpoch: -1})
			ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
			resp, err := admin.CommitOffsets(ctx, groupName, offsets)
			cancel()
			if err == nil && resp.Error() == nil {
				l.commits.Store(n)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// administer creates topics and deletes every second one.
func (l *load) administer() {
	admin := kadm.NewClient(l.client())
	l.done.Go(func() {
		for n := 0; l.sending.Load(); n++ {
			name := fmt.Sprintf("topic-%d", n)
			l.mu.Lock()
			l.tried[name] = true
			l.mu.Unlock()
			ctx, cancel := context.WithTimeout(l.ctx, 5*time.Second)
			_, err := admin.CreateTopic(ctx, 2, 1, nil, name)
			known := err == nil || errors.Is(err, kerr.TopicAlreadyExists)
			if known && n%2 == 0 {
				_, err := admin.DeleteTopic(ctx, name)
				known = false
				if err == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
					l.mu.Lock()
					l.deleted = append(l.deleted, name)
					l.mu.Unlock()
				}
			}
			if known {
				l.mu.Lock()
				l.created = append(l.created, name)
				l.mu.Unlock()
			}
			cancel()
			time.Sleep(20 * time.Millisecond)
		}
	})
}

// checkTopics compares the topics that are there with what was acknowledged.
func (l *load) checkTopics() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	there, err := kadm.NewClient(l.client()).ListTopics(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	names := there.Names()
	for _, name := range l.created {
		if !slices.Contains(names, name) {
			l.t.Errorf("topic %s was created, and is lost", name)
		}
	}
	for _, name := range l.deleted {
		if slices.Contains(names, name) {
			l.t.Errorf("topic %s was deleted, and is back", name)
		}
	}
	for _, name := range names {
		if name != topic && !l.tried[name] {
			l.t.Errorf("topic %s comes from nowhere", name)
		}
	}
	l.t.Logf("topics: %d created, %d deleted", len(l.created), len(l.deleted))
}

// checkCommits reads the group's offset.
func (l *load) checkCommits() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	offsets, err := kadm.NewClient(l.client()).FetchOffsets(ctx, groupName)
	if err != nil {
		l.t.Fatal(err)
	}
	o, _ := offsets.Lookup(topic, 0)
	if want := l.commits.Load(); o.At < want {
		l.t.Errorf("committed offset %d, %d was acknowledged", o.At, want)
	}
	l.t.Logf("group offset %d, acknowledged %d", o.At, l.commits.Load())
}

func TestKillNineLosesNothing(t *testing.T) {
	kills, until := budget(t)
	s := testcluster.Start(t, testcluster.Options{})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	l := &load{t: t, server: s, ledger: testcluster.NewLedger(), ctx: ctx, stop: stop, tried: map[string]bool{}}
	if _, err := kadm.NewClient(l.client()).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	l.sending.Store(true)
	for id := range writers {
		l.write(id)
	}
	l.read()
	l.commit()
	l.administer()
	var ready []int64
	killed, early := 0, 0
	for killed < kills && time.Now().Before(until) && !t.Failed() {
		time.Sleep(time.Duration(50+rand.IntN(600)) * time.Millisecond)
		s.Kill()
		killed++
		if rand.IntN(4) == 0 { // and once more while it starts
			timer := time.AfterFunc(time.Duration(rand.IntN(80))*time.Millisecond, s.Kill)
			if err := s.TryRestart(); err == nil && timer.Stop() {
				ready = append(ready, s.ReadyMs)
				continue
			}
			s.Kill() // the timer may have fired before there was a process
			killed++
			early++
		}
		s.Restart()
		ready = append(ready, s.ReadyMs)
	}
	l.sending.Store(false)
	finished := make(chan struct{})
	go func() { l.done.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(60 * time.Second):
		stop()
		t.Error("producers were not answered within 60 s of the last start")
		<-finished
	}
	check, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	records, err := testcluster.ReadAll(check, s.Kafka, topic, partitions)
	if err != nil {
		t.Fatal(err)
	}
	v := l.ledger.Check(records)
	slices.Sort(ready)
	t.Logf("kills %d (%d while starting), %v", killed, early, v)
	t.Logf("given up by producers %d; ready after a kill: median %d ms, worst %d ms", l.failed.Load(), ready[len(ready)/2], ready[len(ready)-1])
	if !v.OK() {
		t.Errorf("%v\n%v", v, v.Examples)
	}
	if v.Acked < 1000*min(killed, 10) {
		t.Errorf("only %d records were acknowledged: the test has shown nothing", v.Acked)
	}
	l.checkTopics()
	l.checkCommits()
}
