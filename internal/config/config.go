package config

import (
	"errors"
	"maps"
	"strconv"
)

// Errors that Load and Validate wrap. The message around them names the file, the line and the key.
var (
	// ErrUnknownKey is a key that the server does not know, in the file or in the environment.
	ErrUnknownKey = errors.New("unknown key")
	// ErrInvalidValue is a value of the wrong type or outside its bounds.
	ErrInvalidValue = errors.New("invalid value")
	// ErrContradiction is two settings that cannot both hold.
	ErrContradiction = errors.New("contradiction")
	// ErrInsecure is a listener off loopback without TLS and authentication that was not allowed by name.
	ErrInsecure = errors.New("insecure listener")
	// ErrSyntax is a file that is not TOML.
	ErrSyntax = errors.New("not valid TOML")
)

// HTTPOff is the value of the http key that opens no http port.
const HTTPOff = "off"

// Addresses are the host:port of a node's three protocol listeners.
type Addresses struct {
	Kafka string // clients and tools
	WAL   string // node to node
	Raft  string // election and membership
}

// Peer is one founder of the cluster.
type Peer struct {
	ID int32
	Addresses
}

// Config is the checked configuration of one node.
type Config struct {
	File              string // path of the configuration file; "" without one
	NodeID            int32
	DataDir           string
	ReplicationFactor int // of new topics
	MinInsyncReplicas int // of new topics
	Bind              Addresses
	Advertise         Addresses // as configured; "" means the bound address
	Peers             []Peer    // founders, self included; empty for a cluster of one
	HTTP              string    // host:port or HTTPOff
	LogFormat         string    // "text" or "json"
	LogLevel          string    // "debug", "info", "warn" or "error"
	Insecure          []string  // listeners that may leave loopback in the clear
	WALBytes          int64     // bound of the node WAL's files
	MinFreeBytes      int64     // below this much free space appends are refused
	Kafka             map[string]string
	sources           map[string]Source
}

// SourceKind says where a value came from, weakest first.
type SourceKind int

// The four kinds, in the order of precedence from weakest to strongest.
const (
	FromDefault SourceKind = iota
	FromFile
	FromEnv
	FromFlag
)

// Source is the origin of one key's value.
type Source struct {
	Kind SourceKind
	Name string // the flag or the environment variable
	Line int    // in the file, 1-based
}

// String tells the origin as a person would say it.
func (s Source) String() string {
	switch s.Kind {
	case FromFlag:
		return "flag --" + s.Name
	case FromEnv:
		return "environment " + s.Name
	case FromFile:
		return "line " + strconv.Itoa(s.Line)
	default:
		return "default"
	}
}

// Source returns the origin of a key such as "bind.kafka" or "kafka.num.partitions".
func (c *Config) Source(key string) Source { return c.sources[key] }

// Nodes returns how many founders the cluster has.
func (c *Config) Nodes() int { return max(1, len(c.Peers)) }

// Value returns the value of a key as text, for reports.
func (c *Config) Value(key string) string {
	for _, k := range keys {
		if k.name == key {
			return k.get(c)
		}
	}
	return ""
}

// Keys returns the server's own keys in the order of the documentation; Kafka's settings and peers are not among them.
func Keys() []string {
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		names = append(names, k.name)
	}
	return names
}

// StaticKafka returns the Kafka settings that this node was started with, by Kafka's names: those of [kafka], and those that
// have a name of their own here. What was not given is left out: its default may depend on the size of the cluster.
func (c *Config) StaticKafka() map[string]string {
	static := maps.Clone(c.Kafka)
	if static == nil {
		static = map[string]string{}
	}
	id := strconv.Itoa(int(c.NodeID))
	static["node.id"], static["broker.id"] = id, id
	static["log.dirs"] = c.DataDir
	if c.Source("replication_factor").Kind != FromDefault && c.ReplicationFactor > 0 {
		static["default.replication.factor"] = strconv.Itoa(c.ReplicationFactor)
	}
	if c.Source("min_insync_replicas").Kind != FromDefault && c.MinInsyncReplicas > 0 {
		static["min.insync.replicas"] = strconv.Itoa(c.MinInsyncReplicas)
	}
	return static
}
