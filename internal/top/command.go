package top

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// Tool is chronik-top.
var Tool = cli.Tool{
	Name:  "chronik-top",
	Short: "Watch a cluster live in the terminal",
	Long: `chronik-top watches a cluster live in the terminal: throughput, health, nodes, topics, and every change of its metadata
with what it changed. It only reads.

Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 denied, 10 (with --once) the cluster is not healthy.`,
	Build: build,
}

// Formats of --once.
const textFormat cli.Format = "text"

type options struct {
	out      cli.Output
	once     bool
	record   string
	replay   string
	speed    float64
	theme    string
	ascii    bool
	screen   string
	interval time.Duration
}

func build(app *cli.App, root *cobra.Command) {
	o := &options{out: cli.Output{Formats: []cli.Format{textFormat, cli.JSON, cli.YAML}}}
	f := root.Flags()
	f.BoolVar(&o.once, "once", false, "print one frame and exit, for scripts")
	o.out.Register(root)
	f.StringVar(&o.record, "record", "", "write all that is seen to this `file`")
	f.StringVar(&o.replay, "replay", "", "show a recorded `file` instead of a cluster")
	f.Float64Var(&o.speed, "speed", 1, "how many times faster to replay; 0 shows the end at once")
	f.StringVar(&o.theme, "theme", "auto", "colours: "+strings.Join(themeNames, ", "))
	f.BoolVar(&o.ascii, "ascii", false, "draw with ASCII only")
	f.StringVar(&o.screen, "screen", "overview", "the first screen: overview or metadata")
	f.DurationVar(&o.interval, "interval", time.Second, "how often status and offsets are sampled")
	_ = root.RegisterFlagCompletionFunc("theme", cobra.FixedCompletions(themeNames, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("screen", cobra.FixedCompletions([]string{"overview", "metadata"}, cobra.ShellCompDirectiveNoFileComp))
	root.Use = "chronik-top"
	root.Args = cobra.NoArgs
	root.Example = "  chronik-top\n  chronik-top --screen metadata --record incident.jsonl\n  chronik-top --replay incident.jsonl --speed 10\n  chronik-top --once -o json"
	root.RunE = func(cmd *cobra.Command, _ []string) error { return runTop(cmd.Context(), app, o) }
}

func runTop(ctx context.Context, app *cli.App, o *options) error {
	start := map[string]screen{"overview": screenOverview, "metadata": screenMetadata}[o.screen]
	switch {
	case start == 0:
		return cli.Usagef("--screen %s: must be overview or metadata", o.screen)
	case !slices.Contains(themeNames, o.theme):
		return cli.Usagef("--theme %s: must be one of %s", o.theme, strings.Join(themeNames, ", "))
	case o.speed < 0 || o.interval < 100*time.Millisecond:
		return cli.Usagef("--speed must not be negative, --interval at least 100ms")
	case o.record != "" && o.replay != "":
		return cli.Usagef("--record and --replay exclude each other")
	case !o.once && !app.OutTTY:
		return cli.Usagef("standard output is no terminal").WithNext("chronik-top --once")
	}
	if o.theme == "auto" && (app.Getenv("NO_COLOR") != "" || app.Color == "never" || app.Getenv("TERM") == "dumb") {
		o.theme = "mono"
	}
	m := newModel(o.theme, o.ascii, start)
	m.slack = max(0, o.interval-time.Second)
	if o.once {
		return runOnce(ctx, app, o, m)
	}
	return runLive(ctx, app, o, m)
}

// feed opens the source of inputs and starts it. wait returns its error after inputs was closed.
func feed(ctx context.Context, app *cli.App, o *options) (inputs <-chan Input, target string, wait func() error, err error) {
	ch := make(chan Input, inputBound)
	if o.replay != "" {
		f, h, next, err := openRecording(o.replay)
		if err != nil {
			return nil, "", nil, err
		}
		done := make(chan error, 1)
		go func() {
			defer f.Close()
			defer close(ch)
			done <- replay(ctx, next, o.speed, ch)
		}()
		return ch, h.Target, func() error { return <-done }, nil
	}
	client, err := metaclient.Open(app)
	if err != nil {
		return nil, "", nil, err
	}
	target = strings.Join(client.Target.Bootstrap, ",")
	done := make(chan error, 1)
	go func() {
		defer close(ch)
		defer client.Close()
		(&live{app: app, client: client, interval: o.interval, inputs: ch}).run(ctx)
		done <- nil
	}()
	inputs = ch
	if o.record != "" {
		f, err := os.OpenFile(o.record, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, "", nil, cli.Failf("record: %v", err)
		}
		inputs = recordTo(f, target, ch, func(err error) { app.Verbosef("%v", err) })
		return inputs, target, func() error { return errors.Join(<-done, f.Close()) }, nil
	}
	return inputs, target, func() error { return <-done }, nil
}

// runLive runs the program until q.
func runLive(ctx context.Context, app *cli.App, o *options, m *model) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inputs, target, wait, err := feed(ctx, app, o)
	if err != nil {
		return err
	}
	m.snap = &Snapshot{Target: target, At: app.Now(), HashOffset: -1, Replay: o.replay != ""}
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(app.In), tea.WithOutput(app.Out), tea.WithFPS(30), tea.WithoutSignalHandler())
	c := newCollector(target, o.replay != "")
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		c.run(ctx, inputs, app.Now, func(s *Snapshot) { p.Send(SnapshotMsg{s}) })
	}()
	_, err = p.Run()
	cancel()
	<-collected
	for range inputs { // the source may be waiting for room
	}
	werr := wait()
	switch {
	case err != nil && !errors.Is(err, tea.ErrInterrupted) && !errors.Is(err, context.Canceled) && !errors.Is(err, tea.ErrProgramKilled):
		return cli.Failf("terminal: %v", err)
	case errors.Is(werr, context.Canceled):
		return nil
	}
	return werr
}

// runOnce prints the first frame that has all it needs: two samples for the rates, and the log up to its end.
func runOnce(ctx context.Context, app *cli.App, o *options, m *model) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.replay == "" {
		client, err := metaclient.Connect(ctx, app) // an unreachable cluster is exit code 3, not an empty frame
		if err != nil {
			return err
		}
		client.Close()
	}
	inputs, target, wait, err := feed(ctx, app, o)
	if err != nil {
		return err
	}
	c := newCollector(target, o.replay != "")
	timeout := time.NewTimer(app.Timeout)
	defer timeout.Stop()
	samples, log := 0, false // samples of the topics, which come after the first status
	for open := true; open && (o.replay != "" || samples < 2 || !log); {
		var in Input
		select {
		case in, open = <-inputs:
		case <-timeout.C:
			if o.replay == "" {
				open = false
			}
		}
		if !open {
			break
		}
		c.take(in)
		if in.Gauges != nil && in.Gauges.Topics != nil {
			samples++
		}
		log = log || c.noLog || c.logErr != "" || c.atEnd()
	}
	cancel()
	for range inputs {
	}
	if err := wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	m.width, m.height = onceSize(app)
	m.themeName, m.bare = "plain", true
	m.show(c.snapshot())
	if m.snap.Status == nil && o.replay == "" {
		e := &cli.Error{Code: cli.ExitUnreachable, What: "the cluster did not answer in time: " + m.snap.Cluster}
		return e.WithNext("another broker with -b HOST:PORT, or a longer --timeout")
	}
	if err := printOnce(app, &o.out, m); err != nil {
		return err
	}
	if m.snap.Status != nil && m.snap.Status.State != metaclient.Healthy {
		return cli.SilentExit(cli.ExitNo)
	}
	return nil
}

// atEnd says whether the image has reached the offset that the quorum reports as committed.
func (c *collector) atEnd() bool {
	if c.fold == nil || c.status == nil {
		return false
	}
	return c.status.Quorum == nil || c.fold.Image.Offset()+1 >= c.status.Quorum.HighWatermark || len(c.events) > 0 && c.fold.Err != nil
}

// onceSize is the terminal's width, or 120, and enough lines for all sections.
func onceSize(app *cli.App) (width, height int) {
	width = app.Width
	if width < minWidth {
		width = 120
	}
	return width, 40
}
