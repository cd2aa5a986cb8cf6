package ctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

type consumeOptions struct {
	output     cli.Output
	offset     string
	format     string
	partitions []int32
	limit      int64
	group      string
}

func consumeCommand(app *cli.App) *cobra.Command {
	o := consumeOptions{output: cli.Output{Formats: []cli.Format{textFormat, cli.JSON, cli.JSONL}, Format: textFormat}, offset: "start"}
	cmd := &cobra.Command{
		Use: "consume TOPIC...", Short: "Read records",
		Long: `Read records, by default all from the start, and then wait for more.

Offsets: ` + metaclient.RangeHelp + `

The format says how a record is printed: %t topic, %p partition, %o offset, %k key, %v value, %d timestamp, %h{%k=%v } headers.
All verbs: pkg.go.dev/github.com/twmb/franz-go/pkg/kgo#NewRecordFormatter`,
		Example: `  chronikctl consume orders
  chronikctl consume orders -n 10 -f '%t %p %o %k %v\n'
  chronikctl consume orders -o :end -o json
  chronikctl consume orders -o @-1h:
  chronikctl consume orders -p 0 -o -5:end
  chronikctl consume orders -g billing`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: completeTopics(app),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConsume(cmd.Context(), app, &o, topicNames(args))
		},
	}
	f := cmd.Flags()
	f.VarP(offsetOrFormat{&o}, "offset", "o", "where to begin and end; json, jsonl or text is taken as --output")
	f.Var(&o.output, "output", "output `format`: text|json|jsonl")
	f.StringVarP(&o.format, "format", "f", `%v\n`, "how a record is printed as text")
	f.Int32SliceVarP(&o.partitions, "partition", "p", nil, "only these partitions")
	f.Int64VarP(&o.limit, "num", "n", 0, "stop after this many records")
	f.StringVarP(&o.group, "group", "g", "", "read as a member of this group, and commit what was printed")
	_ = cmd.RegisterFlagCompletionFunc("offset", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"start", "end", ":end", "@-1h:", "json", "jsonl"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
	_ = cmd.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"text", "json", "jsonl"}, cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

// offsetOrFormat lets -o mean an offset range, as in every Kafka tool, and an output format, as in every other command here:
// no format's name is an offset.
type offsetOrFormat struct{ o *consumeOptions }

func (v offsetOrFormat) String() string {
	if v.o == nil {
		return ""
	}
	return v.o.offset
}

func (v offsetOrFormat) Type() string { return "range" }

func (v offsetOrFormat) Set(s string) error {
	if slices.Contains(v.o.output.Formats, cli.Format(s)) {
		return v.o.output.Set(s)
	}
	for _, f := range cli.AllFormats {
		if s == string(f) {
			return v.o.output.Set(s)
		}
	}
	v.o.offset = s
	return nil
}

func runConsume(ctx context.Context, app *cli.App, o *consumeOptions, topics []string) error {
	rng, err := metaclient.ParseRange(o.offset, app.Now())
	if err != nil {
		return err
	}
	printer, err := newRecordPrinter(app.Out, o.output.Format, o.format)
	if err != nil {
		return err
	}
	if o.limit < 0 {
		return cli.Usagef("-n %d: must not be negative", o.limit)
	}
	if o.group != "" && (rng.Bounded || len(o.partitions) > 0) {
		return cli.Usagef("--group cannot be combined with --partition or an end offset: the group decides where it reads")
	}
	c, err := metaclient.Connect(ctx, app)
	if err != nil {
		return err
	}
	defer c.Close()
	tctx, cancel := app.WithTimeout(ctx)
	defer cancel()
	if _, err := c.RequireTopics(tctx, topics...); err != nil {
		return err
	}
	run := &consuming{app: app, o: o, printer: printer, progress: app.NewProgress(), cluster: c, unreadable: map[partitionID]time.Time{}, next: map[partitionID]int64{}}
	if o.group != "" {
		err = run.asGroup(ctx, c, topics)
	} else {
		spans, rerr := c.Resolve(tctx, rng, topics...)
		if rerr != nil {
			return rerr
		}
		err = run.partitions(ctx, c, spans)
	}
	run.progress.Clear()
	if cerr := printer.Close(); err == nil {
		err = cerr
	}
	return err
}

// consuming is one run of consume.
type consuming struct {
	app      *cli.App
	o        *consumeOptions
	printer  *recordPrinter
	progress *cli.Progress
	printed  int64
	kafka    *kgo.Client
	open     map[string]map[int32]int64 // end offsets still to be reached
	bounded  bool
	lastErr  string // told last of a fetch, not to be repeated

	cluster    *metaclient.Client
	unreadable map[partitionID]time.Time // since when a partition's leader answers with a storage error
	next       map[partitionID]int64     // the offset after the last record that came
}

func (r *consuming) full() bool { return r.o.limit > 0 && r.printed >= r.o.limit }

// partitions reads the spans until all are read, the limit is reached or the user has had enough.
func (r *consuming) partitions(ctx context.Context, c *metaclient.Client, spans map[string]map[int32]metaclient.Span) error {
	assigned := map[string]map[int32]kgo.Offset{}
	r.open = map[string]map[int32]int64{}
	wanted := map[int32]bool{}
	for t, parts := range spans {
		assigned[t], r.open[t] = map[int32]kgo.Offset{}, map[int32]int64{}
		for p, span := range parts {
			if len(r.o.partitions) > 0 && !slices.Contains(r.o.partitions, p) {
				continue
			}
			wanted[p] = true
			if r.bounded = r.bounded || span.End >= 0; span.End >= 0 && span.Start >= span.End {
				continue
			}
			assigned[t][p] = kgo.NewOffset().At(span.Start)
			if span.End >= 0 {
				r.open[t][p] = span.End
			}
		}
	}
	for _, p := range r.o.partitions {
		if !wanted[p] {
			return cli.Failf("partition %d does not exist in %s", p, strings.Join(sortedTopics(spans), ", "))
		}
	}
	if r.done() {
		return nil
	}
	kc, err := c.With(kgo.ConsumePartitions(assigned), kgo.KeepControlRecords(), kgo.FetchMaxWait(500*time.Millisecond), kgo.KeepRetryableFetchErrors())
	if err != nil {
		return err
	}
	defer kc.Close()
	r.kafka = kc
	return r.poll(ctx, nil)
}

func sortedTopics[V any](m map[string]V) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// done says whether every bounded partition was read to its end.
func (r *consuming) done() bool {
	if !r.bounded {
		return false
	}
	for _, parts := range r.open {
		if len(parts) > 0 {
			return false
		}
	}
	return true
}

func (r *consuming) asGroup(ctx context.Context, c *metaclient.Client, topics []string) error {
	reset := kgo.NewOffset().AtStart()
	switch r.o.offset {
	case "start":
	case "end":
		reset = kgo.NewOffset().AtEnd()
	default:
		return cli.Usagef("with --group, -o is start or end: where the group begins when it has no offset")
	}
	kc, err := c.With(kgo.ConsumerGroup(r.o.group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(reset),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxWait(500*time.Millisecond), kgo.KeepRetryableFetchErrors())
	if err != nil {
		return err
	}
	defer kc.CloseAllowingRebalance()
	r.kafka = kc
	commit := func(records []*kgo.Record) error {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.app.Timeout)
		defer cancel()
		defer kc.AllowRebalance()
		if err := kc.CommitRecords(cctx, records...); err != nil {
			return metaclient.Explain("commit offsets of group "+r.o.group, err)
		}
		return nil
	}
	return r.poll(ctx, commit)
}

// poll prints until done; commit, where there is one, gets what was printed.
func (r *consuming) poll(ctx context.Context, commit func([]*kgo.Record) error) error {
	for {
		fetches := r.kafka.PollRecords(ctx, 10_000)
		fatal := r.fetchErrors(ctx, fetches.Errors())
		var printed []*kgo.Record
		for it := fetches.RecordIter(); !it.Done() && !r.full(); {
			rec := it.Next()
			ok, err := r.take(rec)
			if err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			if ok {
				printed = append(printed, rec)
			}
		}
		if err := r.printer.Flush(); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		if commit != nil {
			if err := commit(printed); err != nil {
				return err
			}
		}
		if r.full() || r.done() {
			return nil
		}
		if fatal != nil { // after what came with it
			return fatal
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !r.app.OutTTY {
			r.progress.Set("%s", counted(r.printed, "record"))
		}
	}
}

// fetchErrors returns an error that ends the run, and tells of those that may pass.
func (r *consuming) fetchErrors(ctx context.Context, errs []kgo.FetchError) error {
	for _, fe := range errs {
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(fe.Err, kerr.KafkaStorageError) && r.stays(ctx, fe.Topic, fe.Partition):
			return r.storageError(fe)
		case fatalFetch(fe.Err):
			return metaclient.Explain(fmt.Sprintf("read %s-%d", fe.Topic, fe.Partition), fe.Err)
		}
		if s := metaclient.Cause(fe.Err); s != r.lastErr {
			r.lastErr = s
			r.app.Hintf("reading %s-%d: %s; trying on", fe.Topic, fe.Partition, s)
		}
	}
	return nil
}

// take prints a record unless it is beyond its partition's end or a control record, and notes when the end is reached.
func (r *consuming) take(rec *kgo.Record) (printed bool, err error) {
	id := partitionID{rec.Topic, rec.Partition}
	r.next[id] = rec.Offset + 1
	delete(r.unreadable, id)
	end, bounded := r.open[rec.Topic][rec.Partition]
	if r.bounded && !bounded {
		return false, nil
	}
	beyond := bounded && rec.Offset >= end
	if bounded && rec.Offset >= end-1 {
		delete(r.open[rec.Topic], rec.Partition)
		r.kafka.PauseFetchPartitions(map[string][]int32{rec.Topic: {rec.Partition}})
	}
	if beyond || rec.Attrs.IsControl() {
		return false, nil
	}
	r.printed++
	return true, r.printer.Print(rec)
}

// fatalFetch tells errors that trying again does not cure.
func fatalFetch(err error) bool {
	for _, fatal := range []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.SaslAuthenticationFailed,
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidGroupID, kerr.UnsupportedVersion, kerr.OffsetOutOfRange} {
		if errors.Is(err, fatal) {
			return true
		}
	}
	return errors.Is(err, kgo.ErrClientClosed)
}
