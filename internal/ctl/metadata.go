package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

type tailOptions struct {
	output cli.Output
	last   int64
	follow bool
	from   string
	types  []string
	entity string
	diff   bool
}

func metadataTailCommand(app *cli.App) *cobra.Command {
	o := tailOptions{output: cli.Output{Formats: []cli.Format{cli.Table, cli.Wide, cli.JSON, cli.JSONL}}}
	cmd := &cobra.Command{
		Use: "tail", Short: "Show the newest entries of the metadata log, and follow it",
		Long: `Show the newest entries of the metadata log, and follow it.

Every change of the cluster is one entry: topics, partitions, leaders, in-sync replicas, settings, brokers, producer ids.
--diff folds the log from its start with the server's own code and shows what each entry changed in the image.`,
		Example: "  chronikctl metadata tail\n  chronikctl metadata tail -f --diff\n  chronikctl metadata tail --from 0 --entity topic/orders\n  chronikctl metadata tail -n 100 --type TopicCreated,TopicDeleted -o jsonl",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runTail(cmd.Context(), app, &o) },
	}
	o.output.Register(cmd)
	f := cmd.Flags()
	f.Int64VarP(&o.last, "num", "n", 20, "begin this many entries before the end; 0 only shows what comes")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on as entries are committed")
	f.StringVar(&o.from, "from", "", "begin at this `offset`, or at @TIME (entries without a time follow the one before)")
	f.StringSliceVar(&o.types, "type", nil, "only these event `types` (TopicCreated,...)")
	_ = cmd.RegisterFlagCompletionFunc("type", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return metaclient.EntryTypes(), cobra.ShellCompDirectiveNoFileComp
	})
	f.StringVar(&o.entity, "entity", "", "only this entity and its parts: topic/orders, broker/2, 'partition/orders/*'")
	f.BoolVar(&o.diff, "diff", false, "show what each entry changed")
	return cmd
}

func runTail(ctx context.Context, app *cli.App, o *tailOptions) error {
	if o.last < 0 {
		return cli.Usagef("-n %d: must not be negative", o.last)
	}
	if _, err := path.Match(o.entity, ""); err != nil {
		return cli.Usagef("--entity %s: %v", o.entity, err)
	}
	known := metaclient.EntryTypes()
	for _, name := range o.types {
		if !slices.ContainsFunc(known, func(s string) bool { return strings.EqualFold(s, name) }) {
			return cli.Usagef("--type %s: no entry has this type; there are %s", cli.Printable(name), strings.Join(known, ", "))
		}
	}
	c, err := connect(ctx, app)
	if err != nil {
		return err
	}
	defer c.Close()
	tctx, cancel := app.WithTimeout(ctx)
	defer cancel()
	start, end, err := c.LogBounds(tctx)
	if err != nil {
		return tailError(err)
	}
	from, since, err := tailStart(tctx, app, c, o, start, end)
	if err != nil {
		return err
	}
	if !o.follow && from >= end {
		from = end
	}
	begin := from
	if o.diff {
		begin = start
		if start > 0 {
			app.Hintf("the log begins at offset %d: what was decided before is not in the diffs", start)
		}
	}
	t := &tailing{app: app, o: o, end: end, from: from, since: since, fold: metaclient.NewFold(start), now: app.Now()}
	t.stream = listStream{w: app.Out, kind: "MetadataEntryList", jsonl: o.output.Format == cli.JSONL}
	err = t.run(ctx, c, begin)
	if !o.output.Human() {
		if cerr := t.stream.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

func tailError(err error) error {
	if errors.Is(err, metaclient.ErrNoMetadataLog) {
		return &cli.Error{Code: cli.ExitFailed, What: err.Error()}
	}
	return err
}

// tailStart turns --from or -n into an offset, and into a time: the log is not indexed by time, so a time reads it from the start.
func tailStart(ctx context.Context, app *cli.App, c *metaclient.Client, o *tailOptions, start, end int64) (int64, time.Time, error) {
	var since time.Time
	if o.from == "" {
		return max(start, end-o.last), since, nil
	}
	if at, ok := strings.CutPrefix(o.from, "@"); ok {
		since, err := metaclient.ParseTime(at, app.Now())
		return start, since, err
	}
	r, err := metaclient.ParseRange(o.from, app.Now())
	if err != nil {
		return 0, since, err
	}
	if r.Bounded {
		return 0, since, cli.Usagef("--from %s: one offset or time, not a range", o.from)
	}
	spans, err := c.Resolve(ctx, r, metaclient.MetadataTopic)
	if err != nil {
		return 0, since, err
	}
	return spans[metaclient.MetadataTopic][0].Start, since, nil
}

// tailing is one run of tail.
type tailing struct {
	app       *cli.App
	o         *tailOptions
	from, end int64
	since     time.Time // show nothing before the first entry of this time or later; entries without a time follow the one before
	fold      *metaclient.Fold
	stream    listStream
	now       time.Time
	headed    bool
}

func (t *tailing) run(ctx context.Context, c *metaclient.Client, begin int64) error {
	if begin >= t.end && !t.o.follow {
		return nil
	}
	tail, err := c.OpenTail(ctx, begin)
	if err != nil {
		return tailError(err)
	}
	defer tail.Close()
	lastErr := ""
	for {
		pctx, cancel := ctx, context.CancelFunc(func() {})
		if !t.o.follow {
			pctx, cancel = t.app.WithTimeout(ctx)
		}
		entries, err := tail.Poll(pctx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && !t.o.follow:
			return metaclient.Explain("read the metadata log", err)
		case err != nil:
			if s := metaclient.Cause(err); s != lastErr {
				lastErr = s
				t.app.Hintf("reading the log: %s; trying on", s)
			}
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
			continue
		}
		lastErr = ""
		for _, e := range entries {
			if !t.o.follow && e.Offset >= t.end {
				return t.foldError()
			}
			if err := t.take(e); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			if !t.o.follow && e.Offset == t.end-1 {
				return t.foldError()
			}
		}
		if err := t.foldError(); err != nil {
			return err
		}
	}
}

// foldError reports a log that contradicts itself: the answer to "is it sound" is no.
func (t *tailing) foldError() error {
	if t.fold.Err == nil {
		return nil
	}
	return &cli.Error{Code: cli.ExitNo, What: "the log cannot be folded", Err: t.fold.Err}
}

func (t *tailing) take(e metaclient.LogEntry) error {
	var changes []metaclient.EntityChange
	if !t.since.IsZero() && !e.Time.Before(t.since) {
		t.since = time.Time{}
	}
	show := e.Offset >= t.from && t.since.IsZero() && t.wanted(e)
	if t.o.diff {
		step := t.fold.Apply(e)
		if show && step.Before != step.After {
			changes = metaclient.DiffImages(step.Before, step.After)
		}
	}
	if !show {
		return nil
	}
	if t.o.output.Human() {
		return t.writeText(e, changes)
	}
	return t.stream.Item(newEntryDoc(e, changes))
}

func (t *tailing) wanted(e metaclient.LogEntry) bool {
	if len(t.o.types) > 0 && !slices.ContainsFunc(t.o.types, func(s string) bool { return strings.EqualFold(s, e.Type) }) {
		return false
	}
	if t.o.entity == "" {
		return true
	}
	if ok, _ := path.Match(t.o.entity, e.Key); ok {
		return true
	}
	topic, ok := strings.CutPrefix(t.o.entity, "topic/")
	return ok && (strings.HasPrefix(e.Key, "partition/"+topic+"/") || e.Key == "config/topic/"+topic)
}

type entryDoc struct {
	Offset  int64                     `json:"offset"`
	Epoch   int32                     `json:"epoch"`
	Time    string                    `json:"time,omitempty"`
	Type    string                    `json:"type"`
	Entity  string                    `json:"entity,omitempty"`
	Hash    string                    `json:"hash,omitempty"`
	Event   json.RawMessage           `json:"event,omitempty"`
	Changes []metaclient.EntityChange `json:"changes,omitempty"`
	Error   string                    `json:"error,omitempty"`
}

func newEntryDoc(e metaclient.LogEntry, changes []metaclient.EntityChange) entryDoc {
	d := entryDoc{Offset: e.Offset, Epoch: e.Epoch, Type: e.Type, Entity: e.Key, Hash: e.Hash, Changes: changes}
	if !e.Time.IsZero() {
		d.Time = e.Time.UTC().Format(time.RFC3339Nano)
	}
	if json.Valid(e.Value) {
		d.Event = e.Value
	}
	if e.Err != nil {
		d.Error = e.Err.Error()
	}
	return d
}

// writeText prints one line for an entry, in columns that stay where they are while the log is followed, and its diff below.
func (t *tailing) writeText(e metaclient.LogEntry, changes []metaclient.EntityChange) error {
	st := t.app.OutStyle()
	wide := t.o.output.Format == cli.Wide
	var b strings.Builder
	if !t.headed {
		t.headed = true
		head := fmt.Sprintf("%10s  %5s  %-12s  %-20s  %s", "OFFSET", "EPOCH", "TIME", "TYPE", "WHAT")
		if wide {
			head = fmt.Sprintf("%10s  %5s  %-12s  %-8s  %-28s  %-20s  %s", "OFFSET", "EPOCH", "TIME", "HASH", "ENTITY", "TYPE", "WHAT")
		}
		b.WriteString(st.Dim(head) + "\n")
	}
	when := "-"
	if !e.Time.IsZero() {
		when = e.Time.In(t.now.Location()).Format("15:04:05.000")
	}
	what, name := cli.Printable(metaclient.Describe(e)), fmt.Sprintf("%-20s", cli.Printable(e.Type))
	if e.Err != nil {
		name = st.Bad(name)
	}
	if wide {
		fmt.Fprintf(&b, "%10d  %5d  %-12s  %-8.8s  %-28s  %s  %s\n", e.Offset, e.Epoch, when, orDash(e.Hash), orDash(e.Key), name, what)
	} else {
		fmt.Fprintf(&b, "%10d  %5d  %-12s  %s  %s\n", e.Offset, e.Epoch, when, name, what)
	}
	for _, c := range changes {
		writeChange(&b, st, c)
	}
	_, err := io.WriteString(t.app.Out, b.String())
	return err
}

func writeChange(b *strings.Builder, st cli.Style, c metaclient.EntityChange) {
	paint := map[string]func(string) string{"+": st.Good, "-": st.Bad, "~": st.Warn}[c.Op]
	fmt.Fprintf(b, "            %s\n", paint(c.Op+" "+cli.Printable(c.Key)))
	if c.Op != "~" {
		fmt.Fprintf(b, "                %s\n", cli.Printable(c.Brief()))
		return
	}
	for _, f := range c.Fields {
		fmt.Fprintf(b, "                %-16s %s → %s\n", f.Field, orDash(f.Before), orDash(f.After))
	}
}
