package kafkaserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// trio is three servers over one replicated metadata log, all in memory. Node 1 leads at first.
type trio struct {
	t     *testing.T
	kafka map[string]string
	nodes [3]*trioNode
}

type trioNode struct {
	*stack
	trio     *trio
	id       int32
	meta     *metalog.Log
	ctl      *controller.Controller
	sessions *controller.Sessions

	off      atomic.Bool // nothing reaches it, nothing leaves it
	deaf     atomic.Bool // its answers to forwarded requests are lost
	isolated atomic.Bool
	suspects atomic.Pointer[[]int32]
	lost     atomic.Pointer[[]int32]
	forwards atomic.Int64 // sent
	served   atomic.Int64 // run here for others
}

// Send implements metalog.Transport.
func (n *trioNode) Send(m *metalog.Message) {
	to := n.trio.nodes[m.To.NodeID-1]
	if !n.off.Load() && !to.off.Load() && to.meta != nil {
		to.meta.Deliver(m)
	}
}

// Forward implements Cluster.
func (n *trioNode) Forward(ctx context.Context, node int32, payload []byte) ([]byte, error) {
	n.forwards.Add(1)
	to := n.trio.nodes[node-1]
	if n.off.Load() || to.off.Load() {
		return nil, fmt.Errorf("node %d: %w", node, ErrNotSent)
	}
	to.served.Add(1)
	b, err := to.ServeForwarded(ctx, payload)
	if to.deaf.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return b, err
}

func (n *trioNode) AwaitApplied(ctx context.Context, offset int64) {
	n.sessions.AwaitApplied(ctx, offset)
}

func (n *trioNode) Suspects() []int32 {
	if s := n.suspects.Load(); s != nil {
		return *s
	}
	return nil
}

// Lost implements Cluster.
func (n *trioNode) Lost(_ context.Context, nodes []int32) (lost []int32) {
	if s := n.lost.Load(); s != nil {
		for _, id := range nodes {
			if slices.Contains(*s, id) {
				lost = append(lost, id)
			}
		}
	}
	return lost
}

func (n *trioNode) Isolated() bool { return n.isolated.Load() }

func newTrio(t *testing.T) *trio { return newTrioWith(t, nil) }

// newTrioWith starts the nodes with Kafka settings, each in a rack of its own: r1, r2, r3.
func newTrioWith(t *testing.T, kafka map[string]string) *trio {
	t.Helper()
	tr := &trio{t: t, kafka: kafka}
	var founders []metalog.Member
	for id := int32(1); id <= 3; id++ {
		founders = append(founders, metalog.Member{NodeID: id, DiskID: uuid.UUID{byte(id)}})
		tr.nodes[id-1] = &trioNode{trio: tr, id: id}
	}
	var lns [3]net.Listener
	for i, n := range tr.nodes {
		lns[i] = n.open(founders)
	}
	for _, n := range tr.nodes {
		n.meta.Start()
	}
	tr.lead(1, 1)
	for i, n := range tr.nodes {
		addr := lns[i].Addr().(*net.TCPAddr)
		if _, err := tr.nodes[0].ctl.RegisterBroker(t.Context(), controller.Registration{BrokerID: n.id, Incarnation: uuid.UUID{byte(n.id), 1},
			DiskID: uuid.UUID{byte(n.id)}, Rack: fmt.Sprint("r", n.id), Endpoints: []metadata.Endpoint{{Listener: metadata.ListenerKafka, Host: "127.0.0.1", Port: int32(addr.Port)}}}); err != nil {
			t.Fatal(err)
		}
		n.serve(lns[i])
	}
	return tr
}

// open builds a node up to its metadata log.
func (n *trioNode) open(founders []metalog.Member) net.Listener {
	t := n.trio.t
	fs, logger := vfs.NewMem(), slog.New(slog.DiscardHandler)
	fatal := func(err error) { t.Errorf("a log of node %d failed: %v", n.id, err) }
	store, err := partition.OpenStore(partition.StoreOptions{FS: fs, Dir: "data", Logger: logger,
		WAL: wal.Options{SlotBytes: 1 << 20, ZeroStep: 1 << 20, MaxBytes: 16 << 20, SealAfter: -1, OnFatal: fatal}})
	if err != nil {
		t.Fatal(err)
	}
	n.meta, err = metalog.Open(metalog.Options{FS: fs, Dir: "metadata", Self: founders[n.id-1], Boot: 1, SlotBytes: 1 << 20, HistoryBytes: 16 << 20,
		Genesis: metalog.Genesis{ClusterID: "c", Founders: founders, TimestampMs: 1}, OnHalt: fatal, Logger: logger, Transport: n})
	if err != nil {
		t.Fatal(err)
	}
	replicas := replica.NewSet(replica.Options{NodeID: n.id, Incarnation: uuid.UUID{byte(n.id), 1}, Store: store, Logger: logger,
		Settings: func(im *metadata.Image, topic, name string) string {
			return im.Config(metadata.ResourceTopic, topic)[name]
		}})
	n.ctl = controller.New(controller.Options{Log: n.meta, NodeID: n.id, Static: map[string]string{"default.replication.factor": "1"}})
	n.sessions = controller.NewSessions(controller.SessionsOptions{Controller: n.ctl})
	n.meta.Subscribe(replicas.Apply)
	n.meta.Subscribe(func(_, cur *metadata.Image, _ *metadata.Delta) {
		for _, other := range n.trio.nodes {
			if !n.off.Load() && !other.off.Load() {
				other.sessions.Applied(n.id, cur.Offset())
			}
		}
	})
	if err := replicas.Load(n.meta.Image()); err != nil {
		t.Fatal(err)
	}
	s, err := New(Deps{NodeID: n.id, ClusterID: "c", Config: &config.Config{NodeID: n.id, DataDir: "data", Kafka: n.trio.kafka}, Meta: n.meta, Controller: n.ctl,
		Replicas: replicas, Store: store, Logger: logger, Cluster: n}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.stack = &stack{Server: s, addr: ln.Addr().String()}
	t.Cleanup(func() {
		_ = n.meta.Close()
		_ = store.Close()
	})
	return ln
}

func (n *trioNode) serve(ln net.Listener) {
	served := make(chan error, 1)
	go func() { served <- n.Serve(Listener{Name: "PLAINTEXT", Net: ln}) }()
	n.trio.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			n.trio.t.Error(err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			n.trio.t.Error(err)
		}
	})
}

// lead makes a node the controller in a term.
func (tr *trio) lead(id int32, term uint64) {
	tr.t.Helper()
	n := tr.nodes[id-1]
	n.meta.Claimed(term, n.meta.SelfBallot())
	deadline := time.Now().Add(10 * time.Second)
	for n.meta.Status().Role != metalog.RoleLeader {
		if time.Now().After(deadline) {
			tr.t.Fatalf("node %d does not lead: %+v", id, n.meta.Status())
		}
		time.Sleep(time.Millisecond)
	}
}

func (tr *trio) dial(id int32) *client { return tr.nodes[id-1].dial(tr.t) }

func createRequest(name string, partitions int32, replicas int16) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 5000
	n := kmsg.NewCreateTopicsRequestTopic()
	n.Topic, n.NumPartitions, n.ReplicationFactor = name, partitions, replicas
	req.Topics = append(req.Topics, n)
	return req
}

func metadataRequest(create bool, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = create
	for _, n := range names {
		q := kmsg.NewMetadataRequestTopic()
		q.Topic = kmsg.StringPtr(n)
		req.Topics = append(req.Topics, q)
	}
	return req
}

func code(c int16) string {
	if c == 0 {
		return "none"
	}
	return kerr.ErrorForCode(c).Error()
}

// What is created through any broker is there on every other when the answer comes, spread over all.
func TestForwardingShowsEverywhere(t *testing.T) {
	tr := newTrio(t)
	for id := int32(1); id <= 3; id++ {
		for v := int16(2); v <= 7; v++ {
			name := fmt.Sprintf("t-%d-%d", id, v)
			resp := tr.dial(id).ask(v, createRequest(name, 3, -1)).(*kmsg.CreateTopicsResponse)
			if c := resp.Topics[0].ErrorCode; c != 0 {
				t.Fatalf("create %s: %s", name, code(c))
			}
			leaders := map[int32]bool{}
			for _, n := range tr.nodes {
				topic := n.image().Topic(name)
				if topic == nil {
					t.Fatalf("%s, created on node %d, is not on node %d", name, id, n.id)
				}
				for i, p := range topic.Partitions {
					leaders[p.Leader] = true
					if has := n.replica(name, int32(i)) != nil; has != (p.Leader == n.id) || len(p.Replicas) != 1 {
						t.Errorf("%s-%d with replicas %v has a log on node %d: %t", name, i, p.Replicas, n.id, has)
					}
				}
			}
			if len(leaders) != 3 {
				t.Errorf("%s is led by %v", name, leaders)
			}
		}
	}
	if n := tr.nodes[0].served.Load(); n != 12 {
		t.Errorf("the controller served %d requests for others, want 12", n)
	}
	four := tr.dial(2).ask(7, createRequest("four", 1, 4)).(*kmsg.CreateTopicsResponse)
	if four.Topics[0].ErrorCode != kerr.InvalidReplicationFactor.Code {
		t.Errorf("four replicas: %s", code(four.Topics[0].ErrorCode))
	}
}

func TestAutoCreationAndProducerIDsThroughTheController(t *testing.T) {
	tr := newTrio(t)
	resp := tr.dial(3).ask(12, metadataRequest(true, "auto", "no good")).(*kmsg.MetadataResponse)
	for _, topic := range resp.Topics {
		switch *topic.Topic {
		case "auto":
			if topic.ErrorCode != 0 || len(topic.Partitions) != 1 || topic.Partitions[0].Leader < 1 {
				t.Errorf("auto: %s %+v", code(topic.ErrorCode), topic)
			}
		default:
			if topic.ErrorCode != kerr.InvalidTopicException.Code {
				t.Errorf("%s: %s", *topic.Topic, code(topic.ErrorCode))
			}
		}
	}
	if resp.ControllerID != 1 || len(resp.Brokers) != 3 {
		t.Errorf("controller %d, %d brokers", resp.ControllerID, len(resp.Brokers))
	}
	for _, n := range tr.nodes {
		if n.image().Topic("auto") == nil {
			t.Errorf("node %d does not know the topic", n.id)
		}
	}
	ids := map[int64]bool{}
	for id := int32(1); id <= 3; id++ {
		c := tr.dial(id)
		for range 3 {
			resp := c.ask(4, kmsg.NewPtrInitProducerIDRequest()).(*kmsg.InitProducerIDResponse)
			if resp.ErrorCode != 0 || ids[resp.ProducerID] {
				t.Errorf("producer id %d from node %d: %s, again %t", resp.ProducerID, id, code(resp.ErrorCode), ids[resp.ProducerID])
			}
			ids[resp.ProducerID] = true
		}
	}
}

// While nobody leads, requests wait and nothing is done; when somebody does again, they are done once.
func TestForwardingWaitsForAController(t *testing.T) {
	tr := newTrio(t)
	tr.nodes[0].off.Store(true)
	req := createRequest("lost", 1, 1)
	req.TimeoutMillis = 1000
	start := time.Now()
	resp := tr.dial(2).ask(7, req).(*kmsg.CreateTopicsResponse)
	if c := resp.Topics[0].ErrorCode; c != kerr.NotController.Code {
		t.Errorf("without a controller: %s", code(c))
	}
	if took := time.Since(start); took < time.Second || took > 3*time.Second {
		t.Errorf("answered after %v", took)
	}
	answers := make(chan *kmsg.CreateTopicsResponse, 2)
	var asked sync.WaitGroup
	for id := int32(2); id <= 3; id++ {
		c := tr.dial(id)
		asked.Go(func() {
			answers <- c.ask(7, createRequest(fmt.Sprint("later-", id), 1, 1)).(*kmsg.CreateTopicsResponse)
		})
	}
	time.Sleep(100 * time.Millisecond)
	tr.lead(2, 2)
	asked.Wait()
	for range 2 {
		if a := <-answers; a.Topics[0].ErrorCode != 0 {
			t.Errorf("%s: %s", a.Topics[0].Topic, code(a.Topics[0].ErrorCode))
		}
	}
	if im := tr.nodes[2].image(); im.Topic("lost") != nil || im.Topic("later-2") == nil || im.Topic("later-3") == nil {
		t.Error("the topics are not those that were answered")
	}
}

// The controller has done it, and its answer is lost: the outcome is unknown, and nobody does it again.
func TestForwardingUnknownOutcome(t *testing.T) {
	tr := newTrio(t)
	tr.nodes[0].deaf.Store(true)
	req := createRequest("t", 1, 1)
	req.TimeoutMillis = 1000
	resp := tr.dial(3).ask(7, req).(*kmsg.CreateTopicsResponse)
	if c := resp.Topics[0].ErrorCode; c != kerr.RequestTimedOut.Code {
		t.Errorf("%s", code(c))
	}
	if n := tr.nodes[2].forwards.Load(); n != 1 {
		t.Errorf("sent %d times", n)
	}
	// Another node leads: waiting for the first one's answer ends early.
	start := time.Now()
	go func() {
		time.Sleep(100 * time.Millisecond)
		tr.nodes[0].off.Store(true)
		tr.nodes[1].meta.Claimed(2, tr.nodes[1].meta.SelfBallot())
	}()
	resp = tr.dial(3).ask(7, createRequest("u", 1, 1)).(*kmsg.CreateTopicsResponse)
	if c := resp.Topics[0].ErrorCode; c != kerr.RequestTimedOut.Code || time.Since(start) > 3*time.Second {
		t.Errorf("%s after %v", code(c), time.Since(start))
	}
}

// A broker that lags holds an answer up once, for 100 ms, and then no more until it has caught up.
func TestLaggingBrokerIsSkipped(t *testing.T) {
	tr := newTrio(t)
	tr.nodes[2].off.Store(true)
	took := make([]time.Duration, 3)
	for i := range took {
		start := time.Now()
		resp := tr.dial(2).ask(7, createRequest(fmt.Sprint("t", i), 1, 1)).(*kmsg.CreateTopicsResponse)
		if c := resp.Topics[0].ErrorCode; c != 0 {
			t.Fatal(code(c))
		}
		took[i] = time.Since(start)
	}
	if took[0] < controller.ShownWithin || took[1] >= controller.ShownWithin || took[2] >= controller.ShownWithin {
		t.Errorf("answers after %v", took)
	}
}

// Clients that ask the wrong broker are told the right one.
func TestLeaderElsewhere(t *testing.T) {
	tr := newTrio(t)
	if resp := tr.dial(1).ask(7, createRequest("t", 3, 1)).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Fatal(code(resp.Topics[0].ErrorCode))
	}
	topic := tr.nodes[0].image().Topic("t")
	for n, p := range topic.Partitions {
		for _, node := range tr.nodes {
			c := node.dial(t)
			resp := c.ask(12, produceRequest("t", -1, map[int32][]byte{int32(n): records(1, 10)})).(*kmsg.ProduceResponse)
			got := resp.Topics[0].Partitions[0]
			if node.id == p.Leader {
				if got.ErrorCode != 0 {
					t.Errorf("produce to the leader of %d: %s", n, code(got.ErrorCode))
				}
				continue
			}
			if got.ErrorCode != kerr.NotLeaderForPartition.Code || got.CurrentLeader.LeaderID != p.Leader || len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != p.Leader {
				t.Errorf("produce to %d at node %d, led by %d: %s, leader %d, brokers %v", n, node.id, p.Leader, code(got.ErrorCode), got.CurrentLeader.LeaderID, resp.Brokers)
			}
			for _, v := range []int16{12, 16} {
				req := fetchRequest("t", 0, map[int32]int64{int32(n): 0})
				req.Topics[0].TopicID = topic.ID
				f := c.ask(v, req).(*kmsg.FetchResponse)
				part := f.Topics[0].Partitions[0]
				told := part.CurrentLeader.LeaderID == p.Leader && len(f.Brokers) == 1 && f.Brokers[0].NodeID == p.Leader
				if part.ErrorCode != kerr.NotLeaderForPartition.Code || told != (v >= 16) {
					t.Errorf("fetch v%d of %d at node %d: %s, leader %d, brokers %v", v, n, node.id, code(part.ErrorCode), part.CurrentLeader.LeaderID, f.Brokers)
				}
			}
			list := kmsg.NewPtrListOffsetsRequest()
			lt, lp := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
			lt.Topic, lp.Partition, lp.Timestamp = "t", int32(n), -1
			lt.Partitions = append(lt.Partitions, lp)
			list.Topics = append(list.Topics, lt)
			if l := c.ask(6, list).(*kmsg.ListOffsetsResponse); l.Topics[0].Partitions[0].ErrorCode != kerr.NotLeaderForPartition.Code {
				t.Errorf("list offsets of %d at node %d: %s", n, node.id, code(l.Topics[0].Partitions[0].ErrorCode))
			}
		}
	}
}

func TestMetadataOfSuspectsAndIsolation(t *testing.T) {
	tr := newTrio(t)
	if resp := tr.dial(1).ask(7, createRequest("t", 3, 1)).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != 0 {
		t.Fatal(code(resp.Topics[0].ErrorCode))
	}
	c := tr.dial(2)
	leaderOf := func(resp kmsg.Response, n int) int32 {
		for _, p := range resp.(*kmsg.MetadataResponse).Topics[0].Partitions {
			if p.Leader == int32(n) {
				return p.Leader
			}
		}
		return -1
	}
	tr.nodes[1].suspects.Store(&[]int32{3})
	start := time.Now()
	if resp := c.ask(12, metadataRequest(false, "t")); leaderOf(resp, 3) != 3 || time.Since(start) < suspectWait {
		t.Errorf("a leader that stays: %d after %v", leaderOf(resp, 3), time.Since(start))
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = tr.nodes[0].ctl.FenceBroker(context.Background(), 3, tr.nodes[0].image().Broker(3).Epoch)
	}()
	start = time.Now()
	if resp := c.ask(12, metadataRequest(false, "t")); leaderOf(resp, 3) != -1 || time.Since(start) > 800*time.Millisecond {
		t.Errorf("a leader that is fenced: %d after %v", leaderOf(resp, 3), time.Since(start))
	}
	start = time.Now()
	if c.ask(12, metadataRequest(false, "t")); time.Since(start) > 500*time.Millisecond {
		t.Errorf("a suspect that is fenced holds an answer back for %v", time.Since(start))
	}
	// A leader of whose end nobody has told this node, and that does not answer it.
	tr.nodes[1].lost.Store(&[]int32{1})
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = tr.nodes[0].ctl.FenceBroker(context.Background(), 1, tr.nodes[0].image().Broker(1).Epoch)
	}()
	start = time.Now()
	if resp := c.ask(12, metadataRequest(false, "t")); leaderOf(resp, 1) != -1 || time.Since(start) > 800*time.Millisecond {
		t.Errorf("a leader that is lost: %d after %v", leaderOf(resp, 1), time.Since(start))
	}
	if err := tr.nodes[0].ctl.UnfenceBroker(t.Context(), 1, tr.nodes[0].image().Broker(1).Epoch); err != nil {
		t.Fatal(err)
	}
	tr.nodes[1].lost.Store(nil)
	tr.nodes[1].isolated.Store(true)
	if resp := c.ask(12, metadataRequest(false, "t")); leaderOf(resp, 2) != -1 || leaderOf(resp, 1) != 1 {
		t.Errorf("isolated, it names as leader itself %d, another %d", leaderOf(resp, 2), leaderOf(resp, 1))
	}
}

func TestClusterAPIsOnEveryNode(t *testing.T) {
	tr := newTrio(t)
	if resp := tr.dial(1).ask(7, createRequest("t", 3, 1)).(*kmsg.CreateTopicsResponse); resp.Topics[0].ErrorCode != 0 { // all show it then
		t.Fatal(code(resp.Topics[0].ErrorCode))
	}
	for _, n := range tr.nodes {
		c := n.dial(t)
		cluster := c.ask(1, kmsg.NewPtrDescribeClusterRequest()).(*kmsg.DescribeClusterResponse)
		if cluster.ControllerID != 1 || len(cluster.Brokers) != 3 {
			t.Errorf("node %d: controller %d, %d brokers", n.id, cluster.ControllerID, len(cluster.Brokers))
		}
		req := kmsg.NewPtrDescribeQuorumRequest()
		qt, qp := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
		qt.Topic = kafkaMetadataTopic
		qt.Partitions = append(qt.Partitions, qp)
		req.Topics = append(req.Topics, qt)
		p := c.ask(2, req).(*kmsg.DescribeQuorumResponse).Topics[0].Partitions[0]
		if p.LeaderID != 1 || len(p.CurrentVoters) != 3 {
			t.Fatalf("node %d: %+v", n.id, p)
		}
		for _, v := range p.CurrentVoters {
			if v.LogEndOffset < p.HighWatermark-1 {
				t.Errorf("node %d: voter %d has %d of %d", n.id, v.ReplicaID, v.LogEndOffset, p.HighWatermark)
			}
		}
	}
}

func TestForwardedBytes(t *testing.T) {
	id := "client"
	r := &request{key: 19, version: 7, clientID: &id, host: "h"}
	for _, b := range [][]byte{appendForwardedRequest(nil, r, []byte("body")), appendForwardedCreation(nil, []string{"a", "b"}), appendForwardedProducerIDs(nil, 1, 2, 3)} {
		f, err := decodeForwarded(b)
		if err != nil {
			t.Fatal(err)
		}
		if f.kind == forwardRequest && (f.key != 19 || f.version != 7 || *f.clientID != id || f.host != "h" || string(f.body) != "body") {
			t.Errorf("%+v", f)
		}
		for n := range b {
			if _, err := decodeForwarded(b[:n]); err == nil {
				t.Errorf("%d of %d bytes are taken for a request", n, len(b))
			}
		}
		if _, err := decodeForwarded(append(b, 0)); err == nil {
			t.Error("a byte too many is taken")
		}
	}
	results, err := decodeCreated(appendCreated(nil, []controller.TopicResult{{Name: "a", ID: uuid.UUID{1}}, {Name: "b", Err: controller.ErrInvalidTopic}}))
	if err != nil || results[0].Err != nil || results[0].ID != (uuid.UUID{1}) || errorCode(results[1].Err) != kerr.InvalidTopicException.Code {
		t.Errorf("%+v %v", results, err)
	}
}
