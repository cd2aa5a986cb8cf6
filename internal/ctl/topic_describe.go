package ctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/uuid"
)

type topicDoc struct {
	Name       string         `json:"name"`
	ID         string         `json:"id"`
	Internal   bool           `json:"internal"`
	Partitions []partitionDoc `json:"partitions"`
	Configs    []configDoc    `json:"configs"`
}

type partitionDoc struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"`
	LeaderEpoch int32   `json:"leaderEpoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	StartOffset int64   `json:"startOffset"`
	EndOffset   int64   `json:"endOffset"`
	Error       string  `json:"error,omitempty"`
}

type configDoc struct {
	Name   string  `json:"name"`
	Value  *string `json:"value"`
	Source string  `json:"source"`
}

func topicDescribeCommand(app *cli.App) *cobra.Command {
	var out cli.Output
	var all bool
	cmd := &cobra.Command{
		Use: "describe TOPIC...", Short: "Show partitions, leaders, replicas, offsets and settings of topics",
		Example:           "  chronikctl topic describe orders\n  chronikctl topic describe orders --all-configs -o yaml",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeTopics(app),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd.Context(), app)
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := app.WithTimeout(cmd.Context())
			defer cancel()
			docs, err := describeTopics(ctx, c, topicNames(args), all)
			if err != nil {
				return err
			}
			return app.Print(&out, describeView(docs, out.Format == cli.Wide))
		},
	}
	out.Register(cmd)
	cmd.Flags().BoolVar(&all, "all-configs", false, "settings at their defaults too")
	return cmd
}

func describeTopics(ctx context.Context, c *metaclient.Client, names []string, allConfigs bool) ([]topicDoc, error) {
	slices.Sort(names)
	names = slices.Compact(names)
	topics, err := c.RequireTopics(ctx, names...)
	if err != nil {
		return nil, err
	}
	starts, startErr := c.Admin().ListStartOffsets(ctx, names...)
	ends, endErr := c.Admin().ListEndOffsets(ctx, names...)
	configs, configErr := c.Admin().DescribeTopicConfigs(ctx, names...)
	if ctx.Err() != nil {
		return nil, metaclient.Explain("describe "+strings.Join(names, ", "), ctx.Err())
	}
	docs := []topicDoc{}
	for _, n := range names {
		t := topics[n]
		d := topicDoc{Name: n, ID: uuid.UUID(t.ID).String(), Internal: t.IsInternal, Partitions: []partitionDoc{}, Configs: []configDoc{}}
		for _, p := range t.Partitions.Sorted() {
			pd := partitionDoc{Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: p.Replicas, ISR: p.ISR, StartOffset: -1, EndOffset: -1}
			pd.StartOffset, pd.Error = listed(starts, startErr, n, p.Partition, pd.Error)
			pd.EndOffset, pd.Error = listed(ends, endErr, n, p.Partition, pd.Error)
			if p.Err != nil {
				pd.Error = metaclient.Cause(p.Err)
			}
			d.Partitions = append(d.Partitions, pd)
		}
		if configErr == nil {
			d.Configs = topicConfigs(configs, n, allConfigs)
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// listed returns an offset, or -1 with the reason.
func listed(l kadm.ListedOffsets, err error, topic string, partition int32, before string) (int64, string) {
	if err != nil && len(l) == 0 {
		return -1, metaclient.Cause(err)
	}
	o, ok := l.Lookup(topic, partition)
	switch {
	case !ok:
		return -1, before
	case o.Err != nil:
		return -1, metaclient.Cause(o.Err)
	}
	return o.Offset, before
}

func topicConfigs(configs kadm.ResourceConfigs, topic string, all bool) []configDoc {
	out := []configDoc{}
	rc, err := configs.On(topic, nil)
	if err != nil || rc.Err != nil {
		return out
	}
	for _, cfg := range rc.Configs {
		if !all && cfg.Source != kmsg.ConfigSourceDynamicTopicConfig {
			continue
		}
		v := cfg.Value
		if cfg.Sensitive {
			v = nil
		}
		out = append(out, configDoc{Name: cfg.Key, Value: v, Source: strings.ToLower(strings.TrimSuffix(cfg.Source.String(), "_CONFIG"))})
	}
	slices.SortFunc(out, func(a, b configDoc) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func describeView(docs []topicDoc, wide bool) cli.View {
	flat := partitionGrid(true)
	v := cli.View{Kind: "TopicDescription", Doc: docs, Table: flat}
	for _, d := range docs {
		v.Names = append(v.Names, "topic/"+d.Name)
		addPartitions(flat, d, true)
	}
	v.Text = func(w io.Writer, st cli.Style) error {
		for i, d := range docs {
			if i > 0 {
				fmt.Fprintln(w)
			}
			if err := writeTopic(w, st, d, wide); err != nil {
				return err
			}
		}
		return nil
	}
	return v
}

func writeTopic(w io.Writer, st cli.Style, d topicDoc, wide bool) error {
	var records int64
	unknown := false
	for _, p := range d.Partitions {
		if p.StartOffset < 0 || p.EndOffset < 0 {
			unknown = true
			continue
		}
		records += p.EndOffset - p.StartOffset
	}
	count := counted(records, "record")
	if unknown {
		count += " in those that answer"
	}
	kind := ""
	if d.Internal {
		kind = ", internal"
	}
	fmt.Fprintf(w, "%s   %s\n", st.Bold("topic "+cli.Printable(d.Name)), st.Dim(fmt.Sprintf("id %s · %s · %s%s", d.ID, plural(len(d.Partitions), "partition"), count, kind)))
	g := partitionGrid(false)
	addPartitions(g, d, false)
	if err := g.Write(w, st, wide); err != nil {
		return err
	}
	if len(d.Configs) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	cg := &cli.Grid{Columns: []cli.Column{{Title: "SETTING"}, {Title: "VALUE"}, {Title: "SOURCE"}}}
	for _, c := range d.Configs {
		value := "(secret)"
		if c.Value != nil {
			value = *c.Value
		}
		cg.Add(c.Name, value, c.Source)
	}
	return cg.Write(w, st, wide)
}

func partitionGrid(withTopic bool) *cli.Grid {
	g := &cli.Grid{Columns: []cli.Column{{Title: "PARTITION", Right: true}, {Title: "LEADER", Right: true}, {Title: "EPOCH", Right: true}, {Title: "REPLICAS"}, {Title: "ISR"},
		{Title: "START", Right: true}, {Title: "END", Right: true}, {Title: "RECORDS", Right: true}, {Title: "STATE"}}}
	if withTopic {
		g.Columns = append([]cli.Column{{Title: "TOPIC"}}, g.Columns...)
	}
	return g
}

func addPartitions(g *cli.Grid, d topicDoc, withTopic bool) {
	for _, p := range d.Partitions {
		records, start, end := "-", countOrDash(p.StartOffset), countOrDash(p.EndOffset)
		if p.StartOffset >= 0 && p.EndOffset >= 0 {
			records = cli.Count(p.EndOffset - p.StartOffset)
		}
		leader := "-"
		if p.Leader >= 0 {
			leader = fmt.Sprint(p.Leader)
		}
		state := cli.Cell{Text: "ok", Level: cli.LevelGood}
		switch {
		case p.Leader < 0, p.Error == kerr.LeaderNotAvailable.Message:
			state = cli.Cell{Text: "offline", Level: cli.LevelBad}
		case p.Error != "":
			state = cli.Cell{Text: p.Error, Level: cli.LevelBad}
		case len(p.ISR) < len(p.Replicas):
			state = cli.Cell{Text: "under-replicated", Level: cli.LevelWarn}
		}
		row := []any{p.Partition, leader, p.LeaderEpoch, idList(p.Replicas), idList(p.ISR), start, end, records, state}
		if withTopic {
			row = append([]any{d.Name}, row...)
		}
		g.Add(row...)
	}
}

func idList(ids []int32) string {
	if len(ids) == 0 {
		return "-"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(ids), "[]"), " ", ",")
}
