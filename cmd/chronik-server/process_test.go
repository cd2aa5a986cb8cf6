package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/testcluster"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testcluster.Cleanup()
	os.Exit(code)
}

func client(t *testing.T, s *testcluster.Server, o ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.Kafka), kgo.AllowAutoTopicCreation()}, o...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func produce(t *testing.T, s *testcluster.Server, topic string, from, to int) {
	t.Helper()
	c := client(t, s)
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "value %d", i)})
	}
	if err := c.ProduceSync(within(t, 30*time.Second), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func consume(t *testing.T, s *testcluster.Server, topic string, want int) {
	t.Helper()
	c := client(t, s, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := within(t, 30*time.Second)
	for i := 0; i < want; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", i, want, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if got := fmt.Sprintf("value %d", i); string(r.Value) != got || r.Offset != int64(i) {
				t.Fatalf("record %d is %q at offset %d", i, r.Value, r.Offset)
			}
			i++
		})
	}
}

// The contract that scripts rely on: a ready line, real ports, everything acknowledged is there after kill -9 and after SIGTERM.
func TestProduceKillRestartConsume(t *testing.T) {
	s := testcluster.Start(t, testcluster.Options{KernelPorts: true})
	t.Logf("empty directory: ready after %d ms (%v with the start of the process)", s.ReadyMs, s.StartTook)
	produce(t, s, "t", 0, 1000)
	consume(t, s, "t", 1000)
	s.Kill()
	s.Restart()
	t.Logf("after kill -9: ready after %d ms", s.ReadyMs)
	consume(t, s, "t", 1000)
	produce(t, s, "t", 1000, 1500)
	begin := time.Now()
	if err := s.Stop(); err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("SIGTERM took %v", took)
	} else {
		t.Logf("SIGTERM took %v", took)
	}
	for _, line := range []string{"level=INFO msg=stopping\n", "level=INFO msg=\"stopped cleanly\" ms="} {
		if n := strings.Count(s.Log(), line); n != 1 {
			t.Errorf("%q is %d times in the log:\n%s", line, n, s.Log())
		}
	}
	s.Restart()
	t.Logf("after SIGTERM: ready after %d ms", s.ReadyMs)
	consume(t, s, "t", 1500)
}

// A stop must not wait for clients: neither for one that polls, nor for one that says nothing.
func TestStopWithinFiveSecondsUnderLoad(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := testcluster.Start(t, testcluster.Options{})
		produce(t, s, "t", 0, 10)
		silent, err := net.Dial("tcp", s.Kafka)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		reader := client(t, s, kgo.ConsumeTopics("t"), kgo.FetchMaxWait(30*time.Second))
		go func() {
			for ctx.Err() == nil {
				reader.PollFetches(ctx)
			}
		}()
		grouped := client(t, s, kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"))
		go func() {
			for ctx.Err() == nil {
				grouped.PollFetches(ctx)
			}
		}()
		writer := client(t, s)
		go func() {
			for ctx.Err() == nil {
				writer.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")})
			}
		}()
		time.Sleep(500 * time.Millisecond)
		begin := time.Now()
		if err := s.Signal(sig, 10*time.Second); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%v took %v", sig, took)
		} else {
			t.Logf("%v took %v", sig, took)
		}
		cancel()
	}
}

func TestSecondServerOnADirectoryIsRefused(t *testing.T) {
	s := testcluster.Start(t, testcluster.Options{})
	out, code := command(t, "start", "--data-dir", s.Dir, "--kafka", "127.0.0.1:0", "--wal", "127.0.0.1:0", "--raft", "127.0.0.1:0", "--http", "off")
	if code != exitFailed || !strings.Contains(out, fmt.Sprintf("pid %d", s.Pid())) || !strings.Contains(out, "--data-dir") {
		t.Errorf("exit code %d, output %q; want %d and pid %d", code, out, exitFailed, s.Pid())
	}
	produce(t, s, "t", 0, 1) // and the first one goes on
}

func TestPortInUseSaysWhichAndHowToChangeIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := filepath.Join(t.TempDir(), "data")
	out, code := command(t, "start", "--data-dir", dir, "--kafka", l.Addr().String(), "--wal", "127.0.0.1:0", "--raft", "127.0.0.1:0", "--http", "off")
	for _, want := range []string{l.Addr().String(), "kafka", "--kafka", "another process"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q does not say %q", out, want)
		}
	}
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(dir, "meta.properties")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a start that failed minted an identity: %v", err)
	}
}

func TestHealth(t *testing.T) {
	s := testcluster.Start(t, testcluster.Options{})
	produce(t, s, "t", 0, 3)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body, err := s.Get(path); err != nil || status != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q %v", path, status, body, err)
		}
	}
	status, body, err := s.Get("/metrics")
	if err != nil || status != 200 {
		t.Fatalf("/metrics: %d %v", status, err)
	}
	for _, want := range []string{"chronik_ready 1", "chronik_controller 1", `chronik_requests_total{api="Produce"}`, "chronik_partitions 1", "chronik_disk_free_bytes"} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	if status, _, err := s.Get("/debug/pprof/goroutine?debug=1"); err != nil || status != 200 {
		t.Errorf("/debug/pprof: %d %v", status, err)
	}
}

func TestIdleMemory(t *testing.T) {
	s := testcluster.Start(t, testcluster.Options{})
	time.Sleep(time.Second)
	rss, err := s.RSS()
	if err != nil {
		t.Skip(err)
	}
	t.Logf("idle: %.1f MiB resident", float64(rss)/(1<<20))
	if rss > 40<<20 {
		t.Errorf("idle server holds %d bytes", rss)
	}
}

func TestConfigurationFileAndAdvertisedAddress(t *testing.T) {
	s := testcluster.Start(t, testcluster.Options{Config: "node_id = 3\n[kafka]\nnum.partitions = 4\nbroker.rack = \"r1\"\n"})
	produce(t, s, "t", 0, 1)
	c := client(t, s)
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("t")
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(within(t, 10*time.Second), c)
	if err != nil {
		t.Fatal(err)
	}
	b := resp.Brokers[0]
	if got := fmt.Sprintf("%s:%d", b.Host, b.Port); got != s.Kafka || b.NodeID != 3 || b.Rack == nil || *b.Rack != "r1" {
		t.Errorf("broker %d at %s, want 3 at %s", b.NodeID, got, s.Kafka)
	}
	if n := len(resp.Topics[0].Partitions); n != 4 {
		t.Errorf("%d partitions", n)
	}
}

// command runs the server binary to its end.
func command(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(within(t, 30*time.Second), testcluster.Binary(t), args...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.toml"), filepath.Join(dir, "bad.toml")
	for path, text := range map[string]string{good: "node_id = 7\n[kafka]\nnum.partitions = 3\n", bad: "\nnode_ib = 7\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	for _, tc := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"version", []string{"version"}, 0, []string{"chronik-server"}},
		{"help", []string{"--help"}, 0, []string{"start", "format", "config"}},
		{"unknown flag", []string{"start", "--kafak", "x"}, exitUsage, []string{"--kafak"}},
		{"unknown command", []string{"strat"}, exitUsage, []string{"strat"}},
		{"argument too many", []string{"start", "now"}, exitUsage, []string{"now"}},
		{"config check", []string{"config", "check", good}, 0, []string{"node_id", "7", "line 1", "kafka.num.partitions"}},
		{"config check of a mistake", []string{"config", "check", bad}, exitUsage, []string{"bad.toml:2", "did you mean node_id?"}},
		{"config check of nothing", []string{"config", "check"}, exitUsage, nil},
		{"start with a mistake", []string{"start", "--config", bad}, exitUsage, []string{"bad.toml:2"}},
		{"start off loopback", []string{"start", "--kafka", "0.0.0.0:0"}, exitUsage, []string{"kafka"}},
		{"format", []string{"format", "--data-dir", data, "--cluster-id", "c1", "--node-id", "7"}, 0, []string{"cluster c1", "node 7"}},
		{"start of another node", []string{"start", "--data-dir", data, "--kafka", "127.0.0.1:0", "--wal", "127.0.0.1:0", "--raft", "127.0.0.1:0", "--http", "off"}, exitFailed, []string{"belongs to node 7", "node_id"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, code := command(t, tc.args...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d; output %q", code, tc.code, out)
			}
			for _, s := range tc.says {
				if !strings.Contains(out, s) {
					t.Errorf("output %q does not say %q", out, s)
				}
			}
		})
	}
}

// The figures of the documentation: how long a start takes with a thousand topics, after a stop and after a kill.
func TestStartWithAThousandTopics(t *testing.T) {
	s := testcluster.Start(t, testcluster.Options{})
	admin := kadm.NewClient(client(t, s))
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("topic-%d", i))
	}
	begin := time.Now()
	created, err := admin.CreateTopics(within(t, 60*time.Second), 1, 1, nil, names...)
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("1,000 topics in one request: %v", time.Since(begin))
	for _, name := range names[:100] {
		produce(t, s, name, 0, 3)
	}
	for _, end := range []struct {
		name string
		fn   func()
	}{{"SIGTERM", func() { _ = s.Stop() }}, {"kill -9", s.Kill}, {"kill -9", s.Kill}} {
		end.fn()
		s.Restart()
		t.Logf("1,000 topics, after %s: ready after %d ms", end.name, s.ReadyMs)
	}
	there, err := admin.ListTopics(within(t, 30*time.Second))
	if err != nil || len(there) != 1000 {
		t.Errorf("%d topics, %v", len(there), err)
	}
	consume(t, s, names[42], 3)
}

// Below min_free_bytes records are refused with an error that says so; everything else goes on, and appends do once there is space.
func TestFullDiskRefusesRecordsAndNothingElse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := testcluster.Start(t, testcluster.Options{Dir: dir})
	produce(t, s, "t", 0, 10)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	full := testcluster.Start(t, testcluster.Options{Dir: dir, Config: "min_free_bytes = 4611686018427387904\n"})
	consume(t, full, "t", 10)
	toldOfFullDisk(t, full)
	c := client(t, full, kgo.RecordRetries(2), kgo.RecordDeliveryTimeout(3*time.Second))
	err := c.ProduceSync(within(t, 10*time.Second), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr()
	if err == nil {
		t.Error("a record was taken by a full disk")
	}
	t.Logf("produce on a full disk: %v", err)
	admin := kadm.NewClient(client(t, full))
	if _, err := admin.CreateTopic(within(t, 10*time.Second), 1, 1, nil, "u"); err != nil {
		t.Errorf("create a topic on a full disk: %v", err)
	}
	if _, err := admin.DeleteTopic(within(t, 10*time.Second), "u"); err != nil {
		t.Errorf("delete a topic on a full disk: %v", err)
	}
	if err := full.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	produce(t, s, "t", 10, 20)
	consume(t, s, "t", 20)
	if out, err := exec.Command(testcluster.Tool(t, "chronikctl"), "status", "-b", s.Kafka).CombinedOutput(); err != nil || strings.Contains(string(out), "full") {
		t.Errorf("status where there is space: %v\n%s", err, out)
	}
}

// toldOfFullDisk checks that every tool tells of a disk that is full, on the only node.
func toldOfFullDisk(t *testing.T, s *testcluster.Server) {
	t.Helper()
	ctl, top := testcluster.Tool(t, "chronikctl"), testcluster.Tool(t, "chronik-top")
	why := "node 1 takes no records: its disk is full ("
	for _, c := range []struct {
		command []string
		says    []string
	}{
		{[]string{ctl, "status"}, []string{"UNAVAILABLE", why, "min_free_bytes 4.00 EiB)", "free space on node 1's disk or enlarge it"}},
		{[]string{ctl, "partition", "status"}, []string{"leader's disk is full", why}},
		{[]string{top, "--once"}, []string{"UNAVAILABLE", why}},
	} {
		out, err := exec.Command(c.command[0], append(c.command[1:], "-b", s.Kafka)...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 10 {
			t.Errorf("%v ended with %v, not 10", c.command, err)
		}
		for _, s := range c.says {
			if !strings.Contains(string(out), s) {
				t.Errorf("%v does not say %q:\n%s", c.command, s, out)
			}
		}
	}
}

func TestReadyLineInJSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command(testcluster.Binary(t), "start", "--data-dir", dir, "--kafka", "127.0.0.1:0", "--wal", "127.0.0.1:0", "--raft", "127.0.0.1:0", "--http", "off", "--log-format", "json")
	var logs strings.Builder
	cmd.Stderr = &logs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	dec := json.NewDecoder(out)
	var ready struct {
		Msg, Kafka, HTTP, Data string
		Ms                     *int64
	}
	if err := dec.Decode(&ready); err != nil {
		t.Fatal(err)
	}
	if ready.Msg != "ready" || !strings.HasPrefix(ready.Kafka, "127.0.0.1:") || ready.HTTP != "off" || ready.Ms == nil || ready.Data != dir {
		t.Errorf("%+v", ready)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := dec.Decode(&ready); err != io.EOF {
		t.Errorf("standard output has more than the ready line: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	for line := range strings.Lines(logs.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// Bytes that were durable and are damaged now are never taken for the end of the log.
func TestDamagedLogStopsTheStart(t *testing.T) {
	s := testcluster.Start(t, testcluster.Options{})
	for i := range 20 {
		produce(t, s, "t", i*10, i*10+10)
	}
	s.Kill()
	slots, err := filepath.Glob(filepath.Join(s.Dir, "wal", "*.wal"))
	if err != nil || len(slots) == 0 {
		t.Fatalf("WAL files %v, %v", slots, err)
	}
	f, err := os.OpenFile(slots[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 5*4096+100); err != nil { // in an early commit: later ones are whole
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.TryRestart(); err == nil {
		t.Fatal("the server started on a damaged log")
	} else if !strings.Contains(s.Log(), "corrupt") {
		t.Errorf("the log does not say that data is corrupt:\n%s", s.Log())
	} else if !strings.Contains(s.Log(), "restore all of it from a backup") {
		t.Errorf("the log does not say what to do:\n%s", s.Log())
	}
}

// A stop that is asked for while the server starts is a stop, not a failure, and leaves a directory that can be used.
func TestStopWhileStarting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	for ms := range 12 {
		cmd := exec.Command(testcluster.Binary(t), "start", "--data-dir", dir, "--kafka", "127.0.0.1:0", "--wal", "127.0.0.1:0", "--raft", "127.0.0.1:0", "--http", "off")
		var out strings.Builder
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(ms*8) * time.Millisecond)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		early := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() // before the server could listen to signals
		if err != nil && !early {
			t.Errorf("SIGTERM after %d ms: %v\n%s", ms*8, err, out.String())
		}
	}
	s := testcluster.Start(t, testcluster.Options{Dir: dir})
	produce(t, s, "t", 0, 1)
}
