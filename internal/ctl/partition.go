package ctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// partitionFilter chooses partitions: those to which one of the flags set applies; all, if none is set.
type partitionFilter struct {
	underReplicated, offline, atMin, underMin, damaged bool
}

func (f *partitionFilter) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.underReplicated, "under-replicated", false, "fewer live replicas in sync than replicas")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "no leader: can be neither read nor written")
	cmd.Flags().BoolVar(&f.atMin, "at-min-isr", false, "as few live replicas in sync as min.insync.replicas allows")
	cmd.Flags().BoolVar(&f.underMin, "under-min-isr", false, "fewer than that: acks=all is refused")
	cmd.Flags().BoolVar(&f.damaged, "damaged", false, "a node has found its own replica damaged")
}

func (f *partitionFilter) takes(p *metaclient.PartitionStatus) bool {
	none := !f.underReplicated && !f.offline && !f.atMin && !f.underMin && !f.damaged
	return none || f.damaged && len(p.Damaged) > 0 || f.underReplicated && p.UnderReplicated || f.offline && p.Offline || f.atMin && p.AtMinISR || f.underMin && p.UnderMinISR
}

func partitionListCommand(app *cli.App) *cobra.Command {
	var out cli.Output
	var f partitionFilter
	cmd := &cobra.Command{
		Use: "list [TOPIC...]", Short: "List partitions with their leaders and replicas in sync",
		Example:           "  chronikctl partition list\n  chronikctl partition list orders -o wide\n  chronikctl partition list --under-replicated -o name",
		ValidArgsFunction: completeTopics(app),
		RunE: func(cmd *cobra.Command, topics []string) error {
			_, some, err := readPartitions(cmd.Context(), app, topics)
			if err != nil {
				return err
			}
			return app.Print(&out, partitionListView(slices.DeleteFunc(some, func(p metaclient.PartitionStatus) bool { return !f.takes(&p) }), "no such partition"))
		},
	}
	out.Register(cmd)
	f.register(cmd)
	return cmd
}

func partitionStatusCommand(app *cli.App) *cobra.Command {
	var out cli.Output
	var f partitionFilter
	cmd := &cobra.Command{
		Use: "status [TOPIC...]", Short: "Which partitions are not as they should be",
		Long: `Which partitions are not as they should be: without a leader, with fewer live replicas in sync than replicas, with a replica that its
node has found damaged, or with a leader that takes no records because its disk is full.

The exit code is 0 when there is none, 10 when there is one; with a flag, one of that kind.`,
		Example:           "  chronikctl partition status\n  chronikctl partition status --offline --under-min-isr\n  chronikctl partition status orders -o json",
		ValidArgsFunction: completeTopics(app),
		RunE: func(cmd *cobra.Command, topics []string) error {
			s, some, err := readPartitions(cmd.Context(), app, topics)
			if err != nil {
				return err
			}
			bad := slices.DeleteFunc(slices.Clone(some), func(p metaclient.PartitionStatus) bool {
				return !f.takes(&p) || !p.Offline && !p.UnderReplicated && !p.LeaderFull && len(p.Damaged) == 0
			})
			if err := app.Print(&out, partitionStatusView(s, some, bad)); err != nil {
				return err
			}
			if len(bad) > 0 {
				return cli.SilentExit(cli.ExitNo)
			}
			return nil
		},
	}
	out.Register(cmd)
	f.register(cmd)
	return cmd
}

// readPartitions reads the cluster's state, and those of its partitions that are of the topics named, or all.
func readPartitions(ctx context.Context, app *cli.App, topics []string) (*metaclient.Status, []metaclient.PartitionStatus, error) {
	var s *metaclient.Status
	err := withCluster(ctx, app, func(ctx context.Context, c *metaclient.Client) error {
		if _, err := c.RequireTopics(ctx, topics...); err != nil && len(topics) > 0 {
			return err
		}
		var err error
		s, err = c.Status(ctx)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	some := []metaclient.PartitionStatus{}
	for i := range s.Partitions {
		if len(topics) == 0 || slices.Contains(topics, s.Partitions[i].Topic) {
			some = append(some, s.Partitions[i])
		}
	}
	return s, some, nil
}

// partitionState is a partition's worst trouble in a word.
func partitionState(p *metaclient.PartitionStatus) cli.Cell {
	switch {
	case p.Offline:
		return cli.Cell{Text: "offline", Level: cli.LevelBad}
	case slices.Contains(p.Damaged, p.Leader):
		return cli.Cell{Text: "damaged", Level: cli.LevelBad}
	case p.UnderMinISR:
		return cli.Cell{Text: "under min ISR", Level: cli.LevelBad}
	case p.LeaderFull:
		return cli.Cell{Text: "leader's disk is full", Level: cli.LevelBad}
	case len(p.Damaged) > 0:
		return cli.Cell{Text: "damaged on " + idList(p.Damaged), Level: cli.LevelWarn}
	case p.AtMinISR:
		return cli.Cell{Text: "at min ISR", Level: cli.LevelWarn}
	case p.UnderReplicated:
		return cli.Cell{Text: "under-replicated", Level: cli.LevelWarn}
	}
	return cli.Cell{Text: "ok", Level: cli.LevelGood}
}

func partitionListView(some []metaclient.PartitionStatus, empty string) cli.View {
	g := &cli.Grid{Empty: empty, Columns: []cli.Column{{Title: "TOPIC"}, {Title: "PARTITION", Right: true}, {Title: "LEADER", Right: true}, {Title: "EPOCH", Right: true},
		{Title: "REPLICAS"}, {Title: "ISR"}, {Title: "MIN", Right: true}, {Title: "AWAY"}, {Title: "STATE"}}}
	v := cli.View{Kind: "PartitionList", Doc: some, Table: g}
	for i := range some {
		p := &some[i]
		v.Names = append(v.Names, fmt.Sprintf("partition/%s-%d", p.Topic, p.Partition))
		away := slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return slices.Contains(p.Live, id) })
		g.Add(p.Topic, p.Partition, leaderOf(p.Leader), p.LeaderEpoch, idList(p.Replicas), idList(p.ISR), countOrDash(int64(p.MinISR)), idList(away), partitionState(p))
	}
	return v
}

type partitionStatusDoc struct {
	Partitions int                          `json:"partitions"`
	Counts     partitionCounts              `json:"counts"`
	Items      []metaclient.PartitionStatus `json:"items"`
	Findings   []metaclient.Finding         `json:"findings"`
}

type partitionCounts struct {
	Offline         int `json:"offline"`
	UnderReplicated int `json:"underReplicated"`
	UnderMinISR     int `json:"underMinIsr"`
	AtMinISR        int `json:"atMinIsr"`
	Damaged         int `json:"damaged"`
	LeaderFull      int `json:"leaderDiskFull"`
}

func partitionStatusView(s *metaclient.Status, all, bad []metaclient.PartitionStatus) cli.View {
	d := partitionStatusDoc{Partitions: len(all), Items: bad, Findings: s.Findings}
	for i := range all {
		p := &all[i]
		for _, c := range []struct {
			is bool
			n  *int
		}{{p.Offline, &d.Counts.Offline}, {p.UnderReplicated, &d.Counts.UnderReplicated}, {p.UnderMinISR, &d.Counts.UnderMinISR}, {p.AtMinISR, &d.Counts.AtMinISR}, {len(p.Damaged) > 0, &d.Counts.Damaged},
			{p.LeaderFull, &d.Counts.LeaderFull}} {
			if c.is {
				*c.n++
			}
		}
	}
	v := partitionListView(bad, "none: every partition has a leader and all its replicas")
	v.Kind, v.Doc = "PartitionStatus", d
	g := v.Table
	v.Text = func(w io.Writer, st cli.Style) error {
		var b strings.Builder
		c := d.Counts
		line := fmt.Sprintf("%s · %d offline · %d under min ISR · %d at min ISR · %d under-replicated", plural(d.Partitions, "partition"), c.Offline, c.UnderMinISR, c.AtMinISR, c.UnderReplicated)
		if c.Damaged > 0 {
			line += fmt.Sprintf(" · %d damaged", c.Damaged)
		}
		if c.LeaderFull > 0 {
			line += fmt.Sprintf(" · %d on a full disk", c.LeaderFull)
		}
		b.WriteString(st.Dim(line) + "\n\n")
		if err := g.Write(&b, st, false); err != nil {
			return err
		}
		if len(bad) > 0 {
			writeFindings(&b, st, d.Findings)
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
	return v
}
