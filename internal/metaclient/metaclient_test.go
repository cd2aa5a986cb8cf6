package metaclient

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/chronikapi"
	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

func testApp(t *testing.T, env map[string]string) *cli.App {
	t.Helper()
	e := &cli.Env{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Now: time.Now, Getenv: func(k string) string { return env[k] }, ConfigDir: t.TempDir()}
	return &cli.App{Env: e, Name: "chronikctl", Flags: cli.Flags{Timeout: 5 * time.Second, Color: "never"}}
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhereTheClusterIs(t *testing.T) {
	const profiles = "current = \"dev\"\n[profiles.dev]\nbootstrap = [\"dev:1\"]\n[profiles.prod]\nbootstrap = [\"prod:1\", \"prod:2\"]\n[profiles.prod.settings]\n\"client.id\" = \"me\"\n"
	cases := []struct {
		name     string
		env      map[string]string
		flags    func(f *cli.Flags)
		profiles string
		want     string
		fails    string
	}{
		{name: "default", want: "localhost:9092"},
		{name: "environment", env: map[string]string{"CHRONIK_BOOTSTRAP": "a:1,b"}, want: "a:1,b:9092"},
		{name: "flag wins over all", env: map[string]string{"CHRONIK_BOOTSTRAP": "a:1"}, flags: func(f *cli.Flags) { f.Bootstrap = []string{"c:1"}; f.Profile = "prod" }, profiles: profiles, want: "c:1"},
		{name: "current profile", profiles: profiles, want: "dev:1"},
		{name: "environment wins over current profile", env: map[string]string{"CHRONIK_BOOTSTRAP": "a:1"}, profiles: profiles, want: "a:1"},
		{name: "named profile wins over environment", env: map[string]string{"CHRONIK_BOOTSTRAP": "a:1"}, flags: func(f *cli.Flags) { f.Profile = "prod" }, profiles: profiles, want: "prod:1,prod:2"},
		{name: "unknown profile", flags: func(f *cli.Flags) { f.Profile = "prdo" }, profiles: profiles, fails: `no profile "prdo"`},
		{name: "no profiles", flags: func(f *cli.Flags) { f.Profile = "x" }, fails: "there are no profiles"},
		{name: "unknown key in profiles", profiles: "curent = \"dev\"\n", fails: "unknown key curent"},
		{name: "not an address", flags: func(f *cli.Flags) { f.Bootstrap = []string{"http://x/"} }, fails: "no"},
		{name: "unknown setting", flags: func(f *cli.Flags) { f.Settings = []string{"sasl.user=x"} }, fails: "unknown setting"},
		{name: "setting without value", flags: func(f *cli.Flags) { f.Settings = []string{"client.id"} }, fails: "must be key=value"},
		{name: "ipv6", flags: func(f *cli.Flags) { f.Bootstrap = []string{"[::1]:19092", "::1"} }, want: "[::1]:19092,[::1]:9092"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			app := testApp(t, c.env)
			if c.profiles != "" {
				writeFile(t, filepath.Join(app.ConfigDir, "profiles.toml"), c.profiles)
			}
			if c.flags != nil {
				c.flags(&app.Flags)
			}
			got, err := ResolveTarget(app)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || cli.ExitCode(err) != cli.ExitUsage {
					t.Fatalf("error %v, want %q with exit code 2", err, c.fails)
				}
				return
			}
			if err != nil || strings.Join(got.Bootstrap, ",") != c.want {
				t.Errorf("got %v, %v, want %s", got.Bootstrap, err, c.want)
			}
		})
	}
}

func TestAddressFromANodesConfig(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"advertised wins": {"[bind]\nkafka = \"0.0.0.0:9192\"\n[advertise]\nkafka = \"n1:9192\"\n", "n1:9192"},
		"bound":           {"[bind]\nkafka = \"127.0.0.1:9192\"\n", "127.0.0.1:9192"},
		"wildcard":        {"[bind]\nkafka = \"0.0.0.0:9192\"\n", "localhost:9192"},
		"nothing":         {"node_id = 3\n", DefaultBootstrap},
	} {
		app := testApp(t, nil)
		app.Config = writeFile(t, filepath.Join(dir, "node.toml"), c.text)
		got, err := ResolveTarget(app)
		if err != nil || got.Bootstrap[0] != c.want {
			t.Errorf("%s: %v, %v, want %s", name, got.Bootstrap, err, c.want)
		}
	}
}

func TestUnreachableNamesEveryAddressAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	app := testApp(t, nil)
	app.Bootstrap = []string{dead, "nosuchhost.invalid:1"}
	begin := time.Now()
	_, err = Connect(context.Background(), app)
	if cli.ExitCode(err) != cli.ExitUnreachable || !strings.Contains(err.Error(), dead+": connection refused") || !strings.Contains(err.Error(), "nosuchhost") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestRanges(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	p := func(k positionKind, d int64) Position { return Position{kind: k, delta: d} }
	at := func(t time.Time) Position { return Position{kind: atTime, time: t} }
	cases := []struct {
		in      string
		from    Position
		to      Position
		bounded bool
	}{
		{"start", p(atStart, 0), Position{}, false},
		{"end", p(atEnd, 0), Position{}, false},
		{":end", p(atStart, 0), p(atEnd, 0), true},
		{"100", p(atOffset, 100), Position{}, false},
		{"100:", p(atOffset, 100), Position{}, false},
		{"100:200", p(atOffset, 100), p(atOffset, 200), true},
		{"+5", p(atStart, 5), Position{}, false},
		{"-5:end", p(atEnd, -5), p(atEnd, 0), true},
		{"@-1h:", at(now.Add(-time.Hour)), Position{}, false},
		{"@-1h:-5m", at(now.Add(-time.Hour)), at(now.Add(-5 * time.Minute)), true},
		{"@-2d", at(now.Add(-48 * time.Hour)), Position{}, false},
		{"@-1h:end", at(now.Add(-time.Hour)), p(atEnd, 0), true},
		{"@1767366245", at(time.Unix(1767366245, 0)), Position{}, false},
		{"@1767366245123", at(time.UnixMilli(1767366245123)), Position{}, false},
		{"@2026-01-02T10:00:00Z", at(time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)), Position{}, false},
		{"@2026-01-02T10:00:00Z:@-5m", at(time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)), at(now.Add(-5 * time.Minute)), true},
		{"@2026-01-02:end", at(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)), p(atEnd, 0), true},
	}
	for _, c := range cases {
		got, err := ParseRange(c.in, now)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		same := func(a, b Position) bool { return a.kind == b.kind && a.delta == b.delta && a.time.Equal(b.time) }
		if !same(got.From, c.from) || !same(got.To, c.to) || got.Bounded != c.bounded {
			t.Errorf("%s: got %+v", c.in, got)
		}
	}
	for _, bad := range []string{"x", "@", "@yesterday", "1:x", "--5", "9999999999999999999"} {
		if got, err := ParseRange(bad, now); err == nil {
			t.Errorf("%s: got %+v", bad, got)
		}
	}
}

// threeNodes are the facts of a sound cluster of three.
func threeNodes() *facts {
	f := &facts{clusterID: "c", controller: 1, nodes: map[int32]*Node{}, topics: 1, minISR: map[string]int{"orders": 2}, voterEnds: map[int32]int64{1: 50, 2: 50, 3: 50},
		quorum: &Quorum{Leader: 1, Epoch: 3, HighWatermark: 50, Voters: []int32{1, 2, 3}}}
	for id := range int32(3) {
		n := f.node(id + 1)
		n.State, n.Address = NodeUp, "n:1"
	}
	for p := range int32(3) {
		f.partitions = append(f.partitions, partitionFacts{topic: "orders", partition: p, leader: p + 1, replicas: []int32{1, 2, 3}, isr: []int32{1, 2, 3}})
	}
	return f
}

// full makes the disks of nodes full.
func full(f *facts, ids ...int32) {
	for _, id := range ids {
		f.nodes[id].info = &chronikapi.NodeInfoResponse{FaultFrom: chronikapi.None, DiskFull: true, FreeBytes: 200 << 20, MinFreeBytes: 256 << 20}
	}
}

func TestJudge(t *testing.T) {
	cases := []struct {
		name      string
		change    func(f *facts)
		state     State
		tolerates int
		says      string
	}{
		{"sound", func(*facts) {}, Healthy, 1, ""},
		{"a node is away", func(f *facts) { f.nodes[3].State, f.nodes[3].Error = NodeUnreachable, "connection refused" }, Unavailable, 0, "node 3"},
		{"a node is away and its leadership moved", func(f *facts) {
			f.nodes[3].State = NodeUnreachable
			f.partitions[2].leader, f.partitions[2].isr = 1, []int32{1, 2}
			f.partitions[0].isr, f.partitions[1].isr = []int32{1, 2}, []int32{1, 2}
		}, Degraded, 0, "a replica that is not in sync"},
		{"fenced", func(f *facts) {
			f.nodes[2].State = NodeFenced
			f.partitions[1].leader = 1
		}, Degraded, 0, "node 2 is fenced"},
		{"no leader", func(f *facts) { f.partitions[0].leader = -1 }, Unavailable, 1, "no live leader"},
		{"under min ISR", func(f *facts) { f.partitions[0].isr = []int32{1} }, Unavailable, 0, "min.insync.replicas"},
		{"no controller", func(f *facts) { f.controller, f.quorum, f.voterEnds = -1, nil, nil }, Unavailable, 1, "no controller"},
		{"far behind", func(f *facts) { f.voterEnds[2] = 50; f.quorum.HighWatermark = 5000 }, Degraded, 1, "behind in the metadata log"},
		{"most voters gone", func(f *facts) {
			f.partitions = nil
			f.nodes[2].State, f.nodes[3].State = NodeUnreachable, NodeUnreachable
		}, Unavailable, 0, "only 1 of 3 voters"},
		{"a voter that is no broker counts as up", func(f *facts) {
			f.quorum.Voters = []int32{1, 2, 3000}
			f.voterEnds = map[int32]int64{1: 50, 2: 50, 3000: 50}
		}, Healthy, 1, ""},
		{"nodes tell another history", func(f *facts) {
			for id, h := range map[int32]string{1: "aa", 2: "aa", 3: "bb"} {
				f.nodes[id].HashOffset, f.nodes[id].EntryHash = 40, h
			}
		}, Unavailable, 1, "do not agree on the metadata log at offset 40"},
		{"images differ at one offset", func(f *facts) {
			f.nodes[1].ImageOffset, f.nodes[1].ImageHash = 49, "aa"
			f.nodes[2].ImageOffset, f.nodes[2].ImageHash = 49, "bb"
		}, Unavailable, 1, "different conclusions"},
		{"images at different offsets have different hashes", func(f *facts) {
			f.nodes[1].ImageOffset, f.nodes[1].ImageHash = 49, "aa"
			f.nodes[2].ImageOffset, f.nodes[2].ImageHash = 48, "bb"
		}, Healthy, 1, ""},
		{"a disk has lost entries", func(f *facts) {
			f.nodes[2].info = &chronikapi.NodeInfoResponse{FaultFrom: 12}
		}, Degraded, 1, "lost metadata entries from 12"},
		{"an empty directory in the place of a member", func(f *facts) {
			f.nodes[3].State = NodeFenced
			f.partitions[2].leader = 1
			f.nodes[1].info = &chronikapi.NodeInfoResponse{FaultFrom: chronikapi.None, Peers: []chronikapi.Peer{{NodeID: 3, State: chronikapi.PeerEmpty}}}
		}, Degraded, 0, "node 3 runs on an empty directory, as node 1 sees it"},
		{"a node is refused as its disk is an older one", func(f *facts) {
			f.partitions = nil
			f.nodes[3].State = NodeFenced
			for _, id := range []int32{1, 2} {
				f.nodes[id].info = &chronikapi.NodeInfoResponse{FaultFrom: chronikapi.None, Peers: []chronikapi.Peer{{NodeID: 3, State: chronikapi.PeerBanned}}}
			}
		}, Degraded, 0, "node 3 is refused by nodes 1, 2 for good"},
		{"a node that serves, and whose vote does not count as a copy of its disk has run", func(f *facts) {
			f.partitions = nil
			f.nodes[1].info = &chronikapi.NodeInfoResponse{FaultFrom: chronikapi.None, Peers: []chronikapi.Peer{{NodeID: 3, State: chronikapi.PeerBanned}}}
		}, Degraded, 0, "node 3 is refused by node 1 for good"},
		{"a leader has found damage", func(f *facts) {
			f.nodes[1].info = &chronikapi.NodeInfoResponse{FaultFrom: chronikapi.None, Damaged: []chronikapi.DamagedReplica{{Topic: "orders", Partition: 0, Error: "flipped"}}}
		}, Unavailable, 1, "1 partition has damaged data on its leader, what is damaged cannot be read: orders-0"},
		{"a follower has found damage", func(f *facts) {
			f.nodes[2].info = &chronikapi.NodeInfoResponse{FaultFrom: chronikapi.None, Damaged: []chronikapi.DamagedReplica{{Topic: "orders", Partition: 0, Error: "flipped"}}}
		}, Degraded, 1, "1 partition has a damaged replica, all are served: orders-0"},
		{"a disk is full", func(f *facts) { full(f, 1) }, Degraded, 1, "node 1 takes no records: its disk is full (200 MiB free, min_free_bytes 256 MiB); those for the 1 partition that it leads are refused"},
		{"the disk of a node that leads nothing is full", func(f *facts) {
			full(f, 3)
			f.partitions[2].leader = 1
		}, Degraded, 1, "node 3 takes no records: its disk is full (200 MiB free, min_free_bytes 256 MiB)"},
		{"a write found no space", func(f *facts) {
			full(f, 2)
			f.nodes[2].info.FreeBytes = 300 << 20
		}, Degraded, 1, "node 2 takes no records: its disk is full (a write found no space; 300 MiB free, min_free_bytes 256 MiB)"},
		{"a full disk whose space is not known", func(f *facts) {
			full(f, 2)
			f.nodes[2].info.FreeBytes = chronikapi.None
		}, Degraded, 1, "node 2 takes no records: its disk is full (min_free_bytes 256 MiB)"},
		{"all disks are full", func(f *facts) { full(f, 1, 2, 3) }, Unavailable, 1, "node 3 takes no records: its disk is full (200 MiB free, min_free_bytes 256 MiB)"},
		{"the disks of all that are up are full", func(f *facts) {
			full(f, 1, 2)
			f.nodes[3].State = NodeFenced
			f.partitions[2].leader = 1
		}, Unavailable, 0, "node 2 takes no records"},
		{"settings may not be read", func(f *facts) { f.minISR = nil }, Healthy, 1, ""},
		{"fewer replicas than min ISR accept writes", func(f *facts) {
			f.quorum, f.voterEnds = nil, nil
			f.partitions = []partitionFacts{{topic: "orders", leader: 1, replicas: []int32{1}, isr: []int32{1}}}
		}, Healthy, 0, "1 topic with partitions of 1 replica, which are offline while its node is away: orders"},
		{"a topic asks for more in-sync replicas than it has", func(f *facts) { f.minISR["orders"] = 5 }, Healthy, 0,
			"min.insync.replicas leaves no replica to spare, acks=all is refused while one is away: orders (5 of 3 replicas)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := threeNodes()
			c.change(f)
			s := judge(f)
			if s.State != c.state || s.Tolerates != c.tolerates {
				t.Errorf("%s tolerating %d, want %s %d; %+v", s.State, s.Tolerates, c.state, c.tolerates, s.Findings)
			}
			text := ""
			for _, x := range s.Findings {
				text += x.Text + "\n"
			}
			if !strings.Contains(text, c.says) || c.says == "" && text != "" {
				t.Errorf("findings %q, want %q", text, c.says)
			}
			if len(s.Nodes) < 3 {
				t.Errorf("%d rows: a node that is away must stay a row", len(s.Nodes))
			}
		})
	}
}

// What is to be done names what brings partitions back, not where to look at them.
func TestJudgeNamesTheCause(t *testing.T) {
	next := func(change func(f *facts)) string {
		f := threeNodes()
		for i := range f.partitions {
			f.partitions[i].replicas, f.partitions[i].isr = []int32{int32(i) + 1}, []int32{int32(i) + 1}
		}
		change(f)
		s := judge(f)
		if s.State != Unavailable {
			t.Errorf("%s: %+v", s.State, s.Findings)
		}
		var all []string
		for _, x := range s.Findings {
			all = append(all, x.Text+" => "+x.Next)
		}
		return strings.Join(all, "\n")
	}
	one := next(func(f *facts) { f.nodes[2].State, f.partitions[1].leader = NodeFenced, -1 })
	if !strings.Contains(one, "orders-1 => start node 2 again") {
		t.Errorf("one node is away: %s", one)
	}
	two := next(func(f *facts) { f.nodes[2].State, f.nodes[3].State = NodeUnreachable, NodeUnreachable })
	for _, want := range []string{"orders-1, orders-2 => bring back nodes 2, 3", "metadata cannot change => bring back 1 of nodes 2, 3"} {
		if !strings.Contains(two, want) {
			t.Errorf("two nodes are away: %q is not in %s", want, two)
		}
	}
	strict := next(func(f *facts) {
		f.minISR["orders"], f.nodes[3].State = 3, NodeFenced
		for i := range f.partitions {
			f.partitions[i] = partitionFacts{topic: "orders", partition: int32(i), leader: 1, replicas: []int32{1, 2, 3}, isr: []int32{1, 2}}
		}
	})
	if !strings.Contains(strict, "acks=all is refused: orders-0, orders-1, orders-2 => start node 3 again") || !strings.Contains(strict, "min.insync.replicas of orders asks for 3 of 3 replicas; set it lower") {
		t.Errorf("all replicas are asked for, and one is away: %s", strict)
	}
	none := next(func(f *facts) { f.partitions[1].leader = -1 })
	if !strings.Contains(none, "orders-1 => chronikctl partition status --offline") {
		t.Errorf("all nodes are up: %s", none)
	}
}

// sampleLog is a small but complete history.
func sampleLog() []metadata.Event {
	disk := uuid.UUID{1: 7}
	topic := uuid.UUID{2: 9}
	return []metadata.Event{
		&metadata.VotersChanged{Voters: []metadata.Voter{{NodeID: 1, DiskID: disk}}},
		&metadata.ClusterFounded{ClusterID: "c1", Founders: []metadata.Voter{{NodeID: 1, DiskID: disk}}, TimestampMs: 1_700_000_000_000},
		&metadata.BrokerRegistered{BrokerID: 1, BrokerEpoch: 2, Incarnation: uuid.UUID{3: 1}, DiskID: disk, Endpoints: []metadata.Endpoint{{Listener: "kafka", Host: "h", Port: 9092}}},
		&metadata.TopicCreated{Name: "orders", TopicID: topic, TimestampMs: 1_700_000_001_000, Partitions: []metadata.PartitionState{{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}},
		&metadata.SetLeader{Name: "orders", TopicID: topic, Leader: -1, ISR: []int32{1}, LeaderEpoch: 1, PartitionEpoch: 1},
	}
}

func record(offset int64, ev metadata.Event) *kgo.Record {
	return &kgo.Record{Offset: offset, LeaderEpoch: 1, Key: []byte(ev.Key()), Value: metadata.AppendEvent(nil, ev), Headers: []kgo.RecordHeader{{Key: "type", Value: []byte("event")}}}
}

func TestFoldIsTheServersApply(t *testing.T) {
	f := NewFold(0)
	want := metadata.Empty()
	for i, ev := range sampleLog() {
		step := f.Apply(decodeEntry(record(int64(i), ev)))
		next, _, err := metadata.Apply(want, metadata.Entry{Offset: int64(i), Event: ev})
		if err != nil {
			t.Fatal(err)
		}
		want = next
		if step.Before == step.After || f.Err != nil {
			t.Fatalf("event %d had no effect: %v", i, f.Err)
		}
	}
	if f.Image.Hash() != want.Hash() {
		t.Fatal("the fold's image is not the server's")
	}
	hash := want.Hash().Bytes()
	f.Apply(LogEntry{Offset: 5, Type: TypeImageHash, Value: hash[:]})
	if f.Err != nil {
		t.Fatalf("an equal hash was refused: %v", f.Err)
	}
	hash[3]++
	f.Apply(LogEntry{Offset: 6, Type: TypeImageHash, Value: hash[:]})
	if f.Err == nil {
		t.Fatal("a wrong hash was accepted")
	}
	image := f.Image
	if f.Apply(decodeEntry(record(7, sampleLog()[3]))); f.Image != image {
		t.Error("the fold went on after an error")
	}
}

func TestFoldStopsAtWhatItDoesNotKnow(t *testing.T) {
	f := NewFold(0)
	f.Apply(decodeEntry(&kgo.Record{Offset: 0, Value: []byte(`{"type":"FromTheFuture","v":9}`)}))
	if !errors.Is(f.Err, metadata.ErrUnknownEvent) {
		t.Errorf("got %v", f.Err)
	}
}

func TestDiffImages(t *testing.T) {
	f := NewFold(0)
	var step Step
	for i, ev := range sampleLog() {
		step = f.Apply(decodeEntry(record(int64(i), ev)))
	}
	got := DiffImages(step.Before, step.After)
	want := []EntityChange{{Key: "partition/orders/0", Op: "~", Fields: []FieldChange{{Field: "leader", Before: "1", After: "-1"}, {Field: "leaderEpoch", Before: "0", After: "1"}, {Field: "partitionEpoch", Before: "0", After: "1"}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestEveryEventIsDescribed(t *testing.T) {
	for _, ev := range append(sampleLog(), &metadata.BrokerFenced{}, &metadata.BrokerUnfenced{}, &metadata.BrokerUnregistered{}, &metadata.TopicDeleted{}, &metadata.TombstonesPurged{},
		&metadata.PartitionsAdded{}, &metadata.AssignPartition{}, &metadata.UpdateIsr{}, &metadata.ConfigChanged{}, &metadata.ProducerIDsAllocated{}) {
		if Describe(LogEntry{Event: ev, Type: ev.Type()}) == "" {
			t.Errorf("%s has no description", ev.Type())
		}
	}
}

func newCluster(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, *Client) {
	t.Helper()
	cl, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	c, err := OpenTarget("chronikctl", Target{Bootstrap: cl.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return cl, c
}

func TestSoftwareNameIsOurs(t *testing.T) {
	cl, c := newCluster(t)
	name := make(chan string, 10)
	cl.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		select {
		case name <- req.(*kmsg.ApiVersionsRequest).ClientSoftwareName:
		default:
		}
		return nil, nil, false
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Kafka().Ping(ctx); err != nil {
		t.Fatal(err)
	}
	if got := <-name; got != "chronikctl" {
		t.Errorf("software name %q", got)
	}
}

func TestStatusKeepsARowForANodeThatIsAway(t *testing.T) {
	cl, c := newCluster(t, kfake.SeedTopics(3, "orders"))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil || s.State != Healthy || len(s.Nodes) != 3 || s.Counts.Partitions != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	// Node 0 hangs up on everything that is sent to it alone.
	cl.ControlKey(int16(kmsg.ApiVersions), func(kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		if cl.CurrentNode() == 0 {
			return nil, errors.New("gone"), true
		}
		return nil, nil, false
	})
	other, err := OpenTarget("chronikctl", Target{Bootstrap: cl.ListenAddrs()[1:2]})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s, err = other.Status(ctx)
	if err != nil || len(s.Nodes) != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	if s.Nodes[0].State != NodeUnreachable || s.State == Healthy {
		t.Errorf("node 0 is %s, the cluster %s", s.Nodes[0].State, s.State)
	}
}

// silentBroker has a broker that accepts connections and never answers (stopped, or not serving yet) take the place of broker 0 in what the
// cluster says of itself, and returns its address.
func silentBroker(t *testing.T, cl *kfake.Cluster) string {
	t.Helper()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	cl.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		host, port, _ := net.SplitHostPort(silent.Addr().String())
		n, _ := strconv.Atoi(port)
		resp := kreq.ResponseKind().(*kmsg.MetadataResponse)
		resp.ControllerID = 1
		for i, a := range cl.ListenAddrs() {
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID, b.Host = int32(i), host
			_, p, _ := net.SplitHostPort(a)
			at, _ := strconv.Atoi(p)
			if b.Port = int32(at); i == 0 {
				b.Port = int32(n)
			}
			resp.Brokers = append(resp.Brokers, b)
		}
		return resp, nil, true
	})
	return silent.Addr().String()
}

// A silent broker holds a status up for no longer than its own row takes.
func TestStatusIsNotHeldUpByASilentBroker(t *testing.T) {
	cl, _ := newCluster(t, kfake.SeedTopics(3, "orders"))
	silent := silentBroker(t, cl)
	for _, bootstrap := range [][]string{{silent, cl.ListenAddrs()[1]}, cl.ListenAddrs()[1:2]} {
		for range 2 { // whom it asks first is drawn
			c, err := OpenTarget("chronikctl", Target{Bootstrap: bootstrap})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*nodeProbeTimeout)
			s, err := c.Status(ctx)
			cancel()
			c.Close()
			if err != nil {
				t.Fatalf("bootstrap %v: %v", bootstrap, err)
			}
			if s.Nodes[0].State != NodeUnreachable || s.Nodes[1].State != NodeUp {
				t.Fatalf("bootstrap %v: node 0 is %s, node 1 %s: %s", bootstrap, s.Nodes[0].State, s.Nodes[1].State, s.Nodes[1].Error)
			}
		}
	}
}

// A leader that is silent costs its own partitions, not those of the others, and not the whole timeout.
func TestExtentsOfASilentLeader(t *testing.T) {
	cl, _ := newCluster(t, kfake.SeedTopics(3, "orders"))
	silentBroker(t, cl)
	c, err := OpenTarget("chronikctl", Target{Bootstrap: cl.ListenAddrs()[1:]})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.Status(ctx); err != nil { // learns where the nodes are
		t.Fatal(err)
	}
	for p := range int32(2) {
		if err := cl.MoveTopicPartition("orders", p, 1); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	got, err := c.Extents(ctx, []PartitionStatus{{Topic: "orders", Partition: 0, Leader: 1}, {Topic: "orders", Partition: 1, Leader: 1}, {Topic: "orders", Partition: 2, Leader: 0},
		{Topic: "orders", Partition: 3, Leader: -1}})
	if took := time.Since(begin); took > nodeProbeTimeout+time.Second {
		t.Errorf("it took %s", took)
	}
	if err == nil || len(got["orders"]) != 2 || got["orders"][0] != (Extent{}) || cli.ExitCode(err) != cli.ExitUnreachable {
		t.Errorf("%v, %v", got, err)
	}
}

// The log's bounds are those that its leader tells; when that one is silent, ctx bounds the wait.
func TestLogBounds(t *testing.T) {
	cl, c := newCluster(t, kfake.SeedTopics(1, MetadataTopic))
	if err := cl.MoveTopicPartition(MetadataTopic, 0, 2); err != nil {
		t.Fatal(err)
	}
	if err := c.Kafka().ProduceSync(t.Context(), &kgo.Record{Topic: MetadataTopic, Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if start, end, err := c.LogBounds(t.Context()); start != 0 || end != 1 || err != nil {
		t.Errorf("%d to %d, %v", start, end, err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c.nodes.learn(2, silent.Addr().String())
	answers := 0
	cl.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		topic, p := kmsg.NewMetadataResponseTopic(), kmsg.NewMetadataResponseTopicPartition()
		topic.Topic, p.Leader = kmsg.StringPtr(MetadataTopic), 2
		if answers++; answers <= 2 {
			p.Leader = -1 // there is an election
		}
		topic.Partitions = append(topic.Partitions, p)
		resp := kreq.ResponseKind().(*kmsg.MetadataResponse)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	begin := time.Now()
	_, _, err = c.LogBounds(ctx)
	if took := time.Since(begin); cli.ExitCode(err) != cli.ExitUnreachable || took > 3*time.Second || answers < 3 {
		t.Errorf("%v after %s and %d answers", err, took, answers)
	}
}

// When nobody answers, that is known after the bound of the first part.
func TestStatusWithinABound(t *testing.T) {
	cl, _ := newCluster(t)
	c, err := OpenTarget("chronikctl", Target{Bootstrap: []string{silentBroker(t, cl)}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	begin := time.Now()
	_, err = c.StatusWithin(ctx, 300*time.Millisecond)
	if took := time.Since(begin); cli.ExitCode(err) != cli.ExitUnreachable || took > 5*time.Second {
		t.Errorf("%v after %s", err, took)
	}
}

func TestMetadataLogOfAClusterWithoutOne(t *testing.T) {
	_, c := newCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, _, err := c.LogBounds(ctx); !errors.Is(err, ErrNoMetadataLog) {
		t.Errorf("got %v", err)
	}
}

func TestTailReadsAndFollows(t *testing.T) {
	_, c := newCluster(t, kfake.SeedTopics(1, MetadataTopic))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	put := func(events ...metadata.Event) {
		for _, ev := range events {
			r := record(0, ev)
			r.Topic = MetadataTopic
			if err := c.Kafka().ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := sampleLog()
	put(all[:3]...)
	tail, err := c.OpenTail(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.Close()
	if tail.Start != 0 || tail.End != 3 {
		t.Errorf("bounds %d %d", tail.Start, tail.End)
	}
	var got []LogEntry
	for len(got) < 2 {
		entries, err := tail.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entries...)
	}
	put(all[3])
	for len(got) < 3 {
		entries, err := tail.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entries...)
	}
	if got[0].Type != "ClusterFounded" || got[2].Type != "TopicCreated" || got[2].Offset != 3 || got[2].Key != "topic/orders" {
		t.Errorf("got %+v", got)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{kerr.TopicAuthorizationFailed, cli.ExitDenied, "TOPIC_AUTHORIZATION_FAILED"},
		{context.DeadlineExceeded, cli.ExitUnreachable, "did not answer in time"},
		{kerr.TopicAlreadyExists, cli.ExitFailed, "TOPIC_ALREADY_EXISTS"},
		{kerr.RequestTimedOut, cli.ExitUnreachable, "REQUEST_TIMED_OUT"},
		{context.Canceled, cli.ExitInterrupted, ""},
	} {
		err := Explain("do it", c.err)
		if cli.ExitCode(err) != c.code || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "do it: ") {
			t.Errorf("%v: code %d, %q", c.err, cli.ExitCode(err), err)
		}
	}
}
