package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// maxRecordErrors bounds how many failed records are named on standard error.
const maxRecordErrors = 10

type produceOptions struct {
	out         cli.Output
	format      string
	key         string
	headers     []string
	partition   int32
	acks        string
	compression string
	tombstone   bool
	create      bool
}

// textFormat is the output format of produce and consume when nothing structured was asked for.
const textFormat cli.Format = "text"

func produceCommand(app *cli.App) *cobra.Command {
	o := produceOptions{out: cli.Output{Formats: []cli.Format{textFormat, cli.JSON, cli.JSONL}}}
	cmd := &cobra.Command{
		Use: "produce TOPIC", Short: "Write records from standard input",
		Long: `Write records from standard input, by default one per line.

The format says how input becomes records: %v value, %k key, %t topic, %p partition, %h headers, %d timestamp (ms),
%K %V %T sizes before what they size, and text between them as delimiters. All verbs: pkg.go.dev/github.com/twmb/franz-go/pkg/kgo#NewRecordReader
Exit code 0 means that every record was acknowledged.`,
		Example: `  echo hello | chronikctl produce orders
  chronikctl produce orders -f '%k=%v\n' < pairs.txt
  chronikctl produce orders -k customer-7 -H trace=abc -o json < order.json -f '%v'
  chronikctl produce -f '%t %v\n' < mixed.txt`,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: completeFirst(completeTopics(app)),
		RunE: func(cmd *cobra.Command, args []string) error {
			topic := ""
			if len(args) == 1 {
				topic = topicNames(args)[0]
			}
			return runProduce(cmd.Context(), app, &o, topic)
		},
	}
	o.out.Register(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.format, "format", "f", `%v\n`, "how input becomes records")
	f.StringVarP(&o.key, "key", "k", "", "key of every record, when the format has none")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "header of every record, `key=value`; may be given again")
	f.Int32VarP(&o.partition, "partition", "p", -1, "write to this partition; -1 lets the key decide")
	f.StringVar(&o.acks, "acks", "all", "wait for `who`: all, 1 (the leader) or 0 (nobody)")
	f.StringVarP(&o.compression, "compression", "z", "none", "`codec`: none, gzip, snappy, lz4 or zstd")
	f.BoolVarP(&o.tombstone, "tombstone", "Z", false, "an empty value becomes null, which deletes the key in a compacted topic")
	f.BoolVar(&o.create, "create", false, "let the cluster create a missing topic")
	return cmd
}

// completeFirst completes the first argument only.
func completeFirst(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, prefix)
	}
}

func runProduce(ctx context.Context, app *cli.App, o *produceOptions, topic string) error {
	if topic == "" && !strings.Contains(o.format, "%t") {
		return cli.Usagef("no topic: give one, or a format with %%t").WithNext("chronikctl produce TOPIC")
	}
	in := app.In
	if strings.HasSuffix(o.format, `\n`) || strings.HasSuffix(o.format, "\n") {
		in = &endedLines{r: in}
	}
	reader, err := kgo.NewRecordReader(in, o.format)
	if err != nil {
		return cli.Usagef("-f %q: %v", o.format, err)
	}
	headers, err := parseHeaders(o.headers)
	if err != nil {
		return err
	}
	opts, err := producerOptions(o)
	if err != nil {
		return err
	}
	c, err := metaclient.Connect(ctx, app, opts...)
	if err != nil {
		return err
	}
	defer c.Close()
	if topic != "" && !o.create {
		tctx, cancel := app.WithTimeout(ctx)
		_, err := c.RequireTopics(tctx, topic)
		cancel()
		if err != nil {
			return createHint(err, topic)
		}
	}
	if app.InTTY {
		app.Hintf("reading records from the terminal; Ctrl-D ends")
	}
	p := &producing{app: app, topic: topic, stream: listStream{w: app.Out, kind: "ProduceResult", jsonl: o.out.Format == cli.JSONL}, structured: o.out.Format != textFormat}
	return p.run(ctx, c.Kafka(), reader, o, headers)
}

func createHint(err error, topic string) error {
	var e *cli.Error
	if errors.As(err, &e) && e.Code == cli.ExitFailed && e.Next == "" {
		return e.WithNext("chronikctl topic create %s   (or produce with --create)", topic)
	}
	return err
}

func producerOptions(o *produceOptions) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.RecordDeliveryTimeout(30 * time.Second), kgo.ProducerBatchMaxBytes(1 << 20)}
	switch o.acks {
	case "all", "-1":
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "1", "leader":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0", "none":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, cli.Usagef("--acks %s: must be all, 1 or 0", o.acks)
	}
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	codec, ok := codecs[o.compression]
	if !ok {
		return nil, cli.Usagef("--compression %s: must be none, gzip, snappy, lz4 or zstd", o.compression)
	}
	opts = append(opts, kgo.ProducerBatchCompression(codec))
	if o.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	if o.create {
		opts = append(opts, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(10))
	}
	return opts, nil
}

func parseHeaders(pairs []string) ([]kgo.RecordHeader, error) {
	var out []kgo.RecordHeader
	for _, kv := range pairs {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, cli.Usagef("-H %s: must be key=value", kv)
		}
		out = append(out, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	return out, nil
}

// endedLines gives a last line without a newline the newline that the format expects.
type endedLines struct {
	r     io.Reader
	last  byte
	any   bool
	ended bool
}

func (e *endedLines) Read(b []byte) (int, error) {
	if e.ended {
		return 0, io.EOF
	}
	n, err := e.r.Read(b)
	if n > 0 {
		e.any, e.last = true, b[n-1]
	}
	if errors.Is(err, io.EOF) {
		if n > 0 {
			return n, nil // the end is told at the next call
		}
		e.ended = true
		if e.any && e.last != '\n' && len(b) > 0 {
			b[0] = '\n'
			return 1, nil
		}
	}
	return n, err
}

// producing is one run of produce. Acknowledgements meet behind mu.
type producing struct {
	app        *cli.App
	topic      string
	structured bool

	mu     sync.Mutex
	stream listStream
	acked  int64
	failed int64
	code   int
	outErr error
}

type produceRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Error     string `json:"error,omitempty"`
}

func (p *producing) run(ctx context.Context, kc *kgo.Client, reader *kgo.RecordReader, o *produceOptions, headers []kgo.RecordHeader) error {
	records := make(chan *kgo.Record)
	readErr := make(chan error, 1)
	go func() { // reading a terminal cannot be interrupted; the process ends without this goroutine
		defer close(records)
		for {
			r, err := reader.ReadRecord()
			if err != nil {
				if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					readErr <- err
				}
				return
			}
			select {
			case records <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	progress := p.app.NewProgress()
	for open := true; open; {
		select {
		case <-ctx.Done():
			open = false
		case r, ok := <-records:
			if open = ok; ok {
				p.fill(r, o, headers)
				kc.Produce(ctx, r, p.done)
				p.mu.Lock()
				acked := p.acked
				p.mu.Unlock()
				progress.Set("%s", counted(acked, "record"))
			}
		}
	}
	err := kc.Flush(ctx)
	progress.Clear()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.structured {
		if cerr := p.stream.Close(); p.outErr == nil {
			p.outErr = cerr
		}
	}
	select {
	case rerr := <-readErr:
		return cli.Failf("read record %d: input does not fit the format: %v", p.acked+p.failed+1, rerr)
	default:
	}
	return p.verdict(err)
}

func (p *producing) fill(r *kgo.Record, o *produceOptions, headers []kgo.RecordHeader) {
	if r.Topic == "" {
		r.Topic = p.topic
	}
	if r.Key == nil && o.key != "" {
		r.Key = []byte(o.key)
	}
	if o.partition >= 0 {
		r.Partition = o.partition
	}
	if o.tombstone && len(r.Value) == 0 {
		r.Value = nil
	}
	r.Headers = append(r.Headers, headers...)
}

// done takes one acknowledgement.
func (p *producing) done(r *kgo.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	row := produceRow{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
	if err == nil {
		p.acked++
	} else {
		p.failed++
		p.code = metaclient.Code(err)
		row.Offset, row.Error = -1, metaclient.Cause(err)
		if p.failed <= maxRecordErrors && !p.structured {
			fmt.Fprintf(p.app.Err, "record to %s not written: %s\n", r.Topic, recordCause(err))
		}
	}
	if p.structured && p.outErr == nil {
		p.outErr = p.stream.Item(row)
	}
}

func recordCause(err error) string {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return "the topic does not exist (produce with --create, or chronikctl topic create)"
	}
	return metaclient.Cause(err)
}

// verdict runs with mu held.
func (p *producing) verdict(flushErr error) error {
	switch {
	case p.outErr != nil:
		return fmt.Errorf("write output: %w", p.outErr)
	case p.failed > 0 && p.acked > 0:
		return &cli.Error{Code: cli.ExitPartial, What: fmt.Sprintf("%d of %d records were not written", p.failed, p.failed+p.acked)}
	case p.failed > 0:
		return &cli.Error{Code: p.code, What: fmt.Sprintf("no record was written (%d failed)", p.failed)}
	case flushErr != nil:
		return metaclient.Explain("write records", flushErr)
	}
	if p.topic != "" && p.app.ErrTTY {
		p.app.Hintf("%s to %s", counted(p.acked, "record"), p.topic)
	}
	return nil
}
