package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

var update = flag.Bool("update", false, "rewrite goldens")

// result is what one command did.
type result struct {
	code     int
	out, err string
}

// shell runs commands against one cluster.
type shell struct {
	addrs []string
	in    string
	tty   bool
	ctx   context.Context
}

func (s shell) run(t *testing.T, args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	env := &cli.Env{In: strings.NewReader(s.in), InTTY: s.tty, Out: &out, Err: &errOut, Getenv: func(string) string { return "" },
		Now: func() time.Time { return time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC) }, CacheDir: t.TempDir()}
	ctx := s.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	code := cli.Run(ctx, env, Tool, append([]string{"-b", strings.Join(s.addrs, ",")}, args...))
	return result{code, out.String(), errOut.String()}
}

func newShell(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, shell) {
	t.Helper()
	cl, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID("c-test")}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl, shell{addrs: cl.ListenAddrs()}
}

// unstable are the parts of an output that differ from run to run.
var unstable = []struct {
	expr *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "HOST:PORT"},
	{regexp.MustCompile(`"id": "[A-Za-z0-9_-]{22}"`), `"id": "ID"`},
	{regexp.MustCompile(`\bid [A-Za-z0-9_-]{22}\b`), "id ID"},
	{regexp.MustCompile(`"timestamp":"[^"]*"`), `"timestamp":"T"`},
	{regexp.MustCompile(`"rttMs": [0-9.]+`), `"rttMs": 0`},
	{regexp.MustCompile(` +[0-9.]+(us|ms)\b`), "  RTT"},
	{regexp.MustCompile(`ADDRESS +RTT`), "ADDRESS  RTT"},
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	for _, u := range unstable {
		got = u.expr.ReplaceAllString(got, u.with)
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update to accept):\n--- got\n%s--- want\n%s", name, got, want)
	}
}

// wantDocument checks the promise of -o json.
func wantDocument(t *testing.T, r result, kind string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(r.out), &doc); err != nil {
		t.Fatalf("no JSON document: %v\n%s%s", err, r.out, r.err)
	}
	if doc["kind"] != kind || doc["version"] != 1.0 {
		t.Fatalf("kind %v version %v, want %s", doc["kind"], doc["version"], kind)
	}
	return doc
}

func TestTopicsFromCreateToDelete(t *testing.T) {
	_, sh := newShell(t)
	golden(t, "topic-create", sh.run(t, "topic", "create", "payments", "orders", "-p", "2", "-c", "retention.ms=1000").out)
	if r := sh.run(t, "topic", "create", "orders"); r.code != cli.ExitFailed || !strings.Contains(r.out, "TOPIC_ALREADY_EXISTS") {
		t.Errorf("%+v", r)
	}
	if r := sh.run(t, "topic", "create", "orders", "--if-not-exists"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	partial := sh.run(t, "topic", "create", "orders", "users", "-p", "1", "-o", "json")
	if wantDocument(t, partial, "TopicCreateResult"); partial.code != cli.ExitPartial {
		t.Errorf("exit code %d, want 5", partial.code)
	}
	if r := sh.run(t, "topic", "create", "ghost", "--dry-run"); r.code != 0 || strings.Contains(sh.run(t, "topic", "list").out, "ghost") {
		t.Errorf("a dry run has created the topic: %+v", r)
	}
	for _, f := range []string{"table", "wide", "json", "jsonl", "csv", "name", "yaml"} {
		r := sh.run(t, "topic", "list", "orders", "p*", "-o", f)
		r.out = regexp.MustCompile(`[A-Za-z0-9_-]{22}`).ReplaceAllString(r.out, "ID")
		golden(t, "topic-list-"+f, r.out)
	}
	golden(t, "topic-describe", sh.run(t, "topic", "describe", "orders").out)
	golden(t, "topic-describe-json", sh.run(t, "topic", "describe", "orders", "-o", "json").out)

	if r := sh.run(t, "topic", "delete", "orders"); r.code != cli.ExitUsage || !strings.Contains(r.err, "next: chronikctl topic delete orders --yes") || r.out != "" {
		t.Errorf("without a terminal: %+v", r)
	}
	asked := sh
	asked.tty, asked.in = true, "yes\n"
	if r := asked.run(t, "topic", "delete", "orders"); r.code != cli.ExitDeclined || !strings.Contains(r.err, "Type c-test to go on") {
		t.Errorf("declined: %+v", r)
	}
	if r := sh.run(t, "topic", "delete", "orders", "--dry-run"); r.code != 0 || !strings.Contains(r.out, "would be deleted") {
		t.Errorf("dry run: %+v", r)
	}
	asked.in = "c-test\n"
	if r := asked.run(t, "topic", "delete", "orders"); r.code != 0 || !strings.Contains(r.out, "deleted") {
		t.Errorf("confirmed: %+v", r)
	}
	if r := sh.run(t, "topic", "delete", "orders", "--yes"); r.code != cli.ExitFailed {
		t.Errorf("a second time: %+v", r)
	}
	if r := sh.run(t, "topic", "describe", "paymnets"); r.code != cli.ExitFailed || !strings.Contains(r.err, "did you mean payments?") || r.out != "" {
		t.Errorf("misspelt: %+v", r)
	}
}

func TestProduceAndConsume(t *testing.T) {
	_, sh := newShell(t, kfake.SeedTopics(1, "orders"))
	write := func(in string, args ...string) result {
		w := sh
		w.in = in
		return w.run(t, append([]string{"produce"}, args...)...)
	}
	if r := write("one\ntwo\nthree", "orders"); r.code != 0 || r.out != "" {
		t.Fatalf("%+v", r)
	}
	if r := write("k=v\n", "orders", "-f", `%k=%v\n`, "-H", "trace=1", "-o", "json"); r.code != 0 {
		t.Fatalf("%+v", r)
	} else if doc := wantDocument(t, r, "ProduceResult"); len(doc["items"].([]any)) != 1 {
		t.Errorf("%v", doc)
	}
	if r := write("", "orders", "-o", "json"); r.code != 0 {
		t.Errorf("nothing to write: %+v", r)
	} else {
		wantDocument(t, r, "ProduceResult")
	}
	cases := []struct {
		args []string
		want string
	}{
		{[]string{"-o", ":end"}, "one\ntwo\nthree\nv\n"},
		{[]string{"-n", "2"}, "one\ntwo\n"},
		{[]string{"-o", "1:3"}, "two\nthree\n"},
		{[]string{"-o", "-1:end", "-f", `%t %p %o %k %v %h{%k=%v}\n`}, "orders 0 3 k v trace=1\n"},
		{[]string{"-o", "+2", "-n", "1"}, "three\n"},
		{[]string{"-o", "end:end"}, ""},
		{[]string{"-p", "0", "-o", "0:1"}, "one\n"},
		{[]string{"-g", "readers", "-n", "3"}, "one\ntwo\nthree\n"},
		{[]string{"-g", "readers", "-n", "1"}, "v\n"}, // the group goes on where it was
	}
	for _, c := range cases {
		if r := sh.run(t, append([]string{"consume", "orders"}, c.args...)...); r.code != 0 || r.out != c.want {
			t.Errorf("%v: %+v, want %q", c.args, r, c.want)
		}
	}
	r := sh.run(t, "consume", "orders", "-o", ":end", "-o", "json")
	if doc := wantDocument(t, r, "RecordList"); len(doc["items"].([]any)) != 4 {
		t.Errorf("%v", doc)
	}
	golden(t, "consume-jsonl", sh.run(t, "consume", "orders", "--offset", "3:end", "--output", "jsonl").out)
	empty := sh.run(t, "consume", "orders", "-o", "end:end", "--output", "json")
	wantDocument(t, empty, "RecordList")

	for args, code := range map[string]int{"consume orders -o x": 2, "consume orders -o csv": 2, "consume orders -p 9 -o :end": 1, "consume nothing": 1, "consume orders -g g -o 1:2": 2, "consume": 2,
		"produce": 2, "produce nothing": 1, "produce orders --acks 3": 2, "produce orders -z rar": 2, "produce orders -f %q": 2, "produce orders -H x": 2} {
		if r := sh.run(t, strings.Fields(args)...); r.code != code || r.err == "" {
			t.Errorf("%s: %+v, want exit code %d", args, r, code)
		}
	}
	if r := write("a b\n", "orders", "-f", `%k=%v\n`); r.code != cli.ExitFailed || !strings.Contains(r.err, "does not fit the format") {
		t.Errorf("%+v", r)
	}
}

func TestConsumeInterrupted(t *testing.T) {
	_, sh := newShell(t, kfake.SeedTopics(1, "orders"))
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(300*time.Millisecond, cancel)
	sh.ctx = ctx
	r := sh.run(t, "consume", "orders", "-o", "json")
	if r.code != cli.ExitInterrupted {
		t.Errorf("exit code %d, want 130", r.code)
	}
	wantDocument(t, r, "RecordList")
}

func TestProduceTellsWhatFailed(t *testing.T) {
	cl, sh := newShell(t, kfake.SeedTopics(1, "orders"))
	cl.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.ErrorCode = 29 // TOPIC_AUTHORIZATION_FAILED
			rt.Partitions = append(rt.Partitions, rp)
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	sh.in = "x\n"
	if r := sh.run(t, "produce", "orders"); r.code != cli.ExitDenied || !strings.Contains(r.err, "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("%+v", r)
	}
}

func TestStatus(t *testing.T) {
	cl, sh := newShell(t, kfake.SeedTopics(2, "orders"))
	for _, spelling := range [][]string{{"status"}, {"cluster", "status"}} {
		r := sh.run(t, spelling...)
		if r.code != 0 || r.err != "" {
			t.Fatalf("%+v", r)
		}
		golden(t, "status", r.out)
	}
	wantDocument(t, sh.run(t, "status", "-o", "json"), "ClusterStatus")
	if r := sh.run(t, "status", "--exit-when-healthy", "--timeout", "5s"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	cl.ControlKey(int16(kmsg.ApiVersions), func(kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		return nil, errors.New("gone"), true
	})
	r := sh.run(t, "status", "-o", "json", "--timeout", "2s")
	if doc := wantDocument(t, r, "ClusterStatus"); r.code != cli.ExitUnreachable || doc["state"] != "UNAVAILABLE" {
		t.Errorf("%+v", r)
	}
}

func TestStatusWatchFollows(t *testing.T) {
	_, sh := newShell(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(3*time.Second, cancel) // thirty rounds' time for the two that are asked for
	sh.ctx = ctx
	r := sh.run(t, "status", "-w", "--interval", "100ms", "-o", "jsonl")
	if n := strings.Count(r.out, `"kind":"ClusterStatus"`); r.code != cli.ExitInterrupted || n < 2 {
		t.Errorf("exit code %d, %d documents", r.code, n)
	}
}

func TestNobodyThere(t *testing.T) {
	sh := shell{addrs: []string{"127.0.0.1:1"}, in: "x\n"}
	for _, args := range []string{"status", "topic list", "partition list", "partition status", "partition verify", "topic create x", "produce x", "consume x", "metadata tail"} {
		if r := sh.run(t, strings.Fields(args)...); r.code != cli.ExitUnreachable || !strings.Contains(r.err, "connection refused") || r.out != "" {
			t.Errorf("%s: %+v", args, r)
		}
	}
	if r := sh.run(t, "__complete", "topic", "describe", ""); strings.Contains(r.out, "refused") {
		t.Errorf("completion is not silent: %+v", r)
	}
}

func TestCompletionOffersTopics(t *testing.T) {
	_, sh := newShell(t, kfake.SeedTopics(1, "orders", "payments"))
	if r := sh.run(t, "__complete", "topic", "describe", "pay"); !strings.Contains(r.out, "payments\n") || strings.Contains(r.out, "orders\n") {
		t.Errorf("%+v", r)
	}
	if r := sh.run(t, "__complete", "status", "--output", ""); !strings.Contains(r.out, "json\n") {
		t.Errorf("%+v", r)
	}
}

// writeLog fills a topic with a metadata log as a node serves it.
func writeLog(t *testing.T, addrs []string) {
	t.Helper()
	c, err := metaclient.OpenTarget("chronikctl", metaclient.Target{Bootstrap: addrs})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	disk, topic := uuid.UUID{1: 7}, uuid.UUID{2: 9}
	events := []metadata.Event{
		&metadata.VotersChanged{Voters: []metadata.Voter{{NodeID: 1, DiskID: disk}}},
		&metadata.ClusterFounded{ClusterID: "c1", Founders: []metadata.Voter{{NodeID: 1, DiskID: disk}}, TimestampMs: 1_700_000_000_000},
		&metadata.BrokerRegistered{BrokerID: 1, BrokerEpoch: 2, Incarnation: uuid.UUID{3: 1}, DiskID: disk, Endpoints: []metadata.Endpoint{{Listener: "kafka", Host: "h", Port: 9092}}},
		&metadata.TopicCreated{Name: "orders", TopicID: topic, TimestampMs: 1_700_000_001_000, Partitions: []metadata.PartitionState{{Replicas: []int32{1}, ISR: []int32{1}, Leader: 1}}},
		&metadata.ConfigChanged{Resource: metadata.ResourceTopic, Name: "orders", Set: map[string]string{"retention.ms": "1000"}},
		&metadata.SetLeader{Name: "orders", TopicID: topic, Leader: -1, ISR: []int32{1}, LeaderEpoch: 1, PartitionEpoch: 1},
	}
	for i, ev := range events {
		r := &kgo.Record{Topic: metaclient.MetadataTopic, Key: []byte(ev.Key()), Value: metadata.AppendEvent(nil, ev), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)*1000),
			Headers: []kgo.RecordHeader{{Key: "type", Value: []byte("event")}, {Key: "hash", Value: bytes.Repeat([]byte{byte(i + 1)}, 16)}}}
		if err := c.Kafka().ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMetadataTail(t *testing.T) {
	_, sh := newShell(t, kfake.SeedTopics(1, metaclient.MetadataTopic))
	writeLog(t, sh.addrs)
	golden(t, "tail", sh.run(t, "metadata", "tail").out)
	golden(t, "tail-wide-last", sh.run(t, "metadata", "tail", "-n", "2", "-o", "wide").out)
	golden(t, "tail-diff", sh.run(t, "metadata", "tail", "--diff", "-n", "3").out)
	golden(t, "tail-json", sh.run(t, "metadata", "tail", "--diff", "-n", "2", "-o", "json").out)
	for args, want := range map[string]int{"--type TopicCreated,ConfigChanged": 2, "--entity topic/orders": 3, "--entity broker/*": 1, "--from 4": 2, "--from @2023-11-14T22:13:23Z": 3, "--from end": 0, "--from 0 --type brokerunregistered": 0} {
		r := sh.run(t, append([]string{"metadata", "tail", "-o", "jsonl"}, strings.Fields(args)...)...)
		if n := strings.Count(r.out, "\n"); r.code != 0 || n != want {
			t.Errorf("%s: exit code %d, %d lines, want %d\n%s%s", args, r.code, n, want, r.out, r.err)
		}
	}
	if r := sh.run(t, "metadata", "tail", "--type", "TopicCreated,Nope"); r.code != cli.ExitUsage || r.out != "" || !strings.Contains(r.err, "--type Nope") ||
		!strings.Contains(r.err, "TopicDeleted") || !strings.Contains(r.err, "epoch-start") {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(time.Second, cancel)
	f := sh
	f.ctx = ctx
	r := f.run(t, "metadata", "tail", "-f", "-o", "json")
	if doc := wantDocument(t, r, "MetadataEntryList"); r.code != cli.ExitInterrupted || len(doc["items"].([]any)) != 6 {
		t.Errorf("%+v", r)
	}
}

func TestMetadataTailFindsAContradiction(t *testing.T) {
	_, sh := newShell(t, kfake.SeedTopics(1, metaclient.MetadataTopic))
	writeLog(t, sh.addrs)
	writeLog(t, sh.addrs) // founding the cluster a second time is refused
	if r := sh.run(t, "metadata", "tail", "--diff"); r.code != cli.ExitNo || !strings.Contains(r.err, "cannot be folded") {
		t.Errorf("%+v", r)
	}
}

func TestMetadataTailElsewhere(t *testing.T) {
	_, sh := newShell(t)
	if r := sh.run(t, "metadata", "tail"); r.code != cli.ExitFailed || !strings.Contains(r.err, "no Chronik cluster") {
		t.Errorf("%+v", r)
	}
}

// TestHelpListsWhatIsThere pins the commands: one that is not finished must not be listed.
func TestHelpListsWhatIsThere(t *testing.T) {
	sh := shell{addrs: []string{"127.0.0.1:1"}}
	golden(t, "help", sh.run(t, "--help").out)
	golden(t, "help-topic", sh.run(t, "topic", "--help").out)
	golden(t, "help-partition", sh.run(t, "partition", "--help").out)
	if r := sh.run(t, "tpoic"); r.code != cli.ExitUsage || !strings.Contains(r.err, "next: chronikctl topic") {
		t.Errorf("%+v", r)
	}
}

// Damage does not pass by itself where nobody else can lead: what could be read is printed, and then the run ends and says so.
func TestConsumeEndsAtDamage(t *testing.T) {
	for _, mode := range [][]string{nil, {"-g", "readers"}} {
		cl, sh := newShell(t, kfake.SeedTopics(1, "orders"))
		sh.in = "one\n"
		if r := sh.run(t, "produce", "orders"); r.code != cli.ExitOK {
			t.Fatalf("%+v", r)
		}
		cl.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			cl.KeepControl()
			req := kreq.(*kmsg.FetchRequest)
			if len(req.Topics) == 0 || req.Topics[0].Partitions[0].FetchOffset == 0 {
				return nil, nil, false // this part can be read
			}
			resp := req.ResponseKind().(*kmsg.FetchResponse)
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
			rp := kmsg.NewFetchResponseTopicPartition()
			rp.ErrorCode = kerr.KafkaStorageError.Code
			rt.Partitions = append(rt.Partitions, rp)
			resp.Topics = append(resp.Topics, rt)
			return resp, nil, true
		})
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		sh.ctx = ctx
		r := sh.run(t, append([]string{"consume", "orders"}, mode...)...)
		if r.code != cli.ExitFailed || r.out != "one\n" || !strings.Contains(r.err, "read orders-0 from offset 1 on: KAFKA_STORAGE_ERROR") ||
			!strings.Contains(r.err, "next: chronikctl partition verify orders") {
			t.Errorf("%v: %+v", mode, r)
		}
	}
}

func TestWordsForRefusals(t *testing.T) {
	cl, sh := newShell(t, kfake.SeedTopics(1, "orders"))
	for _, command := range [][]string{{"topic", "create", ""}, {"topic", "delete", "", "--yes"}, {"topic", "describe", ""}, {"consume", ""}} {
		if r := sh.run(t, command...); r.code != cli.ExitUsage || !strings.Contains(r.err, "a topic's name must not be empty") {
			t.Errorf("%q: %+v", command, r)
		}
	}
	sh.in = "one\n"
	if r := sh.run(t, "produce", "orders"); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if r := sh.run(t, "topic", "delete", "orders", "--dry-run"); r.code != 0 || !strings.HasSuffix(strings.Split(r.err, "\n")[0], ", 1 record") {
		t.Errorf("%+v", r)
	}
	cl.ControlKey(int16(kmsg.DeleteTopics), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		resp := kreq.ResponseKind().(*kmsg.DeleteTopicsResponse)
		rt := kmsg.NewDeleteTopicsResponseTopic()
		name, why := "orders", "Internal topic orders cannot be deleted."
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = &name, kerr.InvalidRequest.Code, &why
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	if r := sh.run(t, "topic", "delete", "orders", "--yes"); r.code != cli.ExitFailed || !strings.Contains(r.out, "INVALID_REQUEST: Internal topic orders cannot be deleted.") {
		t.Errorf("%+v", r)
	}
}

// What --output name prints goes back in: chronikctl topic delete $(chronikctl topic list -o name).
func TestTopicNamesAsTheyArePrinted(t *testing.T) {
	if got := topicNames([]string{"orders", "topic/orders", "topic."}); !slices.Equal(got, []string{"orders", "orders", "topic."}) {
		t.Fatal(got)
	}
}
