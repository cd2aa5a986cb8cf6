package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
