package config

import (
	"strconv"
	"strings"
)

// key is one scalar setting of the server. The table below is the only place that names it.
type key struct {
	name     string // path in the file, joined by dots
	flag     string // command-line flag; "" if none
	fallback any    // default; its type is the type of the value: string, int or []string
	doc      string
	get      func(*Config) string
	set      func(*Config, any) // gets a value of the fallback's type
}

// Defaults of a one-node cluster on loopback.
const (
	DefaultKafkaAddress = "127.0.0.1:9092"
	DefaultWALAddress   = "127.0.0.1:9291"
	DefaultRaftAddress  = "127.0.0.1:5001"
	DefaultHTTPAddress  = "127.0.0.1:6092"
	DefaultDataDir      = "./chronik-data"

	defaultWALBytes     = 1 << 30
	defaultMinFreeBytes = 256 << 20
)

// keys is ordered as the documentation is.
var keys = []key{
	{"node_id", "node-id", 1, "id of this node, unique in the cluster",
		func(c *Config) string { return strconv.Itoa(int(c.NodeID)) }, func(c *Config, v any) { c.NodeID = int32(v.(int)) }},
	{"data_dir", "data-dir", DefaultDataDir, "directory of everything the node keeps",
		func(c *Config) string { return c.DataDir }, func(c *Config, v any) { c.DataDir = v.(string) }},
	{"replication_factor", "", 0, "replicas of a new topic; 0: three, or as many as there are nodes",
		func(c *Config) string { return strconv.Itoa(c.ReplicationFactor) }, func(c *Config, v any) { c.ReplicationFactor = v.(int) }},
	{"min_insync_replicas", "", 0, "replicas that must have a record before acks=all is answered; 0: two of three, else one",
		func(c *Config) string { return strconv.Itoa(c.MinInsyncReplicas) }, func(c *Config, v any) { c.MinInsyncReplicas = v.(int) }},
	textKey("bind.kafka", "kafka", DefaultKafkaAddress, "clients and tools", func(c *Config) *string { return &c.Bind.Kafka }),
	textKey("bind.wal", "wal", DefaultWALAddress, "node to node", func(c *Config) *string { return &c.Bind.WAL }),
	textKey("bind.raft", "raft", DefaultRaftAddress, "election and membership", func(c *Config) *string { return &c.Bind.Raft }),
	textKey("advertise.kafka", "", "", "address that clients are told; default: the bound one", func(c *Config) *string { return &c.Advertise.Kafka }),
	textKey("advertise.wal", "", "", "address that other nodes are told", func(c *Config) *string { return &c.Advertise.WAL }),
	textKey("advertise.raft", "", "", "address that other nodes are told", func(c *Config) *string { return &c.Advertise.Raft }),
	textKey("http", "http", DefaultHTTPAddress, "metrics, health and profiles; off: no port", func(c *Config) *string { return &c.HTTP }),
	textKey("log_format", "log-format", "text", "text or json", func(c *Config) *string { return &c.LogFormat }),
	textKey("log_level", "log-level", "info", "debug, info, warn or error", func(c *Config) *string { return &c.LogLevel }),
	{"insecure", "", []string{}, "listeners that may leave loopback without TLS and authentication: kafka, wal, raft, http",
		func(c *Config) string { return strings.Join(c.Insecure, ",") }, func(c *Config, v any) { c.Insecure = v.([]string) }},
	{"wal_max_bytes", "", defaultWALBytes, "bound of the node WAL's files",
		func(c *Config) string { return strconv.FormatInt(c.WALBytes, 10) }, func(c *Config, v any) { c.WALBytes = int64(v.(int)) }},
	{"min_free_bytes", "", defaultMinFreeBytes, "free space below which appends are refused",
		func(c *Config) string { return strconv.FormatInt(c.MinFreeBytes, 10) }, func(c *Config, v any) { c.MinFreeBytes = int64(v.(int)) }},
}

// textKey builds a key whose value is one string.
func textKey(name, flag, fallback, doc string, field func(*Config) *string) key {
	return key{name: name, flag: flag, fallback: fallback, doc: doc,
		get: func(c *Config) string { return *field(c) },
		set: func(c *Config, v any) { *field(c) = v.(string) }}
}

// env returns the environment variable of a key: bind.kafka is CHRONIK_BIND_KAFKA.
func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

const (
	envPrefix   = "CHRONIK_"
	kafkaPrefix = "kafka."
)

// peerKeys are the keys of one [[peers]] entry.
var peerKeys = []string{"id", "kafka", "wal", "raft"}
