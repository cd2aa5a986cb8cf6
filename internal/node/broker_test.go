package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
)

// threeConfigs are the configurations of a cluster on free ports.
func threeConfigs(t *testing.T) []*config.Config {
	t.Helper()
	var peers strings.Builder
	var binds [4]strings.Builder
	for id := 1; id <= 3; id++ {
		fmt.Fprintf(&peers, "[[peers]]\nid = %d\n", id)
		for _, port := range []string{"kafka", "wal", "raft"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }() // all are held until the last one is known
			fmt.Fprintf(&peers, "%s = %q\n", port, l.Addr())
			fmt.Fprintf(&binds[id], "%s = %q\n", port, l.Addr())
		}
	}
	var all []*config.Config
	for id := 1; id <= 3; id++ {
		dir := t.TempDir()
		file := filepath.Join(dir, "node.toml")
		text := fmt.Sprintf("node_id = %d\ndata_dir = %q\nhttp = \"off\"\n[bind]\n%s%s", id, filepath.Join(dir, "data"), binds[id].String(), peers.String())
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Options{File: file})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// startAll starts nodes side by side, as nodes that found a cluster wait for each other.
func startAll(t *testing.T, configs ...*config.Config) []*Node {
	t.Helper()
	nodes := make([]*Node, len(configs))
	errs := make([]error, len(configs))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i, c := range configs {
		wg.Go(func() { nodes[i], errs[i] = Start(ctx, Options{Config: c, Logger: quiet(), Started: time.Now()}) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("node %d: %v", i+1, err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return nodes
}

func eventually(t *testing.T, what string, within time.Duration, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begin)
}

// controllerOf is the index of the node that leads the metadata log, -1 for none.
func controllerOf(nodes []*Node) int {
	for i, n := range nodes {
		if n.meta.Status().Role == metalog.RoleLeader {
			return i
		}
	}
	return -1
}

func create(t *testing.T, n *Node, topic string, partitions int32) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.ports.kafka.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	r := kmsg.NewCreateTopicsRequestTopic()
	r.Topic, r.NumPartitions, r.ReplicationFactor = topic, partitions, -1
	req.Topics = append(req.Topics, r)
	req.TimeoutMillis = 10_000
	seed := c.SeedBrokers()[0] // this node, whoever the controller is
	resp, err := seed.Request(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.(*kmsg.CreateTopicsResponse).Topics[0]; got.ErrorCode != 0 {
		t.Fatalf("create %s on node %d: error %d", topic, n.id.NodeID, got.ErrorCode)
	}
}

func TestThreeNodesServeAsOne(t *testing.T) {
	configs := threeConfigs(t)
	nodes := startAll(t, configs...)
	defer func() {
		for _, n := range nodes {
			stopNode(t, n)
		}
	}()
	var seeds []string
	for i, n := range nodes {
		seeds = append(seeds, n.ports.kafka.Addr().String())
		topic := fmt.Sprint("t", i)
		create(t, n, topic, 3)
		for _, other := range nodes {
			if other.meta.Image().Topic(topic) == nil {
				t.Errorf("%s, created on node %d, is not on node %d", topic, n.id.NodeID, other.id.NodeID)
			}
		}
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeTopics("t0"), kgo.ConsumerGroup("g"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for p := range int32(3) {
		if err := c.ProduceSync(ctx, &kgo.Record{Topic: "t0", Partition: p, Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < 3; {
		f := c.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("a group over three brokers read %d of 3 records", got)
		}
		got += f.NumRecords()
	}

	lead := controllerOf(nodes)
	if lead < 0 {
		t.Fatal("nobody leads")
	}
	// A process that ends is fenced at once, and is in service again as soon as it can be.
	gone := (lead + 1) % 3
	stopNode(t, nodes[gone])
	id := nodes[gone].id.NodeID
	fenced := eventually(t, "the ended broker is fenced", 2*time.Second, func() bool { return nodes[lead].meta.Image().Broker(id).Fenced })
	for _, p := range nodes[lead].meta.Image().Topic("t0").Partitions {
		if p.Leader == id || p.Leader == metadata.NoLeader || p.InISR(id) {
			t.Errorf("the partition of replicas %v is led by %d, with %v in sync", p.Replicas, p.Leader, p.ISR)
		}
	}
	begin := time.Now()
	nodes[gone] = startAll(t, configs[gone])[0]
	if b := nodes[gone].meta.Image().Broker(id); b.Fenced {
		t.Error("it is ready and fenced")
	}
	t.Logf("fenced %v after its end, in service %v after its new start", fenced, time.Since(begin))
	back := eventually(t, "it is in sync again", 10*time.Second, func() bool {
		for _, p := range nodes[gone].meta.Image().Topic("t0").Partitions {
			if len(p.ISR) != len(p.Replicas) {
				return false
			}
		}
		return true
	})
	t.Logf("in sync again %v later", back)
}

func TestAloneItLeadsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes six seconds")
	}
	nodes := startAll(t, threeConfigs(t)...)
	create(t, nodes[0], "t", 3)
	last := controllerOf(nodes)
	for i, n := range nodes {
		if i != last {
			stopNode(t, n)
		}
	}
	n := nodes[last]
	defer stopNode(t, n)
	begin := time.Now()
	leads := func() bool {
		for _, r := range n.replicas.All() {
			if r.Leads() {
				return true
			}
		}
		return false
	}
	if !leads() {
		t.Fatal("it leads nothing from the beginning")
	}
	eventually(t, "the last node stops leading", isolatedAfter+3*time.Second, func() bool { return !leads() && n.broker.Isolated() })
	if took := time.Since(begin); took < isolatedAfter-3*time.Second {
		t.Errorf("it gave up after %v", took)
	}
}

// A process that was paused does not lead before it shows what the controller does: by then others may lead.
func TestLeaseAfterAPause(t *testing.T) {
	b := &broker{began: time.Now().Add(-time.Minute)}
	at := func(d time.Duration) int64 { return int64(d) }
	b.heard.Store(at(50 * time.Second))
	b.current.Store(at(50 * time.Second))
	if b.over(at(50*time.Second + isolatedAfter - 1)) {
		t.Error("a controller was heard in time")
	}
	if !b.over(at(50*time.Second + isolatedAfter + 1)) {
		t.Error("no controller was heard for too long")
	}
	b.resumed.Store(at(55 * time.Second))
	if !b.over(at(55 * time.Second)) {
		t.Error("it was paused")
	}
	b.heard.Store(at(55*time.Second + 1))
	if !b.over(at(55*time.Second + 2)) {
		t.Error("a controller answers, and its metadata is not here yet")
	}
	b.current.Store(at(55*time.Second + 1))
	if b.over(at(55*time.Second + 2)) {
		t.Error("a controller answers and its metadata is here")
	}
	b.ran.Store(b.clock() - int64(pausedFor) - 1)
	if !b.Isolated() {
		t.Error("it has been paused and has not looked yet")
	}
	b.ran.Store(b.clock())
	if b.Isolated() {
		t.Error("it runs")
	}
}

// The last node of a cluster has nobody to give its leaderships to, and stops at once; so does one whose controller is gone with it.
func TestTheLastNodeStopsAtOnce(t *testing.T) {
	nodes := startAll(t, threeConfigs(t)...)
	create(t, nodes[0], "t", 3)
	for i, n := range nodes {
		began := time.Now()
		stopNode(t, n)
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("the stop of node %d of 3 took %v", i+1, took)
		}
	}
}

func TestWhoIsNeeded(t *testing.T) {
	b := metadata.NewBatch(metadata.Empty())
	apply := func(offset int64, ev metadata.Event) {
		t.Helper()
		if err := b.Apply(offset, ev); err != nil {
			t.Fatal(err)
		}
	}
	for id := int32(1); id <= 3; id++ {
		apply(int64(id), &metadata.BrokerRegistered{BrokerID: id, BrokerEpoch: int64(id), Incarnation: uuid.New(), DiskID: uuid.New()})
	}
	topic := uuid.New()
	apply(4, &metadata.TopicCreated{Name: "t", TopicID: topic, Partitions: []metadata.PartitionState{{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, Leader: 1}},
		Configs: map[string]string{"min.insync.replicas": "2"}})
	for i, c := range []struct {
		who    int32
		isr    []int32
		event  metadata.Event
		needed bool
	}{
		{1, []int32{1, 2, 3}, nil, false},
		{1, []int32{1, 2}, nil, true}, // 3 is in service and comes
		{2, []int32{1, 3}, nil, false},
		{1, []int32{1, 2}, &metadata.BrokerFenced{BrokerID: 3, BrokerEpoch: 3}, false}, // nobody comes
	} {
		if c.event != nil {
			apply(int64(10+2*i), c.event)
		}
		var epochs []int64
		for _, id := range c.isr {
			epochs = append(epochs, int64(id))
		}
		apply(int64(11+2*i), &metadata.UpdateIsr{Name: "t", TopicID: topic, ISR: c.isr, BrokerEpochs: epochs, PartitionEpoch: int32(i) + 1})
		im, _ := b.Done()
		if needed(im, c.who) != c.needed {
			t.Errorf("ISR %v, %T: needed is %v", c.isr, c.event, !c.needed)
		}
		b = metadata.NewBatch(im)
	}
}
