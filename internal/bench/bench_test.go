package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

func TestPayloadShowsDamage(t *testing.T) {
	b := make([]byte, 100)
	fillPayload(b, payloadRandom, 1)
	stamp(b, 7, 3, 12345, 99)
	if h, state := readHeader(b); state != payloadGood || h != (header{7, 3, 12345, 99}) {
		t.Fatalf("%+v %v", h, state)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if _, state := readHeader(c); state == payloadGood {
			t.Errorf("a flipped bit in byte %d was not seen", i)
		}
	}
	if _, state := readHeader(b[:headerSize-1]); state != payloadForeign {
		t.Error("a short value is not foreign")
	}
	fillPayload(b, payloadJSON, 1)
	if !bytes.Contains(b, []byte(`"`)) {
		t.Error("json filler is no text")
	}
}

func TestCheckerSeesEveryKindOfDamage(t *testing.T) {
	value := func(producer uint32, seq uint64) []byte {
		b := make([]byte, headerSize)
		stamp(b, 1, producer, seq, 0)
		return b
	}
	ledgers := func(n int) []*ledger {
		ls := []*ledger{{}, {}}
		for _, l := range ls {
			l.sent = uint64(n)
			for i := range uint64(n) {
				l.acked.set(i)
			}
		}
		return ls
	}
	type read struct {
		partition int32
		producer  uint32
		seq       uint64
	}
	cases := []struct {
		name  string
		reads []read
		want  Integrity
	}{
		{"sound", []read{{0, 0, 0}, {0, 1, 0}, {1, 0, 1}, {0, 1, 1}}, Integrity{Read: 4}},
		{"lost", []read{{0, 0, 0}, {0, 1, 0}, {0, 1, 1}}, Integrity{Read: 3, Lost: 1}},
		{"duplicated", []read{{0, 0, 0}, {0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {0, 1, 1}}, Integrity{Read: 5, Duplicated: 1}},
		{"duplicated in another partition", []read{{0, 0, 0}, {0, 0, 1}, {1, 0, 1}, {0, 1, 0}, {0, 1, 1}}, Integrity{Read: 5, Duplicated: 1}},
		{"reordered", []read{{0, 0, 1}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}}, Integrity{Read: 4, Reordered: 1}},
		{"other partitions have no order", []read{{0, 0, 1}, {1, 0, 0}, {0, 1, 0}, {0, 1, 1}}, Integrity{Read: 4}},
	}
	for _, c := range cases {
		chk := newChecker(1, 2, 2)
		for _, r := range c.reads {
			chk.take(r.partition, value(r.producer, r.seq))
		}
		got := chk.finish(ledgers(2))
		c.want.Verified, c.want.Acknowledged = true, 4
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if got.bad() != (c.name != "sound" && c.name != "other partitions have no order") {
			t.Errorf("%s: bad is %v", c.name, got.bad())
		}
	}

	chk := newChecker(1, 1, 1)
	broken := value(0, 0)
	broken[headerSize-1] ^= 0xff
	chk.take(0, broken)
	foreign := make([]byte, headerSize)
	stamp(foreign, 2, 0, 0, 0)
	chk.take(0, foreign)
	chk.take(0, []byte("hello"))
	chk.take(0, value(0, 3)) // there, but never acknowledged
	l := &ledger{sent: 4}
	got := chk.finish([]*ledger{l})
	if got.Corrupt != 1 || got.Foreign != 2 || got.Unacknowledged != 1 || got.Lost != 0 {
		t.Errorf("%+v", got)
	}
}

// TestRecorderLosesNothing has the sampler exchange shards as fast as it can while a goroutine records: every sample is in exactly one
// of them. A shard that is handed over and still written into is found by the race detector.
func TestRecorderLosesNothing(t *testing.T) {
	const samples = 200_000
	o := &Options{Interval: time.Second, Rate: 1}
	r := &run{o: o, clock: clock{time.Now()}, stopped: newStopFlag()}
	r.window.end.Store(1 << 62)
	rec := newRecorder(&r.window, true)
	r.recorders = []*recorder{rec}
	s := r.startSampler(nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range int64(samples) {
			rec.ok(i, i+1, i+5000, 10)
		}
	})
	stop := make(chan struct{})
	go func() { wg.Wait(); close(stop) }()
	close(s.stop) // the sampler's own loop must not run beside ours
	s.done.Wait()
	for open := true; open; {
		select {
		case <-stop:
			open = false
		default:
			s.collect()
		}
	}
	s.stop = make(chan struct{})
	s.finish()
	if s.total.done != samples || s.total.response.TotalCount() != samples || s.total.service.TotalCount() != samples || s.total.bytes != 10*samples {
		t.Errorf("%d done, %d in the histogram, want %d", s.total.done, s.total.response.TotalCount(), samples)
	}
}

func TestWindowDecidesWhatCounts(t *testing.T) {
	var w window
	w.start.Store(100)
	w.end.Store(200)
	r := newRecorder(&w, false)
	r.ok(99, 99, 150, 1)                  // began in the warm-up
	r.ok(100, 100, 200, 1)                // within
	r.ok(199, 199, 201, 1)                // ended later: in the latencies, not in the throughput
	r.ok(150, 150, 150+2*histogramMax, 1) // beyond the histogram: counted, not dropped
	if s := r.cur.Load(); s.discard != 1 || s.done != 1 || s.late != 2 || s.response.TotalCount() != 3 || s.overflow != 1 {
		t.Errorf("%+v", *s)
	}
}

func TestRingHandsEverythingOver(t *testing.T) {
	const n = 100_000
	r := newRing[int](64)
	stop := make(chan struct{})
	var got []int
	var wg sync.WaitGroup
	wg.Go(func() {
		for len(got) < n {
			v, ok := r.wait(stop)
			if !ok {
				return
			}
			got = append(got, v)
		}
	})
	for i := 0; i < n; {
		if r.put(i) {
			i++
		}
	}
	wg.Wait()
	for i, v := range got {
		if i != v {
			t.Fatalf("item %d is %d", i, v)
		}
	}
	close(stop)
	if _, ok := r.wait(stop); ok {
		t.Error("an empty stopped ring gave an item")
	}
}

// benchRun runs the tool and returns its exit code and report.
func benchRun(t *testing.T, ctx context.Context, addrs []string, args ...string) (int, *Report, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	env := &cli.Env{In: strings.NewReader(""), Out: &out, Err: &errOut, Now: time.Now, Getenv: func(string) string { return "" }}
	all := append([]string{"--bootstrap-servers", strings.Join(addrs, ","), "-o", "json"}, args...)
	code := cli.Run(ctx, env, Tool, all)
	var rep Report
	if out.Len() > 0 {
		var doc struct {
			Kind    string `json:"kind"`
			Version int    `json:"version"`
		}
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil || doc.Kind != "BenchReport" || doc.Version != 1 {
			t.Fatalf("no document: %v\n%s", err, out.String())
		}
		if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
			t.Fatal(err)
		}
	}
	return code, &rep, errOut.String()
}

func newCluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cl, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// noLeftovers checks that the runs have removed their own topics.
func noLeftovers(t *testing.T, cl *kfake.Cluster) {
	t.Helper()
	c, err := metaclient.OpenTarget("chronik-bench", metaclient.Target{Bootstrap: cl.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names, err := c.TopicNames(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "chronik-bench-") {
			t.Errorf("topic %s was not removed", n)
		}
	}
}

// quick makes a run of about half a second.
var quick = []string{"--duration", "400ms", "--warmup", "100ms", "--interval", "100ms"}

func TestEveryModeAgainstABroker(t *testing.T) {
	cl := newCluster(t)
	cases := []struct {
		name string
		args []string
		want func(r *Report) bool
	}{
		{"the bare line", []string{"--acks", "all", "--concurrency", "128", "--verify"}, func(r *Report) bool {
			return r.Load.Model == modelClosed && r.Load.Concurrency == 128 && r.Load.MessageSize == 1024 && r.Integrity.Verified && r.Latency != nil
		}},
		{"keyed on many clients", []string{"--keyed", "--clients", "4", "--concurrency", "16", "--verify"}, func(r *Report) bool { return r.Integrity.Verified && r.Load.Clients == 4 }},
		{"not idempotent, compressed", []string{"--idempotence=false", "--compression", "lz4", "--payload", "json", "--verify"}, func(r *Report) bool { return !r.Load.Idempotent }},
		{"leader acks", []string{"--acks", "1", "--verify"}, func(r *Report) bool { return r.Load.Acks == "1" && !r.Load.Idempotent }},
		{"async", []string{"--async", "--verify", "--max-outstanding", "2000"}, func(r *Report) bool { return r.Load.Model == modelAsync }},
		{"open loop", []string{"--rate", "500", "--verify"}, func(r *Report) bool {
			return r.Load.Model == modelOpen && r.Service != nil && r.ScheduleLag != nil && r.Result.PerSecond < 650
		}},
		{"limited", []string{"--messages", "300", "--warmup", "0", "--verify"}, func(r *Report) bool { return r.Integrity.Read == 300 && r.Result.Records+r.Result.Late == 300 }},
		{"end to end", []string{"--mode", "e2e", "--rate", "500"}, func(r *Report) bool { return r.Acknowledge != nil && r.Integrity.Verified && r.Integrity.Lost == 0 }},
		{"end to end, closed", []string{"--mode", "e2e", "--concurrency", "4"}, func(r *Report) bool { return r.Integrity.Verified && r.ScheduleLag == nil }},
		{"consume", []string{"--mode", "consume", "--messages", "5000", "--warmup", "0", "--duration", "20s"}, func(r *Report) bool { return r.Integrity.Read >= 5000 }},
		{"metadata", []string{"--mode", "metadata", "--concurrency", "4"}, func(r *Report) bool {
			return len(r.Operations) == len(allOps) && r.Operations[0].Latency != nil && r.Rows[0].PerSecond > 0 && r.Rows[0].MiBPerS == 0
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			code, rep, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), append(append([]string(nil), quick...), c.args...)...)
			if code != 0 || rep.Result.Records == 0 || rep.Result.Failed > 0 || !c.want(rep) {
				t.Errorf("exit code %d, %+v, %s", code, rep, errOut)
			}
			if rep.Integrity.bad() {
				t.Errorf("%+v", rep.Integrity)
			}
			if rep.Environment.Cores == 0 || rep.Environment.Brokers != 1 || len(rep.Rows) == 0 || len(rep.Verdicts) < 2 {
				t.Errorf("incomplete report: %+v", rep)
			}
		})
	}
	noLeftovers(t, cl)
}

func TestTheSeedsLine(t *testing.T) {
	cl, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	args := strings.Fields("--topic perf --mode produce --concurrency 128 --message-size 1024 --duration 300ms --acks all --partitions 3 --replication-factor 3 --create-topic")
	for range 2 { // the second run finds the topic
		code, rep, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), args...)
		if code != 0 || rep.Load.Topic != "perf" || rep.Load.Partitions != 3 || rep.Load.Replicas != 3 || rep.Result.Records == 0 {
			t.Fatalf("exit code %d, %+v, %s", code, rep.Load, errOut)
		}
	}
	if cl.TopicInfo("perf") == nil {
		t.Error("a topic that was named must stay")
	}
}

// TestLostRecordsAreFound has the broker acknowledge one produce request without storing it.
func TestLostRecordsAreFound(t *testing.T) {
	cl := newCluster(t)
	requests := 0
	cl.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		if requests++; requests != 5 {
			return nil, nil, false
		}
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.BaseOffset = p.Partition, 1<<40
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	code, rep, _ := benchRun(t, t.Context(), cl.ListenAddrs(), append([]string{"--verify", "--idempotence=false", "--max-in-flight", "1", "--partitions", "1", "--concurrency", "4", "--messages", "200"}, quick...)...)
	if code != cli.ExitFailed || rep.Integrity.Lost == 0 {
		t.Errorf("exit code %d, %+v", code, rep.Integrity)
	}
	if rep.Result.Failed == 0 {
		t.Error("offsets that went back after the lie were not counted as failures")
	}
}

// refuse answers a produce request with an error for each partition.
func refuse(kreq kmsg.Request, code int16) kmsg.Response {
	req := kreq.(*kmsg.ProduceRequest)
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// TestFailuresAreCounted has the broker refuse some requests for good.
func TestFailuresAreCounted(t *testing.T) {
	cl := newCluster(t)
	requests := 0
	cl.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		if requests++; requests%3 != 0 {
			return nil, nil, false
		}
		return refuse(kreq, 44), nil, true // POLICY_VIOLATION
	})
	code, rep, _ := benchRun(t, t.Context(), cl.ListenAddrs(), append([]string{"--idempotence=false", "--concurrency", "4", "--partitions", "1", "--verify"}, quick...)...)
	if code != cli.ExitPartial || rep.Result.Failed == 0 || !strings.Contains(rep.Result.ErrorsText, "POLICY_VIOLATION") || rep.Integrity.bad() {
		t.Errorf("exit code %d, %+v, %+v", code, rep.Result, rep.Integrity)
	}
}

// A record that no broker takes is refused before the run, with the setting that forbids it; one that may compress is tried.
func TestTooLargeRecords(t *testing.T) {
	cl := newCluster(t, kfake.SeedTopics(1, "perf"))
	for _, c := range []struct{ args, says string }{
		{"--message-size 20MiB", "MESSAGE_TOO_LARGE): max.message.bytes of topic chronik-bench-"},
		{"--message-size 20MiB", "next: --topic-config max.message.bytes=20972605"},
		{"--message-size 20MiB --topic perf", "next: a smaller --message-size, or a topic with max.message.bytes of at least 20972605"},
		{"--message-size 3MiB --topic-config max.message.bytes=8000000 --topic-config segment.bytes=2000000", "MESSAGE_TOO_LARGE): segment.bytes of topic chronik-bench-"},
		{"--message-size 70MiB", "next: a smaller --message-size: Chronik takes batches of at most 67096468 bytes, whatever max.message.bytes is"},
		{"--message-size 20MiB --mode e2e", "MESSAGE_TOO_LARGE): max.message.bytes"},
		{"--message-size 20MiB --mode consume", "MESSAGE_TOO_LARGE): max.message.bytes"},
	} {
		begin := time.Now()
		code, _, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), append(strings.Fields(c.args), "--duration", "20s")...)
		if code != cli.ExitFailed || !strings.Contains(errOut, c.says) || time.Since(begin) > 15*time.Second {
			t.Errorf("%s: exit code %d, %q, want %q", c.args, code, errOut, c.says)
		}
	}
	noLeftovers(t, cl)
	args := strings.Fields("--message-size 2MiB --concurrency 1 --compression lz4 --topic perf --messages 1")
	cl.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		return refuse(kreq, 10), nil, true
	})
	code, rep, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), args...)
	if want := "(max.message.bytes of topic perf is 1048588)"; code != cli.ExitFailed || !strings.Contains(errOut, want) || !strings.Contains(rep.Result.ErrorsText, want) {
		t.Errorf("exit code %d, %q, %+v", code, errOut, rep.Result)
	}
	args = strings.Fields("--message-size 2MiB --concurrency 1 --compression lz4 --topic-config max.message.bytes=100000000 --messages 1")
	code, rep, errOut = benchRun(t, t.Context(), cl.ListenAddrs(), args...)
	if want := " is 100000000, but Chronik takes batches of at most 67096468 bytes)"; code != cli.ExitFailed || !strings.Contains(errOut, want) {
		t.Errorf("exit code %d, %q, %+v", code, errOut, rep.Result)
	}
	code, _, errOut = benchRun(t, t.Context(), cl.ListenAddrs(), strings.Fields("--message-size 20MiB --batch-bytes 1MiB")...)
	if code != cli.ExitUsage || !strings.Contains(errOut, "--batch-bytes 1048576: a record of --message-size 20971520 needs 20971776") {
		t.Errorf("exit code %d, %q", code, errOut)
	}
}

func TestInterruptStillReports(t *testing.T) {
	cl := newCluster(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(500*time.Millisecond, cancel)
	begin := time.Now()
	code, rep, errOut := benchRun(t, ctx, cl.ListenAddrs(), "--duration", "60s", "--warmup", "0", "--verify")
	if code != cli.ExitInterrupted || !rep.Interrupted || rep.Result.Records == 0 || !rep.Integrity.Verified {
		t.Errorf("exit code %d, %+v, %s", code, rep.Result, errOut)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
	noLeftovers(t, cl)
}

// Ctrl-C does not wait for ever for a broker that is silent.
func TestInterruptWhileNobodyAnswers(t *testing.T) {
	cl := newCluster(t)
	release := make(chan struct{})
	cl.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cl.KeepControl()
		cl.SleepControl(func() { <-release })
		return nil, nil, false
	})
	defer close(release)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(500*time.Millisecond, cancel)
	begin := time.Now()
	code, rep, errOut := benchRun(t, ctx, cl.ListenAddrs(), "--duration", "60s", "--warmup", "0", "--verify")
	if code != cli.ExitInterrupted || !rep.Interrupted || rep.Result.Failed == 0 || rep.Integrity.Verified || !strings.Contains(errOut, "Ctrl-C again ends at once") {
		t.Errorf("exit code %d, %+v, %s", code, rep.Result, errOut)
	}
	if took := time.Since(begin); took > giveUp+10*time.Second {
		t.Errorf("took %s", took)
	}
	noLeftovers(t, cl)
}

// What was measured is told although it cannot be read back.
func TestReportWithoutReadingBack(t *testing.T) {
	cl := newCluster(t)
	cl.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { // the load has begun: the end offsets that are asked for now are those to read to
		cl.ControlKey(int16(kmsg.ListOffsets), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			cl.KeepControl()
			resp := kreq.ResponseKind().(*kmsg.ListOffsetsResponse)
			for _, t := range kreq.(*kmsg.ListOffsetsRequest).Topics {
				rt := kmsg.NewListOffsetsResponseTopic()
				rt.Topic = t.Topic
				for _, p := range t.Partitions {
					rp := kmsg.NewListOffsetsResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, 29 // TOPIC_AUTHORIZATION_FAILED
					rt.Partitions = append(rt.Partitions, rp)
				}
				resp.Topics = append(resp.Topics, rt)
			}
			return resp, nil, true
		})
		return nil, nil, false
	})
	code, rep, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), append([]string{"--verify"}, quick...)...)
	last := Verdict{}
	if n := len(rep.Verdicts); n > 0 {
		last = rep.Verdicts[n-1]
	}
	if code != cli.ExitDenied || rep.Result.Records == 0 || !last.Bad || !strings.Contains(last.Text, "NOT READ BACK") || !strings.Contains(errOut, "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("exit code %d, %+v, %+v, %s", code, rep.Result, rep.Verdicts, errOut)
	}
}

func TestNothingMeasuredSaysWhy(t *testing.T) {
	cl := newCluster(t)
	if code, rep, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), "--messages", "10"); code != 0 || rep.Result.Records != 10 {
		t.Errorf("a few messages: exit code %d, %+v, %s", code, rep.Result, errOut)
	}
	code, _, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), "--messages", "10", "--warmup", "5s")
	if code != cli.ExitFailed || !strings.Contains(errOut, "everything was in the warm-up") || !strings.Contains(errOut, "--warmup 0") {
		t.Errorf("exit code %d, %q", code, errOut)
	}
	cl.ControlKey(int16(kmsg.CreateTopics), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.ErrorCode, rt.ErrorMessage = kreq.(*kmsg.CreateTopicsRequest).Topics[0].Topic, 37, kmsg.StringPtr("100000 partitions are more than 10000")
		resp := kreq.ResponseKind().(*kmsg.CreateTopicsResponse)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	code, _, errOut = benchRun(t, t.Context(), cl.ListenAddrs(), "--partitions", "100000")
	if code != cli.ExitFailed || !strings.Contains(errOut, "INVALID_PARTITIONS (100000 partitions are more than 10000)") {
		t.Errorf("the broker's own words are missing: exit code %d, %q", code, errOut)
	}
}

func TestContradictionsAreRefused(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--mode prodce", "--mode produce"},
		{"--async --rate 5", "exclude"},
		{"--rate 5 --concurrency 8", "closed loop"},
		{"--clients 9 --concurrency 3", "nothing to do"},
		{"--message-size 10", "at least 40"},
		{"--acks 2", "must be all, 1 or 0"},
		{"--acks 1 --idempotence", "needs --acks all"},
		{"--max-in-flight 9", "needs --idempotence=false"},
		{"--compression brotli", "must be none"},
		{"--mode metadata --ops creat", "must be of"},
		{"--mode e2e --async", "latency"},
		{"--payload x", "random or json"},
		{"--partitions 0", "must be from 1"},
		{"--duration 0s", "--duration"},
		{"extra", "unknown command"},
		{"produce", "next: chronik-bench --mode produce"},
		{"--duration 5", "did you mean 5s?"},
		{"--topc x", "did you mean --topic"},
	} {
		code, _, errOut := benchRun(t, t.Context(), []string{"127.0.0.1:1"}, strings.Fields(c.args)...)
		if code != cli.ExitUsage || !strings.Contains(errOut, c.says) {
			t.Errorf("%s: exit code %d, %q, want %q", c.args, code, errOut, c.says)
		}
	}
}

func TestMissingTopicSaysWhatToDo(t *testing.T) {
	cl := newCluster(t, kfake.SeedTopics(1, "perf"))
	code, _, errOut := benchRun(t, t.Context(), cl.ListenAddrs(), "--topic", "prf")
	if code != cli.ExitFailed || !strings.Contains(errOut, "did you mean perf?") || !strings.Contains(errOut, "--create-topic") {
		t.Errorf("exit code %d, %q", code, errOut)
	}
}

func TestVerdicts(t *testing.T) {
	rows := func(rates ...float64) (out []Row) {
		for i, r := range rates {
			out = append(out, Row{Phase: phaseMeasured, EndS: float64(i + 1), PerSecond: r})
		}
		return out
	}
	for _, c := range []struct {
		name string
		rows []Row
		bad  bool
	}{{"flat", rows(1, 100, 101, 99, 100, 102, 98, 100), false}, {"falling", rows(1, 100, 95, 90, 60, 55, 50, 45), true}, {"short", rows(1, 2), false}} {
		if v := (&Report{Rows: c.rows}).steadiness(); v.Bad != c.bad {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	if v := (&Report{Usage: usageBetween{ClientCores: 1.9, Cores: 2, MachineCores: 2}}).saturation(); !v.Bad || !strings.Contains(v.Text, "SATURATED CLIENT") {
		t.Errorf("%+v", v)
	}
	if v := (&Report{Usage: usageBetween{ClientCores: 0.5, Cores: 2, MachineCores: 1}}).saturation(); v.Bad {
		t.Errorf("%+v", v)
	}
	late := &Report{Usage: usageBetween{ClientCores: 0.1, Cores: 2}, Latency: &Latency{}, Service: &Latency{P99Ms: 2}, ScheduleLag: &Latency{P99Ms: 50}}
	if v := late.saturation(); !v.Bad {
		t.Errorf("%+v", v)
	}
}

func TestTextReport(t *testing.T) {
	rep := &Report{Load: Load{Model: modelClosed, Mode: modeProduce, Concurrency: 128, Clients: 1, Topic: "perf", Partitions: 3, Replicas: 3, MessageSize: 1024, Acks: "all", Idempotent: true, Compression: "none"},
		Result: Result{Seconds: 30, Records: 3_000_000, PerSecond: 100_000, MiBPerS: 97.6, Discarded: 12, Failed: 2, ErrorsText: "REQUEST_TIMED_OUT ×2"}, Latency: &Latency{P50Ms: 1.2, P99Ms: 3.4},
		Integrity: Integrity{Verified: true, Read: 5, Lost: 1}}
	rep.conclude(&Options{Mode: modeProduce})
	var b bytes.Buffer
	if err := rep.writeText(&b, cli.Style{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"closed loop: 128 records outstanding, 1 client", "100,000 records/s", "p99 3.40ms", "12 of the warm-up discarded", "REQUEST_TIMED_OUT ×2", "RECORDS DAMAGED: lost 1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
