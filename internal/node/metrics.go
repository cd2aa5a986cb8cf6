package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/version"
)

const metricPrefix = "chronik_"

// reading is one metric without labels: what it means, and how it is read when somebody asks.
type reading struct {
	name, help string
	kind       prometheus.ValueType
	read       func() float64
}

// registry makes the node's metrics. Nothing is counted twice: every value is read from the package that owns it.
func (n *Node) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(n.disk.syncs)
	r.MustRegister(&nodeCollector{n: n, readings: n.readings()})
	return r
}

// readings lists what is there once the node serves.
func (n *Node) readings() []reading {
	return []reading{
		{"connections", "open Kafka connections", prometheus.GaugeValue, func() float64 { return float64(n.kafka.Stats().Connections) }},
		{"connections_accepted_total", "Kafka connections accepted", prometheus.CounterValue, func() float64 { return float64(n.kafka.Stats().Accepted) }},
		{"connections_refused_total", "Kafka connections over a limit", prometheus.CounterValue, func() float64 { return float64(n.kafka.Stats().Refused) }},
		{"connections_closed_total", "Kafka connections ended by the server: malformed input, timeouts, limits", prometheus.CounterValue, func() float64 { return float64(n.kafka.Stats().Closed) }},
		{"kafka_bytes_in_total", "bytes read from clients", prometheus.CounterValue, func() float64 { return float64(n.kafka.Stats().BytesIn) }},
		{"kafka_frame_bytes", "memory held by requests", prometheus.GaugeValue, func() float64 { return float64(n.kafka.Stats().FrameBytes) }},
		{"kafka_fetch_bytes", "memory held by fetch responses", prometheus.GaugeValue, func() float64 { return float64(n.kafka.Stats().FetchBytes) }},
		{"fetch_sessions", "fetch sessions kept", prometheus.GaugeValue, func() float64 { return float64(n.kafka.Stats().FetchSessions) }},
		{"partitions", "partitions in the metadata", prometheus.GaugeValue, func() float64 { return float64(n.meta.Image().PartitionCount()) }},
		{"topics", "topics in the metadata", prometheus.GaugeValue, func() float64 { return float64(n.meta.Image().TopicCount()) }},
		{"replicas", "replicas on this node", prometheus.GaugeValue, func() float64 { return float64(len(n.replicas.All())) }},
		{"replicas_damaged_total", "replicas whose data was found damaged here", prometheus.CounterValue, func() float64 { return float64(n.replicas.Stats().Damaged) }},
		{"replicas_repaired_total", "damaged replicas that have begun anew from their leader", prometheus.CounterValue, func() float64 { return float64(n.replicas.Stats().Repaired) }},
		{"ranges_compared_total", "ranges of partitions led here that were compared with a follower's", prometheus.CounterValue, func() float64 { return float64(n.replicas.Stats().Compared) }},
		{"ranges_differ_total", "ranges below the high watermark that are not the same on two replicas: any but 0 is an alarm", prometheus.CounterValue, func() float64 { return float64(n.replicas.Stats().Differ) }},
		{"wal_commits_total", "commits made durable; one sync each", prometheus.CounterValue, func() float64 { return float64(n.store.Usage().Commits) }},
		{"wal_records_total", "records appended to the WAL", prometheus.CounterValue, func() float64 { return float64(n.store.Usage().Records) }},
		{"wal_used_bytes", "live bytes of the WAL", prometheus.GaugeValue, func() float64 { return float64(n.store.Usage().UsedBytes) }},
		{"wal_max_bytes", "bound of the WAL", prometheus.GaugeValue, func() float64 { return float64(n.store.Usage().MaxBytes) }},
		{"wal_pending_bytes", "bytes appended and not durable yet", prometheus.GaugeValue, func() float64 { return float64(n.store.Usage().Pending) }},
		{"wal_ring_bytes", "memory of recent commits", prometheus.GaugeValue, func() float64 { return float64(n.store.Usage().RingBytes) }},
		{"metadata_commit_offset", "end of the committed metadata log", prometheus.CounterValue, func() float64 { return float64(n.meta.Commit()) }},
		{"metadata_end_offset", "end of this node's metadata log", prometheus.CounterValue, func() float64 { return float64(n.meta.End()) }},
		{"metadata_epoch", "epoch of the last metadata entry", prometheus.GaugeValue, func() float64 { return float64(n.meta.Status().Epoch) }},
		{"controller", "1 if this node is the controller", prometheus.GaugeValue, func() float64 { return oneIf(n.meta.Status().Role == metalog.RoleLeader) }},
		{"ready_ms", "milliseconds from start to ready", prometheus.GaugeValue, func() float64 { return float64(n.readyMs) }},
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// nodeCollector reads all values when it is asked. Before the node serves it only says so.
type nodeCollector struct {
	n        *Node
	readings []reading
}

var (
	descReady    = prometheus.NewDesc(metricPrefix+"ready", "1 while the node serves", nil, nil)
	descBuild    = prometheus.NewDesc(metricPrefix+"build_info", "always 1", []string{"version"}, nil)
	descRequests = prometheus.NewDesc(metricPrefix+"requests_total", "requests by API", []string{"api"}, nil)
	descFree     = prometheus.NewDesc(metricPrefix+"disk_free_bytes", "bytes that may still be written on the disk of the data directory", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descReady
	ch <- descBuild
	ch <- descRequests
	ch <- descFree
	for _, r := range c.readings {
		ch <- prometheus.NewDesc(metricPrefix+r.name, r.help, nil, nil)
	}
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	ready := c.n.ready() == nil
	ch <- prometheus.MustNewConstMetric(descReady, prometheus.GaugeValue, oneIf(ready))
	ch <- prometheus.MustNewConstMetric(descBuild, prometheus.GaugeValue, 1, version.Version)
	if free := c.n.free.Load(); free != nil {
		ch <- prometheus.MustNewConstMetric(descFree, prometheus.GaugeValue, float64(*free))
	}
	if !ready {
		return
	}
	for _, r := range c.readings {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(metricPrefix+r.name, r.help, nil, nil), r.kind, r.read())
	}
	for key, count := range c.n.kafka.Stats().Requests {
		ch <- prometheus.MustNewConstMetric(descRequests, prometheus.CounterValue, float64(count), apiName(key))
	}
}

// apiName is Kafka's name of an API key.
func apiName(key int16) string {
	if key < 0 {
		return "not served"
	}
	if name := kmsg.NameForKey(key); name != "" && name != "Unknown" {
		return name
	}
	return strconv.Itoa(int(key))
}
