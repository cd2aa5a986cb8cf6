package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
)

// Modes of a run.
const (
	modeProduce  = "produce"
	modeConsume  = "consume"
	modeEndToEnd = "e2e"
	modeMetadata = "metadata"
)

var modes = []string{modeProduce, modeConsume, modeEndToEnd, modeMetadata}

// Kinds of filler.
const (
	payloadRandom = "random"
	payloadJSON   = "json"
)

// batchRoom is how much larger than a value the largest batch must be at least: its header, a key, and what the record adds.
const batchRoom = 256

// maxRequest is what a client writes at once, as long as its batches do not need more.
const maxRequest = 100 << 20

// Load models.
const (
	modelClosed = "closed"
	modelOpen   = "open"
	modelAsync  = "async"
)

// Options are the flags of a run.
type Options struct {
	Mode        string
	Topic       string
	CreateTopic bool
	KeepTopic   bool
	Partitions  int32
	Replication int16
	TopicConfig []string

	Duration    time.Duration
	Warmup      time.Duration
	Messages    int64
	Interval    time.Duration
	Concurrency int
	Clients     int
	Rate        float64
	Async       bool
	Outstanding int

	size        sizeFlag
	batch       sizeFlag
	Acks        string
	Idempotence bool
	InFlight    int
	Compression string
	Linger      time.Duration
	Keyed       bool
	Keys        int
	Payload     string
	Verify      bool
	Ops         []string

	given map[string]bool // flags that were typed
	out   cli.Output
}

// sizeFlag is a number of bytes such as 1024 or 1KiB.
type sizeFlag int64

func (s *sizeFlag) String() string { return fmt.Sprint(int64(*s)) }

// Type names the value in help.
func (s *sizeFlag) Type() string { return "size" }

// Set reads the value.
func (s *sizeFlag) Set(v string) error {
	n, err := cli.ParseBytes(v)
	*s = sizeFlag(n)
	return err
}

func (o *Options) register(f *pflag.FlagSet) {
	o.size, o.batch = 1024, 1_000_000
	f.StringVar(&o.Mode, "mode", modeProduce, "produce, consume, e2e (produce to consume) or metadata (topics and settings)")
	f.StringVar(&o.Topic, "topic", "", "use this topic; without it the run creates a topic of its own and removes it")
	f.BoolVar(&o.CreateTopic, "create-topic", false, "create --topic when it does not exist")
	f.BoolVar(&o.KeepTopic, "keep-topic", false, "do not remove the run's own topic")
	f.Int32Var(&o.Partitions, "partitions", 12, "partitions of a created topic")
	f.Int16Var(&o.Replication, "replication-factor", -1, "replicas of a created topic; -1 for the cluster's default")
	f.StringArrayVar(&o.TopicConfig, "topic-config", nil, "setting of a created topic, `key=value`")

	f.DurationVar(&o.Duration, "duration", 30*time.Second, "measure for this long")
	f.DurationVar(&o.Warmup, "warmup", -1, "discard what starts in this time before (default a tenth of --duration, at most 3s; none with --messages)")
	f.Int64Var(&o.Messages, "messages", 0, "stop after this many records; in mode consume: how many to read (written first into the run's own topic)")
	f.DurationVar(&o.Interval, "interval", time.Second, "length of a row of the interval table")
	f.IntVar(&o.Concurrency, "concurrency", 128, "closed loop: this many records (or requests) outstanding")
	f.IntVar(&o.Clients, "clients", 0, "this many clients with connections of their own; 0 for 1 (mode metadata: one for each request outstanding, at most 64)")
	f.Float64Var(&o.Rate, "rate", 0, "open loop: this many records per second, latency from the intended start")
	f.BoolVar(&o.Async, "async", false, "no limit but the client's buffer: the highest throughput, latency means little")
	f.IntVar(&o.Outstanding, "max-outstanding", 0, "open loop and async: records outstanding at most; 0 for 64 MiB worth, at least 1,000")

	f.Var(&o.size, "message-size", "bytes of a record's value")
	f.StringVar(&o.Acks, "acks", "all", "all, 1 or 0")
	f.BoolVar(&o.Idempotence, "idempotence", true, "idempotent producer (with --acks all)")
	f.IntVar(&o.InFlight, "max-in-flight", 5, "produce requests in flight per broker without idempotence")
	f.StringVar(&o.Compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	f.DurationVar(&o.Linger, "linger", -1, "wait for fuller batches (default 0s, with --async 10ms)")
	f.Var(&o.batch, "batch-bytes", "largest batch; without it, as large as a record needs at least")
	f.BoolVar(&o.Keyed, "keyed", false, "records have keys, which choose the partition")
	f.IntVar(&o.Keys, "keys", 10_000, "how many different keys")
	f.StringVar(&o.Payload, "payload", payloadRandom, "filler: random (does not compress) or json (does)")
	f.BoolVar(&o.Verify, "verify", false, "read everything back: lost, duplicated, reordered or corrupt records make exit code 1")
	for _, name := range []string{"warmup", "linger"} {
		f.Lookup(name).DefValue = "0s" // the help says what it is: the value stands for "not given"
	}
	f.StringSliceVar(&o.Ops, "ops", []string{opCreate, opVisible, opMetadata, opAlter, opCommit, opDelete}, "mode metadata: what each round does")
}

// model is the load model of the run.
func (o *Options) model() string {
	switch {
	case o.Async:
		return modelAsync
	case o.Rate > 0:
		return modelOpen
	}
	return modelClosed
}

// complete fills in what depends on other options, and refuses what contradicts.
func (o *Options) complete() error {
	if !slices.Contains(modes, o.Mode) {
		e := cli.Usagef("--mode %s: must be produce, consume, e2e or metadata", o.Mode)
		if s := cli.Nearest(o.Mode, modes); s != "" {
			return e.WithNext("--mode %s", s)
		}
		return e
	}
	if o.Async && o.Rate > 0 {
		return cli.Usagef("--async and --rate exclude each other: a rate is an open loop")
	}
	if o.model() != modelClosed && o.given["concurrency"] {
		return cli.Usagef("--concurrency is a closed loop; it does not go with --rate or --async").WithNext("--max-outstanding bounds those")
	}
	if o.Mode == modeEndToEnd && !o.given["rate"] && !o.given["concurrency"] && !o.Async {
		o.Rate = 5000
	}
	if o.Mode == modeEndToEnd && o.Async {
		return cli.Usagef("--mode e2e measures latency; it does not go with --async")
	}
	for _, n := range []struct {
		flag string
		v    int64
		max  int64
	}{{"partitions", int64(o.Partitions), 100_000}, {"concurrency", int64(o.Concurrency), 1_000_000}, {"keys", int64(o.Keys), 10_000_000},
		{"batch-bytes", int64(o.batch), 1 << 30}, {"max-in-flight", int64(o.InFlight), 1000}, {"message-size", int64(o.size), 256 << 20}} {
		if n.v < 1 || n.v > n.max {
			return cli.Usagef("--%s %d: must be from 1 to %d", n.flag, n.v, n.max)
		}
	}
	if int64(o.size) < headerSize {
		return cli.Usagef("--message-size %d: must be at least %d, the size of the header that makes losses visible", o.size, headerSize)
	}
	if need := int64(o.size) + batchRoom; int64(o.batch) < need {
		if o.given["batch-bytes"] {
			return cli.Usagef("--batch-bytes %d: a record of --message-size %d needs %d", o.batch, o.size, need)
		}
		o.batch = sizeFlag(need)
	}
	if o.Duration <= 0 || o.Interval < 100*time.Millisecond || o.Rate < 0 || o.Messages < 0 || o.Clients < 0 || o.Outstanding < 0 {
		return cli.Usagef("--duration must be above 0, --interval at least 100ms, numbers not negative")
	}
	return o.completeLoad()
}

func (o *Options) completeLoad() error {
	if o.Warmup < 0 {
		o.Warmup = min(o.Duration/10, 3*time.Second)
		if o.Messages > 0 { // they may all be over by then
			o.Warmup = 0
		}
	}
	if o.Clients == 0 {
		o.Clients = 1
		if o.Mode == modeMetadata {
			o.Clients = min(o.Concurrency, 64)
		}
	}
	if o.model() == modelClosed && o.Clients > o.Concurrency {
		return cli.Usagef("--clients %d with --concurrency %d: some clients would have nothing to do", o.Clients, o.Concurrency)
	}
	if o.Linger < 0 {
		o.Linger = 0
		if o.Async {
			o.Linger = 10 * time.Millisecond
		}
	}
	if o.Outstanding == 0 {
		o.Outstanding = max(1000, int((64<<20)/int64(o.size)))
		o.Outstanding = min(o.Outstanding, 200_000)
	}
	o.Outstanding = max(o.Outstanding, o.Clients)
	if o.Payload != payloadRandom && o.Payload != payloadJSON {
		return cli.Usagef("--payload %s: must be random or json", o.Payload)
	}
	if o.Mode == modeMetadata {
		for _, op := range o.Ops {
			if !slices.Contains(allOps, op) {
				return cli.Usagef("--ops %s: must be of %s", op, strings.Join(allOps, ", "))
			}
		}
		if len(o.Ops) == 0 {
			return cli.Usagef("--ops: name at least one of %s", strings.Join(allOps, ", "))
		}
	}
	_, err := o.producerOptions()
	return err
}

// idempotent says whether producers are.
func (o *Options) idempotent() bool { return o.Idempotence && o.Acks == "all" }

// producerOptions are the options of each producing client.
func (o *Options) producerOptions() ([]kgo.Opt, error) {
	switch o.Acks {
	case "-1":
		o.Acks = "all"
	case "leader":
		o.Acks = "1"
	}
	acks := map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	a, ok := acks[o.Acks]
	if !ok {
		return nil, cli.Usagef("--acks %s: must be all, 1 or 0", o.Acks)
	}
	codec, ok := codecs[o.Compression]
	if !ok {
		return nil, cli.Usagef("--compression %s: must be none, gzip, snappy, lz4 or zstd", o.Compression)
	}
	if o.Idempotence && o.given["idempotence"] && o.Acks != "all" {
		return nil, cli.Usagef("--idempotence needs --acks all")
	}
	if o.idempotent() && o.given["max-in-flight"] {
		return nil, cli.Usagef("--max-in-flight needs --idempotence=false: an idempotent producer always has up to 5")
	}
	opts := []kgo.Opt{
		kgo.RequiredAcks(a), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(o.Linger), kgo.ProducerBatchMaxBytes(int32(o.batch)),
		kgo.BrokerMaxWriteBytes(int32(max(maxRequest, int64(o.batch)+1<<20))),
		kgo.MaxBufferedRecords(2*max(o.Concurrency, o.Outstanding) + 1000), kgo.RecordDeliveryTimeout(30 * time.Second),
	}
	if !o.idempotent() {
		opts = append(opts, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(o.InFlight))
	}
	return opts, nil
}
