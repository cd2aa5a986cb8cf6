package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// write makes a configuration file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("start", pflag.ContinueOnError)
	RegisterFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestDefaultsAreOneNodeOnLoopback(t *testing.T) {
	c, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"node_id": "1", "data_dir": "./chronik-data", "replication_factor": "1", "min_insync_replicas": "1",
		"bind.kafka": "127.0.0.1:9092", "bind.wal": "127.0.0.1:9291", "bind.raft": "127.0.0.1:5001", "http": "127.0.0.1:6092",
		"advertise.kafka": "", "log_format": "text", "insecure": "",
	}
	for key, value := range want {
		if got := c.Value(key); got != value {
			t.Errorf("%s is %q, want %q", key, got, value)
		}
		if got := c.Source(key).String(); got != "default" {
			t.Errorf("%s comes from %s", key, got)
		}
	}
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	file := write(t, "\nnode_id = 2\ndata_dir = \"/file\"\nhttp = \"off\"\n[bind]\nkafka = \"127.0.0.1:1002\"\nwal = \"127.0.0.1:1003\"\n")
	t.Setenv("CHRONIK_NODE_ID", "3")
	t.Setenv("CHRONIK_BIND_KAFKA", "127.0.0.1:2002")
	c, err := Load(Options{File: file, Flags: flags(t, "--node-id", "4")})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ key, value, source string }{
		{"node_id", "4", "flag --node-id"},
		{"bind.kafka", "127.0.0.1:2002", "environment CHRONIK_BIND_KAFKA"},
		{"bind.wal", "127.0.0.1:1003", "line 7"},
		{"data_dir", "/file", "line 3"},
		{"http", "off", "line 4"},
		{"bind.raft", "127.0.0.1:5001", "default"},
	} {
		if got := c.Value(want.key); got != want.value {
			t.Errorf("%s is %q, want %q", want.key, got, want.value)
		}
		if got := c.Source(want.key).String(); got != want.source {
			t.Errorf("%s comes from %q, want %q", want.key, got, want.source)
		}
	}
}

const threePeers = `
[[peers]]
id = 1
kafka = "127.0.0.1:9092"
wal = "127.0.0.1:9291"
raft = "127.0.0.1:5001"
[[peers]]
id = 2
kafka = "127.0.0.1:9093"
wal = "127.0.0.1:9292"
raft = "127.0.0.1:5002"
[[peers]]
id = 3
kafka = "127.0.0.1:9094"
wal = "127.0.0.1:9293"
raft = "127.0.0.1:5003"
`

func TestThreePeersSetTheDefaultsOfReplication(t *testing.T) {
	c, err := Load(Options{File: write(t, "node_id = 2\n"+threePeers)})
	if err != nil {
		t.Fatal(err)
	}
	if c.ReplicationFactor != 3 || c.MinInsyncReplicas != 2 || c.Nodes() != 3 {
		t.Errorf("replication factor %d, min isr %d of %d nodes", c.ReplicationFactor, c.MinInsyncReplicas, c.Nodes())
	}
	if want := (Peer{2, Addresses{"127.0.0.1:9093", "127.0.0.1:9292", "127.0.0.1:5002"}}); c.Peers[1] != want {
		t.Errorf("second peer %+v", c.Peers[1])
	}
}

// Every refusal names the line and says what was probably meant.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       error
		says       []string
	}{
		{"misspelt key", "\n\nnode_ib = 1\n", ErrUnknownKey, []string{":3:", `"node_ib"`, "did you mean node_id?"}},
		{"misspelt key in a table", "[bind]\nkafak = \"127.0.0.1:1\"\n", ErrUnknownKey, []string{":2:", "did you mean bind.kafka?"}},
		{"misspelt table", "[bnid]\nkafka = \"127.0.0.1:1\"\n", ErrUnknownKey, []string{":2:", "did you mean bind.kafka?"}},
		{"misspelt peer", "[[peers]]\nid = 1\nkafkas = \"h:1\"\n", ErrUnknownKey, []string{":3:", "did you mean kafka?"}},
		{"misspelt setting of Kafka", "[kafka]\n\"num.partition\" = 3\n", ErrUnknownKey, []string{":2:", "did you mean num.partitions?"}},
		{"setting of Kafka at the top", "num.partitions = 3\n", ErrUnknownKey, []string{":1:", "[kafka]"}},
		{"nonsense", "zzzzzz = 3\n", ErrUnknownKey, []string{":1:", "zzzzzz"}},
		{"not TOML", "node_id = 1\nhttp = \n", ErrSyntax, []string{":2:"}},
		{"key twice", "node_id = 1\nnode_id = 2\n", ErrSyntax, nil},
		{"number as text", "node_id = true\n", ErrInvalidValue, []string{":1:", "node_id"}},
		{"text as number", "data_dir = 7\n", ErrInvalidValue, []string{":1:", "data_dir"}},
		{"negative id", "node_id = -1\n", ErrInvalidValue, []string{":1:"}},
		{"id too large", "node_id = 4294967297\n", ErrInvalidValue, []string{":1:"}},
		{"peer id too large", "[[peers]]\nid = 4294967297\n", ErrInvalidValue, []string{":2:"}},
		{"no port", "[bind]\nkafka = \"127.0.0.1\"\n", ErrInvalidValue, []string{":2:", "host:port"}},
		{"port too high", "[bind]\nkafka = \"127.0.0.1:70000\"\n", ErrInvalidValue, []string{":2:"}},
		{"no host", "[bind]\nkafka = \":9092\"\n", ErrInvalidValue, []string{":2:", "0.0.0.0"}},
		{"one port twice", "http = \"127.0.0.1:9092\"\n", ErrContradiction, []string{":1:", "bind.kafka"}},
		{"off loopback", "[bind]\nkafka = \"10.0.0.1:9092\"\n", ErrInsecure, []string{":2:", `insecure = ["kafka"]`}},
		{"host name", "[bind]\nraft = \"node1:5001\"\n", ErrInsecure, []string{":2:", `insecure = ["raft"]`}},
		{"everything, not said where", "insecure = [\"kafka\"]\n[bind]\nkafka = \"0.0.0.0:9092\"\n", ErrContradiction, []string{":3:", "advertise.kafka"}},
		{"unknown listener", "insecure = [\"kafak\"]\n", ErrInvalidValue, []string{":1:", "did you mean kafka?"}},
		{"log format", "log_format = \"xml\"\n", ErrInvalidValue, []string{":1:"}},
		{"replicas without nodes", "replication_factor = 3\n", ErrContradiction, []string{":1:", "1 node"}},
		{"min isr above replicas", "node_id = 1\nreplication_factor = 2\nmin_insync_replicas = 3\n" + threePeers, ErrContradiction, []string{":3:"}},
		{"two names, two values", "replication_factor = 2\n" + threePeers + "[kafka]\ndefault.replication.factor = 3\n", ErrContradiction, []string{"default.replication.factor is 3", "line 1"}},
		{"follows from another key", "[kafka]\nnode.id = 2\n", ErrInvalidValue, []string{":2:", "node.id"}},
		{"value out of bounds", "[kafka]\nnum.partitions = 0\n", ErrInvalidValue, []string{":2:", "num.partitions"}},
		{"not a peer", "node_id = 9\n" + threePeers, ErrContradiction, []string{":1:", "[[peers]]"}},
		{"peer twice", "node_id = 1\n" + threePeers + "[[peers]]\nid = 1\nkafka = \"h:1\"\nwal = \"h:2\"\nraft = \"h:3\"\n", ErrContradiction, []string{"id 1"}},
		{"address of two peers", "node_id = 1\n" + threePeers + "[[peers]]\nid = 4\nkafka = \"127.0.0.1:9092\"\nwal = \"h:2\"\nraft = \"h:3\"\n", ErrContradiction, []string{"peer 4", "peer 1"}},
		{"peer without port", "[[peers]]\nid = 1\nkafka = \"h\"\nwal = \"h:2\"\nraft = \"h:3\"\n", ErrInvalidValue, []string{":2:", "peer 1"}},
		{"small WAL", "wal_max_bytes = 5\n", ErrInvalidValue, []string{":1:"}},
		{"free space below a WAL file", "min_free_bytes = 67108863\n", ErrInvalidValue, []string{":1:", "min_free_bytes", "at least 67108864"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Load(Options{File: write(t, tc.text)})
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

func TestAllowed(t *testing.T) {
	for _, tc := range []struct{ name, text string }{
		{"named listener", "insecure = [\"kafka\", \"http\"]\nhttp = \"0.0.0.0:6092\"\n[bind]\nkafka = \"10.0.0.1:9092\"\n"},
		{"all addresses", "insecure = [\"kafka\"]\n[bind]\nkafka = \"0.0.0.0:9092\"\n[advertise]\nkafka = \"broker:9092\"\n"},
		{"free ports", "http = \"127.0.0.1:0\"\n[bind]\nkafka = \"127.0.0.1:0\"\nwal = \"[::1]:0\"\nraft = \"localhost:0\"\n"},
		{"nested and quoted names", "[kafka]\nnum.partitions = 3\n\"auto.create.topics.enable\" = false\n"},
		{"inline table", "bind = { kafka = \"127.0.0.1:1\", wal = \"127.0.0.1:2\" }\n"},
		{"free space of a WAL file", "min_free_bytes = 67108864\n"},
		{"same value under two names", "replication_factor = 1\n[kafka]\ndefault.replication.factor = 1\n"},
	} {
		if _, err := Load(Options{File: write(t, tc.text)}); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestKafkaSettings(t *testing.T) {
	t.Setenv("CHRONIK_KAFKA_NUM_PARTITIONS", "7")
	c, err := Load(Options{File: write(t, "[kafka]\nnum.partitions = 3\nauto.create.topics.enable = false\n")})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Kafka["num.partitions"]; got != "7" {
		t.Errorf("num.partitions is %q: the environment is stronger than the file", got)
	}
	if got := c.Kafka["auto.create.topics.enable"]; got != "false" {
		t.Errorf("auto.create.topics.enable is %q", got)
	}
	if len(c.Kafka) != 2 {
		t.Errorf("explicit settings %v", c.Kafka)
	}
	if got := c.Source("kafka.auto.create.topics.enable"); got.Line != 3 {
		t.Errorf("source %v", got)
	}
}

func TestMisspeltEnvironment(t *testing.T) {
	for _, name := range []string{"CHRONIK_NODEID", "CHRONIK_BIND_KAFFKA", "CHRONIK_KAFKA_NUM_PARTITION"} {
		err := checkEnvironment([]string{"PATH=/bin", name + "=1"})
		if !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"CHRONIK_KILLS", "CHRONIK_SEEDS", "CHRONIK_PROFILE", "CHRONIK_CONFIG", "CHRONIK_NODE_ID", "HOME"} {
		if err := checkEnvironment([]string{name + "=1"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMissingAndHugeFiles(t *testing.T) {
	if _, err := Load(Options{File: filepath.Join(t.TempDir(), "none.toml")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(Options{File: write(t, strings.Repeat("#", maxFileBytes+1))}); !errors.Is(err, ErrInvalidValue) {
		t.Errorf("huge file: %v", err)
	}
}

func TestReportShowsEveryKeyWithItsOrigin(t *testing.T) {
	c, err := Load(Options{File: write(t, "node_id = 2\n"+threePeers+"[kafka]\nnum.partitions = 3\n")})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Report(&b); err != nil {
		t.Fatal(err)
	}
	for _, key := range append(Keys(), "peer 3", "kafka.num.partitions", "line 1") {
		if !strings.Contains(b.String(), key) {
			t.Errorf("the report does not show %s:\n%s", key, b.String())
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{threePeers, "a.b = 1\n[kafka]\nx.y = [1, 2]\n", "bind = { kafka = \"h:1\" }\n[[peers]]\nid=1\n[[peers]]\n", "p = [{a=1},{b=2}]", "\"\" = 1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := parseDocument("f", text)
		if err != nil {
			return
		}
		for _, e := range doc.entries {
			if e.line < 1 {
				t.Errorf("key %q has no line", e.key)
			}
		}
		_ = checkNames(doc)
	})
}
