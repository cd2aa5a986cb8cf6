package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxPeers bounds the founders of a cluster: five voters at most, and observers join later.
const maxPeers = 5

// checkNames refuses keys of the file that nobody reads.
func checkNames(doc *document) error {
	known := Keys()
	for _, e := range doc.entries {
		if name, ok := strings.CutPrefix(e.key, kafkaPrefix); ok {
			if !slices.Contains(kafkaNames(), name) {
				return doc.errorf(e.line, "%w %q in [kafka]%s", ErrUnknownKey, name, meant(name, kafkaNames()))
			}
			continue
		}
		if rest, ok := strings.CutPrefix(e.key, "peers["); ok {
			if _, name, _ := strings.Cut(rest, "]."); !slices.Contains(peerKeys, name) {
				return doc.errorf(e.line, "%w %q in [[peers]]%s", ErrUnknownKey, name, meant(name, peerKeys))
			}
			continue
		}
		if slices.Contains(kafkaNames(), e.key) {
			return doc.errorf(e.line, "%w %q: a setting of Kafka stands under [kafka]", ErrUnknownKey, e.key)
		}
		if !slices.Contains(known, e.key) {
			return doc.errorf(e.line, "%w %q%s", ErrUnknownKey, e.key, meant(e.key, known))
		}
	}
	return nil
}

// checkEnvironment refuses misspelt variables: those in a group of ours, and those one or two letters off a known one.
// Others may belong to the tools and tests, which use the same prefix.
func checkEnvironment(environ []string) error {
	var known []string
	for _, k := range Keys() {
		known = append(known, envName(k))
	}
	for _, name := range kafkaNames() {
		known = append(known, envName(kafkaPrefix+name))
	}
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		group := slices.ContainsFunc([]string{"BIND_", "ADVERTISE_", "KAFKA_"}, func(g string) bool {
			return strings.HasPrefix(name, envPrefix+g)
		})
		if k := nearest(name, known); group || k != "" && distance(name, k) <= 2 {
			return fmt.Errorf("environment: %w %s%s", ErrUnknownKey, name, meant(name, known))
		}
	}
	return nil
}

// finish fills what depends on other keys and refuses contradictions.
func (c *Config) finish(doc *document) error {
	steps := []func() error{
		c.checkIdentity, func() error { return c.checkPeers(doc) }, c.checkAddresses, c.checkReplication, c.checkForms, c.checkExposure,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkIdentity() error {
	if c.DataDir == "" {
		return c.where("data_dir", fmt.Errorf("data_dir: %w: empty", ErrInvalidValue))
	}
	return nil
}

func (c *Config) checkPeers(doc *document) error {
	if len(c.Peers) == 0 {
		return nil
	}
	seen := map[string]string{}
	self := false
	for i, p := range c.Peers {
		at := doc.line(fmt.Sprintf("peers[%d].id", i))
		for _, a := range []struct{ name, value string }{{"kafka", p.Kafka}, {"wal", p.WAL}, {"raft", p.Raft}} {
			if err := checkAddress(a.value, false); err != nil {
				return doc.errorf(at, "peer %d: %s: %w", p.ID, a.name, err)
			}
			if who, ok := seen[a.value]; ok {
				return doc.errorf(at, "%w: peer %d: %s is the address %s of %s", ErrContradiction, p.ID, a.value, a.name, who)
			}
			seen[a.value] = fmt.Sprintf("peer %d", p.ID)
		}
		id := "id " + strconv.Itoa(int(p.ID))
		if _, ok := seen[id]; ok {
			return doc.errorf(at, "%w: two peers have %s", ErrContradiction, id)
		}
		seen[id] = id
		self = self || p.ID == c.NodeID
	}
	if !self {
		return c.where("node_id", fmt.Errorf("%w: node_id %d is not among the [[peers]]", ErrContradiction, c.NodeID))
	}
	return nil
}

// listeners names the four listeners with their keys.
func (c *Config) listeners() []struct{ name, key, address, advertised string } {
	return []struct{ name, key, address, advertised string }{
		{"kafka", "bind.kafka", c.Bind.Kafka, c.Advertise.Kafka},
		{"wal", "bind.wal", c.Bind.WAL, c.Advertise.WAL},
		{"raft", "bind.raft", c.Bind.Raft, c.Advertise.Raft},
		{"http", "http", c.HTTP, ""},
	}
}

func (c *Config) checkAddresses() error {
	used := map[string]string{}
	for _, l := range c.listeners() {
		if l.key == "http" && l.address == HTTPOff {
			continue
		}
		if err := checkAddress(l.address, true); err != nil {
			return c.where(l.key, fmt.Errorf("%s: %w", l.key, err))
		}
		if l.advertised != "" {
			if err := checkAddress(l.advertised, true); err != nil {
				return c.where("advertise."+l.name, fmt.Errorf("advertise.%s: %w", l.name, err))
			}
		} else if host, _, _ := net.SplitHostPort(l.address); l.name != "http" && isUnspecified(host) && len(c.Peers) == 0 {
			return c.where(l.key, fmt.Errorf("%w: %s binds every address, so say which one others should use: advertise.%s = \"host:port\" (or %s)",
				ErrContradiction, l.key, l.name, envName("advertise."+l.name)))
		}
		if _, port, _ := net.SplitHostPort(l.address); port != "0" {
			if other, ok := used[l.address]; ok {
				return c.where(l.key, fmt.Errorf("%w: %s and %s both use %s", ErrContradiction, l.key, other, l.address))
			}
			used[l.address] = l.key
		}
	}
	return nil
}

// checkAddress checks the form host:port. Port 0, a free port, makes sense only where one listens.
func checkAddress(a string, zero bool) error {
	host, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("%w: %q is not host:port", ErrInvalidValue, a)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 && !zero {
		return fmt.Errorf("%w: %q has no usable port", ErrInvalidValue, a)
	}
	if host == "" {
		return fmt.Errorf("%w: %q has no host; 127.0.0.1 for this machine only, 0.0.0.0 for all of its addresses", ErrInvalidValue, a)
	}
	return nil
}

func isUnspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

func (c *Config) checkReplication() error {
	nodes := c.Nodes()
	both := []struct {
		key, kafka string
		value      *int
		automatic  int
	}{
		{"replication_factor", "default.replication.factor", &c.ReplicationFactor, min(3, nodes)},
		{"min_insync_replicas", "min.insync.replicas", &c.MinInsyncReplicas, 1 + min(1, nodes/3)},
	}
	for _, b := range both {
		if *b.value < 0 || *b.value > 32767 {
			return c.where(b.key, fmt.Errorf("%s: %w: %d", b.key, ErrInvalidValue, *b.value))
		}
		if text, ok := c.Kafka[b.kafka]; ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				return c.where(kafkaPrefix+b.kafka, fmt.Errorf("%s: %w: %q is not a number", b.kafka, ErrInvalidValue, text))
			}
			if *b.value != 0 && *b.value != n {
				return c.where(kafkaPrefix+b.kafka, fmt.Errorf("%w: %s is %d and %s is %d (%s)", ErrContradiction, b.kafka, n, b.key, *b.value, c.Source(b.key)))
			}
			*b.value = n
		}
		if *b.value == 0 {
			*b.value = b.automatic
		}
	}
	if c.ReplicationFactor > nodes {
		return c.where("replication_factor", fmt.Errorf("%w: replication_factor is %d and the cluster has %d node(s)", ErrContradiction, c.ReplicationFactor, nodes))
	}
	if c.MinInsyncReplicas > c.ReplicationFactor {
		return c.where("min_insync_replicas", fmt.Errorf("%w: min_insync_replicas is %d and replication_factor is %d: nothing could be written with acks=all",
			ErrContradiction, c.MinInsyncReplicas, c.ReplicationFactor))
	}
	return nil
}

func (c *Config) checkForms() error {
	if !slices.Contains([]string{"text", "json"}, c.LogFormat) {
		return c.where("log_format", fmt.Errorf("log_format: %w: %q is neither text nor json", ErrInvalidValue, c.LogFormat))
	}
	if levels := []string{"debug", "info", "warn", "error"}; !slices.Contains(levels, c.LogLevel) {
		return c.where("log_level", fmt.Errorf("log_level: %w: %q is none of %s", ErrInvalidValue, c.LogLevel, strings.Join(levels, ", ")))
	}
	const leastWAL = 256 << 20
	if c.WALBytes < leastWAL {
		return c.where("wal_max_bytes", fmt.Errorf("wal_max_bytes: %w: %d, at least %d", ErrInvalidValue, c.WALBytes, leastWAL))
	}
	const leastFree = 64 << 20 // one file of the node WAL: with less, it or a segment may find no space while appends are taken
	if c.MinFreeBytes < leastFree {
		return c.where("min_free_bytes", fmt.Errorf("min_free_bytes: %w: %d, at least %d", ErrInvalidValue, c.MinFreeBytes, leastFree))
	}
	return nil
}

// checkExposure refuses listeners in the clear off loopback unless they are named.
func (c *Config) checkExposure() error {
	names := []string{"kafka", "wal", "raft", "http"}
	for _, n := range c.Insecure {
		if !slices.Contains(names, n) {
			return c.where("insecure", fmt.Errorf("insecure: %w: %q is no listener%s", ErrInvalidValue, n, meant(n, names)))
		}
	}
	for _, l := range c.listeners() {
		if l.address == HTTPOff || slices.Contains(c.Insecure, l.name) || isLoopback(l.address) {
			continue
		}
		return c.where(l.key, fmt.Errorf("%w: %s = %q can be reached from other machines, without TLS and authentication; bind to 127.0.0.1, or allow it by name: insecure = [%q]",
			ErrInsecure, l.key, l.address, l.name))
	}
	return nil
}

// isLoopback says whether only this machine reaches the address. A host name other than localhost is taken as reachable:
// what it resolves to can change after the check.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
