package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

type statusOptions struct {
	out             cli.Output
	watch           bool
	exitWhenHealthy bool
	interval        time.Duration
}

func statusCommand(app *cli.App) *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use: "status", Short: "Is the cluster healthy, and if not, why and what next",
		Long: `Is the cluster healthy, and if not, why and what next.

HEALTHY: everything is there. DEGRADED: everything is served, with less in reserve. UNAVAILABLE: something is not served.
The exit code is 0 when healthy, 10 when not, 3 when no node could be reached, 4 when this user may not ask.`,
		Example: "  chronikctl status\n  chronikctl status --watch\n  chronikctl status --exit-when-healthy --timeout 60s\n  chronikctl status -o json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), app, o) },
	}
	o.out.Register(cmd)
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "go on, with the newest state")
	cmd.Flags().BoolVar(&o.exitWhenHealthy, "exit-when-healthy", false, "wait until the cluster is healthy, at most --timeout (with --watch: without end)")
	cmd.Flags().DurationVar(&o.interval, "interval", 2*time.Second, "how often --watch looks")
	return cmd
}

func runStatus(ctx context.Context, app *cli.App, o statusOptions) error {
	if o.interval < 100*time.Millisecond {
		return cli.Usagef("--interval %s: must be at least 100ms", o.interval)
	}
	if o.exitWhenHealthy && !o.watch {
		return waitHealthy(ctx, app, o)
	}
	if !o.watch {
		s, err := readStatus(ctx, app)
		if err != nil {
			return reportUnreachable(app, o, err)
		}
		return printStatus(app, o, s)
	}
	for first := true; ; first = false {
		s, err := readStatus(ctx, app)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if app.OutTTY && o.out.Human() {
			fmt.Fprint(app.Out, "\x1b[H\x1b[2J")
		} else if !first && o.out.Human() {
			fmt.Fprintln(app.Out)
		}
		if err != nil {
			if cli.ExitCode(err) != cli.ExitUnreachable {
				return err
			}
			s = unreachableStatus(err)
		}
		err = printStatus(app, o, s)
		if err != nil && cli.ExitCode(err) != cli.ExitNo {
			return err
		}
		if o.exitWhenHealthy && s.State == metaclient.Healthy {
			return nil
		}
		if err := sleep(ctx, o.interval); err != nil {
			return err
		}
	}
}

// waitHealthy polls until the cluster is healthy or --timeout has passed, and prints the last state once.
func waitHealthy(ctx context.Context, app *cli.App, o statusOptions) error {
	ctx, cancel := app.WithTimeout(ctx)
	defer cancel()
	var last *metaclient.Status
	var lastErr error
	for {
		s, err := readStatus(ctx, app)
		if err == nil {
			last = s
		}
		if ctx.Err() == nil {
			lastErr = err
		}
		if err == nil && s.State == metaclient.Healthy {
			return printStatus(app, o, s)
		}
		if code := cli.ExitCode(err); code == cli.ExitDenied || code == cli.ExitUsage {
			return err
		}
		if sleep(ctx, min(o.interval, 500*time.Millisecond)) == nil {
			continue
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		if lastErr != nil || last == nil {
			return reportUnreachable(app, o, lastErr)
		}
		return printStatus(app, o, last)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func readStatus(ctx context.Context, app *cli.App) (*metaclient.Status, error) {
	c, err := connect(ctx, app)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := app.WithTimeout(ctx)
	defer cancel()
	return c.Status(ctx)
}

func unreachableStatus(err error) *metaclient.Status {
	return &metaclient.Status{State: metaclient.Unavailable, Tolerates: -1, Controller: -1, Nodes: []metaclient.Node{},
		Findings: []metaclient.Finding{{Severity: metaclient.Unavailable, Text: err.Error()}}}
}

// reportUnreachable keeps the promise of one JSON document even when nobody answers.
func reportUnreachable(app *cli.App, o statusOptions, err error) error {
	if err == nil {
		err = &cli.Error{Code: cli.ExitUnreachable, What: "the cluster did not answer in time"}
	}
	if cli.ExitCode(err) == cli.ExitUnreachable && (o.out.Format == cli.JSON || o.out.Format == cli.YAML || o.out.Format == cli.JSONL) {
		if perr := app.Print(&o.out, statusView(unreachableStatus(err))); perr != nil {
			return perr
		}
	}
	return err
}

func printStatus(app *cli.App, o statusOptions, s *metaclient.Status) error {
	v := statusView(s)
	v.Text = func(w io.Writer, st cli.Style) error { return writeStatus(w, st, s, o.out.Format == cli.Wide) }
	if err := app.Print(&o.out, v); err != nil {
		return err
	}
	if s.State != metaclient.Healthy {
		return cli.SilentExit(cli.ExitNo)
	}
	return nil
}

func statusView(s *metaclient.Status) cli.View {
	v := cli.View{Kind: "ClusterStatus", Doc: s, Table: nodeGrid(s)}
	for _, n := range s.Nodes {
		v.Names = append(v.Names, fmt.Sprintf("node/%d", n.ID))
	}
	return v
}

var stateLevels = map[metaclient.State]cli.Level{metaclient.Healthy: cli.LevelGood, metaclient.Degraded: cli.LevelWarn, metaclient.Unavailable: cli.LevelBad}

func writeStatus(w io.Writer, st cli.Style, s *metaclient.Status, wide bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   cluster %s   %s\n", st.Bold(st.Mark(stateLevels[s.State], string(s.State))), orDash(s.ClusterID), tolerance(s))
	b.WriteString(st.Dim(countLine(s)) + "\n\n")
	if err := nodeGrid(s).Write(&b, st, wide); err != nil {
		return err
	}
	writeFindings(&b, st, s.Findings)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeFindings(b *strings.Builder, st cli.Style, findings []metaclient.Finding) {
	if len(findings) > 0 {
		b.WriteString("\n" + st.Bold("why") + "\n")
	}
	for _, f := range findings {
		fmt.Fprintf(b, "  %s\n", st.Mark(stateLevels[f.Severity], cli.Printable(f.Text)))
		if f.Next != "" {
			fmt.Fprintf(b, "      %s %s\n", st.Dim("next:"), strings.ReplaceAll(f.Next, "\n", "\n            "))
		}
	}
}

func tolerance(s *metaclient.Status) string {
	switch {
	case s.Tolerates < 0:
		return ""
	case s.State == metaclient.Unavailable:
		return ""
	case s.Tolerates == 0:
		return "tolerates no further failure"
	case s.Tolerates == 1:
		return "tolerates 1 further failure"
	}
	return fmt.Sprintf("tolerates %d further failures", s.Tolerates)
}

func countLine(s *metaclient.Status) string {
	parts := []string{}
	if s.Controller >= 0 {
		parts = append(parts, fmt.Sprintf("controller %d", s.Controller))
	}
	if q := s.Quorum; q != nil {
		parts = append(parts, fmt.Sprintf("metadata offset %s, epoch %d", cli.Count(q.HighWatermark), q.Epoch))
	}
	c := s.Counts
	parts = append(parts, plural(c.Topics, "topic"), plural(c.Partitions, "partition"),
		fmt.Sprintf("%d under-replicated", c.UnderReplicated), fmt.Sprintf("%d offline", c.Offline))
	if c.UnderMinISR > 0 {
		parts = append(parts, fmt.Sprintf("%d under min ISR", c.UnderMinISR))
	}
	if c.Damaged > 0 {
		parts = append(parts, fmt.Sprintf("%d damaged", c.Damaged))
	}
	if c.AtMinISR > 0 {
		parts = append(parts, fmt.Sprintf("%d at min ISR", c.AtMinISR))
	}
	return strings.Join(parts, " · ")
}

var nodeLevels = map[metaclient.NodeState]cli.Level{metaclient.NodeUp: cli.LevelGood, metaclient.NodeFenced: cli.LevelBad,
	metaclient.NodeUnreachable: cli.LevelBad, metaclient.NodeMissing: cli.LevelBad}

func nodeGrid(s *metaclient.Status) *cli.Grid {
	g := &cli.Grid{Empty: "no node could be reached", Columns: []cli.Column{
		{Title: "NODE", Right: true}, {Title: "STATE"}, {Title: "ROLE"}, {Title: "RACK"}, {Title: "ADDRESS"}, {Title: "RTT", Right: true},
		{Title: "METADATA", Right: true}, {Title: "LAG", Right: true}, {Title: "HASH"}, {Title: "LEADERS", Right: true}, {Title: "REPLICAS", Right: true},
		{Title: "DATA", Right: true}, {Title: "FREE", Right: true}, {Title: "UPTIME", Right: true}, {Title: "DISK", Right: true, Wide: true}, {Title: "VERSION", Wide: true}, {Title: "ERROR", Wide: true}}}
	for _, n := range s.Nodes {
		rtt := "-"
		if n.RTTMs >= 0 {
			rtt = cli.Duration(time.Duration(n.RTTMs * float64(time.Millisecond)))
		}
		state := cli.Cell{Text: string(n.State), Level: nodeLevels[n.State]}
		if n.State == metaclient.NodeUp && n.DiskFull {
			state = cli.Cell{Text: "disk full", Level: cli.LevelBad}
		}
		g.Add(n.ID, state, n.Role, orDash(n.Rack), orDash(n.Address), rtt,
			countOrDash(n.MetadataOffset), countOrDash(n.MetadataLag), nodeHash(&n), n.Leaders, n.Replicas,
			cli.Bytes(n.UsedBytes), cli.Bytes(n.FreeBytes), uptime(&n), cli.Bytes(n.TotalBytes), orDash(n.Version), n.Error)
	}
	return g
}

// nodeHash is the beginning of the hash that all nodes must show: that of the entry that all of them have.
func nodeHash(n *metaclient.Node) string {
	if n.EntryHash == "" {
		return "-"
	}
	return n.EntryHash[:min(8, len(n.EntryHash))]
}

func uptime(n *metaclient.Node) string {
	if n.UptimeMs < 0 {
		return "-"
	}
	return cli.Duration(n.Uptime())
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return cli.Printable(s)
}

func countOrDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return cli.Count(n)
}
