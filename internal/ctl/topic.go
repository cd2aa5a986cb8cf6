package ctl

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/uuid"
)

// topicRow is one topic in `topic list`.
type topicRow struct {
	Name              string `json:"name"`
	ID                string `json:"id"`
	Internal          bool   `json:"internal"`
	Partitions        int    `json:"partitions"`
	ReplicationFactor int    `json:"replicationFactor"`
	UnderReplicated   int    `json:"underReplicated"`
	Offline           int    `json:"offline"`
	Error             string `json:"error,omitempty"`
}

func topicListCommand(app *cli.App) *cobra.Command {
	var out cli.Output
	var internal bool
	cmd := &cobra.Command{
		Use: "list [PATTERN...]", Aliases: []string{"ls"}, Short: "List topics",
		Example:           "  chronikctl topic list\n  chronikctl topic list 'orders*' -o name\n  chronikctl topic list --internal -o json",
		ValidArgsFunction: completeTopics(app),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd.Context(), app)
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := app.WithTimeout(cmd.Context())
			defer cancel()
			rows, err := listTopics(ctx, c, args, internal)
			if err != nil {
				return err
			}
			return app.Print(&out, topicListView(rows))
		},
	}
	out.Register(cmd)
	cmd.Flags().BoolVar(&internal, "internal", false, "internal topics too")
	return cmd
}

func listTopics(ctx context.Context, c *metaclient.Client, patterns []string, internal bool) ([]topicRow, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, cli.Usagef("pattern %q: %v", p, err)
		}
	}
	all, err := c.Admin().ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, metaclient.Explain("list topics", err)
	}
	rows := []topicRow{}
	for _, t := range all.Sorted() {
		if errors.Is(t.Err, kerr.UnknownTopicOrPartition) || t.IsInternal && !internal && len(patterns) == 0 || !matchesAny(t.Topic, patterns) {
			continue
		}
		rows = append(rows, newTopicRow(t))
	}
	return rows, nil
}

func matchesAny(name string, patterns []string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return len(patterns) == 0
}

func newTopicRow(t kadm.TopicDetail) topicRow {
	r := topicRow{Name: t.Topic, ID: uuid.UUID(t.ID).String(), Internal: t.IsInternal, Partitions: len(t.Partitions)}
	if t.Err != nil {
		r.Error = metaclient.Cause(t.Err)
	}
	for _, p := range t.Partitions {
		r.ReplicationFactor = max(r.ReplicationFactor, len(p.Replicas))
		if len(p.ISR) < len(p.Replicas) {
			r.UnderReplicated++
		}
		if p.Leader < 0 {
			r.Offline++
		}
	}
	return r
}

func (r topicRow) state() cli.Cell {
	switch {
	case r.Error != "":
		return cli.Cell{Text: r.Error, Level: cli.LevelBad}
	case r.Offline > 0:
		return cli.Cell{Text: fmt.Sprintf("%d offline", r.Offline), Level: cli.LevelBad}
	case r.UnderReplicated > 0:
		return cli.Cell{Text: fmt.Sprintf("%d under-replicated", r.UnderReplicated), Level: cli.LevelWarn}
	}
	return cli.Cell{Text: "ok", Level: cli.LevelGood}
}

// topicNames takes topics as they are typed, or as --output name prints them.
func topicNames(args []string) []string {
	names := make([]string, len(args))
	for i, a := range args {
		names[i] = strings.TrimPrefix(a, "topic/") // a topic's name has no slash
	}
	return names
}

func topicListView(rows []topicRow) cli.View {
	g := &cli.Grid{Empty: "no topics", Columns: []cli.Column{{Title: "TOPIC"}, {Title: "PARTITIONS", Right: true}, {Title: "REPLICAS", Right: true},
		{Title: "STATE"}, {Title: "ID", Wide: true}, {Title: "INTERNAL", Wide: true}}}
	v := cli.View{Kind: "TopicList", Doc: rows, Table: g}
	for _, r := range rows {
		g.Add(r.Name, r.Partitions, r.ReplicationFactor, r.state(), r.ID, r.Internal)
		v.Names = append(v.Names, "topic/"+r.Name)
	}
	return v
}

// itemResult is what became of one of several items.
type itemResult struct {
	Name   string `json:"name"`
	Result string `json:"result"`
	Error  string `json:"error,omitempty"`
	Detail string `json:"detail,omitempty"`
	code   int
}

// finishItems prints results and turns them into an exit code: 0, the one failure's own code, 5 when some failed.
func finishItems(app *cli.App, out *cli.Output, kind string, results []itemResult) error {
	g := &cli.Grid{Columns: []cli.Column{{Title: "TOPIC"}, {Title: "RESULT"}, {Title: "DETAIL"}}}
	v := cli.View{Kind: kind, Doc: results, Table: g}
	failed, code := 0, cli.ExitOK
	for _, r := range results {
		level, detail := cli.LevelGood, r.Detail
		if r.code != cli.ExitOK {
			failed, code = failed+1, max(code, r.code)
			level, detail = cli.LevelBad, r.Error
		}
		g.Add(r.Name, cli.Cell{Text: r.Result, Level: level}, detail)
		v.Names = append(v.Names, "topic/"+r.Name)
	}
	if err := app.Print(out, v); err != nil {
		return err
	}
	switch {
	case failed == 0:
		return nil
	case failed == len(results):
		return cli.SilentExit(code)
	}
	return cli.SilentExit(cli.ExitPartial)
}

// parseConfigs reads key=value pairs.
func parseConfigs(pairs []string) (map[string]*string, error) {
	configs := map[string]*string{}
	for _, kv := range pairs {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, cli.Usagef("-c %s: must be key=value", kv)
		}
		configs[k] = &v
	}
	return configs, nil
}

// failedItem is an item with one of Kafka's errors, and what the cluster says of it.
func failedItem(name string, err error, message string) itemResult {
	cause := metaclient.Cause(err)
	if message != "" {
		cause += ": " + message
	}
	return itemResult{Name: name, Result: "failed", Error: cause, code: metaclient.Code(err)}
}

// counted is a number that may be large, with its noun.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return cli.Count(n) + " " + noun + "s"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
