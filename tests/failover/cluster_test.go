package failover

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/testcluster"
)

const (
	nodes        = 3
	groupsTopic  = "__consumer_offsets"
	mostPatience = time.Minute // for what takes a second on a machine that has nothing else to do
)

func TestMain(m *testing.M) {
	code := m.Run()
	testcluster.Cleanup()
	os.Exit(code)
}

// TestFailover runs all parts on one cluster, one after the other.
func TestFailover(t *testing.T) {
	c := &rig{Cluster: testcluster.StartCluster(t, nodes, testcluster.Options{
		Config: "[kafka]\n\"group.initial.rebalance.delay.ms\" = 500\n"})}
	c.admin = kadm.NewClient(c.client(t))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *rig)
	}{
		{"coordinator", coordinatorKilled},
		{"rebalance", killedInRebalance},
		{"static", staticMembers},
		{"clean", cleanedLog},
		{"producer", leaderKilled},
		{"all", allKilled},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, c) }) {
			return // what comes next would begin from ruins
		}
	}
}

// kills is how often a part kills.
func kills(t *testing.T, by int) int {
	if v := os.Getenv("CHRONIK_FAILOVER_KILLS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("CHRONIK_FAILOVER_KILLS: %v", err)
		}
		return n
	}
	return by
}

// rig is a cluster and somebody who looks into it.
type rig struct {
	*testcluster.Cluster
	admin *kadm.Client
}

// connect makes a client that looks for another broker soon, and as often as it takes: one that gave up after twenty attempts would join its
// group anew. Whoever asks for it closes it.
func (c *rig) connect(more ...kgo.Opt) *kgo.Client {
	k, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Addresses()...), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.RetryTimeout(mostPatience),
		kgo.RequestRetries(10_000)}, more...)...)
	if err != nil {
		panic(err) // the options are wrong
	}
	return k
}

// client is connect for the rest of the test.
func (c *rig) client(t *testing.T, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	k := c.connect(more...)
	t.Cleanup(k.Close)
	return k
}

// ask lets fn ask with a client that knows nothing of who led before. A client that does nothing else keeps dialling a coordinator that is
// gone.
func (c *rig) ask(fn func(*kadm.Client) bool) bool {
	k := c.connect()
	defer k.Close()
	return fn(kadm.NewClient(k))
}

// watch has offsets looked up until the returned function is called, which gives the last look its time.
func (c *rig) watch(t *testing.T, o *Offsets) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Watch(ctx, func() *kgo.Client { return c.connect() })
	}()
	return func() {
		cancel()
		<-done
		until(t, "the offsets of "+o.group+" are told", func(ctx context.Context) bool {
			return c.ask(func(k *kadm.Client) bool { return o.Look(ctx, k) == nil })
		})
		stillThere(t, o)
	}
}

func (c *rig) topic(t *testing.T, name string, partitions int32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mostPatience)
	defer cancel()
	if _, err := c.admin.CreateTopic(ctx, partitions, nodes, nil, name); err != nil {
		t.Fatal(err)
	}
}

// until waits for something to become true.
func until(t *testing.T, what string, ok func(context.Context) bool) time.Duration {
	t.Helper()
	began := time.Now()
	for ; time.Since(began) < mostPatience; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		done := ok(ctx)
		cancel()
		if done {
			return time.Since(began)
		}
	}
	t.Fatalf("not within %v: %s", mostPatience, what)
	return 0
}

// partitions is what the cluster says of a topic.
func (c *rig) partitions(ctx context.Context, topic string) kadm.PartitionDetails {
	m, err := c.admin.Metadata(ctx, topic)
	if err != nil || m.Topics[topic].Err != nil {
		return nil
	}
	return m.Topics[topic].Partitions
}

// whole waits until all nodes are in sync everywhere.
func (c *rig) whole(t *testing.T, topics ...string) {
	t.Helper()
	var missing []string
	defer func() {
		if t.Failed() && len(missing) > 0 {
			t.Logf("not in sync: %v", missing)
		}
	}()
	until(t, "all replicas are in sync", func(ctx context.Context) bool {
		missing = nil
		for _, topic := range topics {
			parts := c.partitions(ctx, topic)
			for _, p := range parts {
				if len(p.ISR) != nodes || p.Leader < 0 {
					missing = append(missing, fmt.Sprintf("%s-%d: leader %d in epoch %d, in sync %v", topic, p.Partition, p.Leader, p.LeaderEpoch, p.ISR))
				}
			}
			if len(parts) == 0 {
				missing = append(missing, topic+" is not told")
			}
		}
		return len(missing) == 0
	})
}

// coordinator asks for a group's coordinator until there is one.
func (c *rig) coordinator(t *testing.T, group string) (node int32) {
	t.Helper()
	until(t, "group "+group+" has a coordinator", func(ctx context.Context) bool {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey, req.CoordinatorKeys = group, []string{group}
		k := c.connect()
		defer k.Close()
		resp, err := req.RequestWith(ctx, k)
		if err != nil || len(resp.Coordinators) != 1 || resp.Coordinators[0].ErrorCode != 0 {
			return false
		}
		node = resp.Coordinators[0].NodeID
		return true
	})
	return node
}

// leader asks for a partition's leader until there is one.
func (c *rig) leader(t *testing.T, topic string, partition int32) (node int32) {
	t.Helper()
	until(t, topic+" has a leader", func(ctx context.Context) bool {
		p, ok := c.partitions(ctx, topic)[partition]
		node = p.Leader
		return ok && node > 0
	})
	return node
}

func (c *rig) kill(node int32) { c.Nodes[node-1].Kill() }

func (c *rig) restart(t *testing.T, node int32) {
	t.Helper()
	c.Nodes[node-1].Restart()
}

// stillThere checks what a watcher of offsets found.
func stillThere(t *testing.T, o *Offsets) {
	t.Helper()
	asked, wrong := o.Asked()
	if asked == 0 {
		t.Errorf("offsets of %s: nobody was ever told", o.group)
	}
	for i, err := range wrong {
		if i == 10 {
			t.Errorf("... %d more", len(wrong)-i)
			break
		}
		t.Errorf("offsets of %s: %v", o.group, err)
	}
}
