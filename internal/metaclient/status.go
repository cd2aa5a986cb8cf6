package metaclient

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/chronikapi"
)

// nodeProbeTimeout bounds how long one silent node can hold up a status.
const nodeProbeTimeout = 2 * time.Second

// configBatch is how many topics one DescribeConfigs request names.
const configBatch = 500

// Status is the cluster's state in one value. Fields that the cluster cannot tell are -1.
type Status struct {
	ClusterID  string    `json:"clusterId"`
	State      State     `json:"state"`
	Tolerates  int       `json:"toleratesFailures"`
	Controller int32     `json:"controller"`
	Nodes      []Node    `json:"nodes"`
	Quorum     *Quorum   `json:"quorum"`
	Counts     Counts    `json:"counts"`
	Findings   []Finding `json:"findings"`
	// HashOffset is the entry whose hash was compared over all nodes, -1 for none.
	HashOffset   int64 `json:"hashOffset"`
	HashesDiffer bool  `json:"hashesDiffer"`

	// Partitions are all partitions but the metadata log's, by topic and number.
	Partitions []PartitionStatus `json:"-"`
}

// PartitionStatus is how a partition is.
type PartitionStatus struct {
	Topic       string  `json:"topic"`
	Partition   int32   `json:"partition"`
	Internal    bool    `json:"internal"`
	Leader      int32   `json:"leader"` // -1: none
	LeaderEpoch int32   `json:"leaderEpoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Live        []int32 `json:"liveIsr"` // those of the ISR whose node answers
	MinISR      int     `json:"minIsr"`  // min.insync.replicas, at most the number of replicas; -1 where it is not known
	Damaged     []int32 `json:"damaged"` // nodes that have found their own replica damaged

	Offline         bool `json:"offline"`         // no leader that answers
	LeaderFull      bool `json:"leaderDiskFull"`  // its leader takes no records: its disk is full
	UnderReplicated bool `json:"underReplicated"` // fewer live replicas in sync than replicas
	UnderMinISR     bool `json:"underMinIsr"`     // acks=all is refused
	AtMinISR        bool `json:"atMinIsr"`        // one more loss, and acks=all is refused
}

// State is the verdict on a cluster.
type State string

// Healthy: nothing is missing. Degraded: everything is served, with less in reserve. Unavailable: something is not served.
const (
	Healthy     State = "HEALTHY"
	Degraded    State = "DEGRADED"
	Unavailable State = "UNAVAILABLE"
)

// NodeState says how a node answers.
type NodeState string

// The states of a node.
const (
	NodeUp          NodeState = "up"
	NodeFenced      NodeState = "fenced"
	NodeUnreachable NodeState = "unreachable"
	NodeMissing     NodeState = "missing" // named by partitions or voters, but not registered
)

// Node is one member of the cluster, reachable or not.
type Node struct {
	ID             int32     `json:"id"`
	State          NodeState `json:"state"`
	Role           string    `json:"role"`
	Rack           string    `json:"rack"`
	Address        string    `json:"address"`
	RTTMs          float64   `json:"rttMs"`
	MetadataOffset int64     `json:"metadataOffset"`
	MetadataLag    int64     `json:"metadataLag"`
	Leaders        int       `json:"leaders"`
	Replicas       int       `json:"replicas"`
	UsedBytes      int64     `json:"usedBytes"`
	FreeBytes      int64     `json:"freeBytes"`
	TotalBytes     int64     `json:"totalBytes"`
	DiskFull       bool      `json:"diskFull"` // it takes no records because of that, as it says itself
	Error          string    `json:"error,omitempty"`

	// What only Chronik's nodes say; "" and -1 where it is not known.
	Version  string `json:"version,omitempty"`
	Disk     string `json:"diskId,omitempty"`
	UptimeMs int64  `json:"uptimeMs"`
	// LogRole is what the node is doing for the metadata log: follower, fencing, adopting, opening, leader.
	LogRole string `json:"metadataRole,omitempty"`
	// ImageHash is of the node's image at ImageOffset.
	ImageOffset int64  `json:"imageOffset"`
	ImageHash   string `json:"imageHash,omitempty"`
	// EntryHash is of the entry at HashOffset, which is the same for all nodes of a status: equal hashes mean equal history.
	HashOffset int64  `json:"hashOffset"`
	EntryHash  string `json:"entryHash,omitempty"`

	info *chronikapi.NodeInfoResponse
}

// Quorum is the state of the metadata log's voters.
type Quorum struct {
	Leader        int32   `json:"leader"`
	Epoch         int32   `json:"epoch"`
	HighWatermark int64   `json:"highWatermark"`
	Voters        []int32 `json:"voters"`
	Observers     []int32 `json:"observers"`
}

// Counts are sums over all partitions.
type Counts struct {
	Topics          int `json:"topics"`
	Partitions      int `json:"partitions"`
	Replicas        int `json:"replicas"`
	UnderReplicated int `json:"underReplicated"`
	Offline         int `json:"offline"`
	AtMinISR        int `json:"atMinIsr"`
	UnderMinISR     int `json:"underMinIsr"`
	Damaged         int `json:"damaged"` // partitions of which a replica is damaged
}

// Finding is one reason for the verdict and what to do about it. One of severity Healthy says why there is nothing to spare.
type Finding struct {
	Severity State  `json:"severity"`
	Text     string `json:"text"`
	Next     string `json:"next,omitempty"`
}

// facts is what was read from the cluster; judge makes a Status of it.
type facts struct {
	clusterID  string
	controller int32
	nodes      map[int32]*Node
	quorum     *Quorum
	voterEnds  map[int32]int64
	partitions []partitionFacts
	topics     int
	minISR     map[string]int // nil when not readable
}

type partitionFacts struct {
	topic         string
	partition     int32
	leader        int32
	leaderEpoch   int32
	replicas, isr []int32
	internal      bool
}

// Status reads the state of the cluster. A node that does not answer is a row, not an error.
func (c *Client) Status(ctx context.Context) (*Status, error) { return c.StatusWithin(ctx, 0) }

// StatusWithin is Status with a bound of its own for the first part, which nodes and partitions there are; 0 leaves that to ctx. Every
// other part is always bounded by itself, and what one of them lacks does not cost the rest.
func (c *Client) StatusWithin(ctx context.Context, first time.Duration) (*Status, error) {
	f := &facts{controller: -1, nodes: map[int32]*Node{}}
	tctx, cancel := ctx, context.CancelFunc(func() {})
	if first > 0 {
		tctx, cancel = context.WithTimeout(ctx, first)
	}
	err := c.readTopology(tctx, f)
	cancel()
	if err != nil {
		return nil, Explain("read the cluster's state", err)
	}
	var wg sync.WaitGroup
	wg.Add(3)
	go func() { defer wg.Done(); c.probeNodes(ctx, f) }()
	go func() { defer wg.Done(); f.quorum, f.voterEnds = c.readQuorum(ctx) }()
	go func() { defer wg.Done(); f.minISR = c.readMinISR(ctx, f) }()
	wg.Wait()
	c.compareHashes(ctx, f)
	if err := ctx.Err(); err != nil {
		return nil, Explain("read the cluster's state", err)
	}
	return judge(f), nil
}

func newNode(id int32) *Node {
	return &Node{ID: id, State: NodeMissing, RTTMs: -1, MetadataOffset: -1, MetadataLag: -1, UsedBytes: -1, FreeBytes: -1, TotalBytes: -1, UptimeMs: -1, ImageOffset: -1, HashOffset: -1}
}

func (f *facts) node(id int32) *Node {
	n, ok := f.nodes[id]
	if !ok {
		n = newNode(id)
		f.nodes[id] = n
	}
	return n
}

// readTopology reads brokers and partitions from Metadata, and fenced brokers from DescribeCluster where it is known.
func (c *Client) readTopology(ctx context.Context, f *facts) error {
	described := make(chan *kmsg.DescribeClusterResponse, 1)
	go func() { described <- c.describeCluster(ctx) }() // beside the other: each may ask a silent broker first
	// all topics
	answer, err := c.askAny(ctx, func() kmsg.Request { return kmsg.NewPtrMetadataRequest() })
	if err != nil {
		return err
	}
	m := answer.(*kmsg.MetadataResponse)
	f.clusterID, f.controller = deref(m.ClusterID), m.ControllerID
	c.learnNodes(m)
	for _, b := range m.Brokers {
		n := f.node(b.NodeID)
		n.State, n.Address, n.Rack = NodeUp, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), deref(b.Rack)
	}
	for _, t := range m.Topics {
		name := deref(t.Topic)
		if t.ErrorCode != 0 || name == MetadataTopic {
			continue // the metadata log is every node's, and the quorum below tells of it
		}
		f.topics++
		for _, p := range t.Partitions {
			f.partitions = append(f.partitions, partitionFacts{name, p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, t.IsInternal})
			for _, id := range p.Replicas {
				f.node(id)
			}
		}
	}
	slices.SortFunc(f.partitions, func(a, b partitionFacts) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	if resp := <-described; resp != nil {
		for _, b := range resp.Brokers {
			n := f.node(b.NodeID)
			n.Address, n.Rack = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), deref(b.Rack)
			if b.IsFenced {
				n.State = NodeFenced
			}
		}
	}
	return nil
}

// learnNodes takes over where the brokers are.
func (c *Client) learnNodes(m *kmsg.MetadataResponse) {
	for _, b := range m.Brokers {
		c.nodes.learn(b.NodeID, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
}

// describeCluster asks for all brokers, fenced ones too; nil where the cluster does not know the request, or nobody answered.
func (c *Client) describeCluster(ctx context.Context) *kmsg.DescribeClusterResponse {
	answer, err := c.askAny(ctx, func() kmsg.Request {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.IncludeFencedBrokers = true
		return req
	})
	if resp, ok := answer.(*kmsg.DescribeClusterResponse); err == nil && ok && resp.ErrorCode == 0 {
		return resp
	}
	return nil
}

// probeNodes asks every registered node directly: does it answer, how fast, how full is its disk.
func (c *Client) probeNodes(ctx context.Context, f *facts) {
	var wg sync.WaitGroup
	for _, n := range f.nodes {
		if n.State != NodeUp {
			continue
		}
		wg.Go(func() { c.probeNode(ctx, n) })
	}
	wg.Wait()
}

func (c *Client) probeNode(ctx context.Context, n *Node) {
	ctx, cancel := context.WithTimeout(ctx, nodeProbeTimeout)
	defer cancel()
	b := c.broker(n.ID)
	if _, err := b.Request(ctx, kmsg.NewPtrApiVersionsRequest()); err != nil {
		n.State, n.Error = NodeUnreachable, dialCause(err)
		if errors.Is(err, kerr.SaslAuthenticationFailed) {
			n.Error = "authentication failed"
		}
		return
	}
	begin := time.Now() // the second request does not pay for the connection
	if _, err := b.Request(ctx, kmsg.NewPtrApiVersionsRequest()); err == nil {
		n.RTTMs = float64(time.Since(begin).Microseconds()) / 1000
	}
	if info, err := c.NodeInfo(ctx, n.ID, chronikapi.None); err == nil {
		n.takeInfo(info)
	}
	resp, err := b.Request(ctx, kmsg.NewPtrDescribeLogDirsRequest())
	if err != nil {
		return
	}
	var total, free int64
	for _, d := range resp.(*kmsg.DescribeLogDirsResponse).Dirs {
		if err := kerr.ErrorForCode(d.ErrorCode); err != nil {
			n.Error = "log directory " + d.Dir + ": " + Cause(err)
			continue
		}
		n.UsedBytes = max(n.UsedBytes, 0)
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				n.UsedBytes += p.Size
			}
		}
		if d.TotalBytes > 0 {
			total, free = total+d.TotalBytes, free+d.UsableBytes
		}
	}
	if total > 0 && n.TotalBytes < 0 {
		n.TotalBytes, n.FreeBytes = total, free
	}
}

// readQuorum reads the voters of the metadata log; nil where the cluster does not tell.
func (c *Client) readQuorum(ctx context.Context) (*Quorum, map[int32]int64) {
	ctx, cancel := context.WithTimeout(ctx, nodeProbeTimeout) // it goes to the controller, which may be silent
	defer cancel()
	answer, err := c.askAny(ctx, func() kmsg.Request {
		req := kmsg.NewPtrDescribeQuorumRequest()
		t := kmsg.NewDescribeQuorumRequestTopic()
		t.Topic = "__cluster_metadata" // the name that Kafka's own tools ask for
		t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		req.Topics = append(req.Topics, t)
		return req
	})
	resp, ok := answer.(*kmsg.DescribeQuorumResponse)
	if err != nil || !ok || resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, nil
	}
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return nil, nil
	}
	q := &Quorum{Leader: p.LeaderID, Epoch: p.LeaderEpoch, HighWatermark: p.HighWatermark, Voters: []int32{}, Observers: []int32{}}
	ends := map[int32]int64{}
	for _, v := range p.CurrentVoters {
		q.Voters = append(q.Voters, v.ReplicaID)
		ends[v.ReplicaID] = v.LogEndOffset
	}
	for _, o := range p.Observers {
		q.Observers = append(q.Observers, o.ReplicaID)
		ends[o.ReplicaID] = o.LogEndOffset
	}
	slices.Sort(q.Voters)
	slices.Sort(q.Observers)
	return q, ends
}

// readMinISR reads min.insync.replicas of every topic; nil where that is not allowed or not known.
func (c *Client) readMinISR(ctx context.Context, f *facts) map[string]int {
	var names []string
	for _, p := range f.partitions {
		if p.partition == 0 {
			names = append(names, p.topic)
		}
	}
	out := make(map[string]int, len(names))
	for chunk := range slices.Chunk(names, configBatch) {
		cctx, cancel := context.WithTimeout(ctx, nodeProbeTimeout)
		answer, err := c.askAny(cctx, func() kmsg.Request {
			req := kmsg.NewPtrDescribeConfigsRequest()
			for _, n := range chunk {
				r := kmsg.NewDescribeConfigsRequestResource()
				r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, n, []string{"min.insync.replicas"}
				req.Resources = append(req.Resources, r)
			}
			return req
		})
		cancel()
		resp, ok := answer.(*kmsg.DescribeConfigsResponse)
		if err != nil || !ok {
			return nil
		}
		for _, r := range resp.Resources {
			for _, cfg := range r.Configs {
				if v, err := strconv.Atoi(deref(cfg.Value)); err == nil && cfg.Name == "min.insync.replicas" {
					out[r.ResourceName] = v
				}
			}
		}
	}
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
