package ctl

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

func topicDeleteCommand(app *cli.App) *cobra.Command {
	var out cli.Output
	var change cli.Change
	cmd := &cobra.Command{
		Use: "delete TOPIC...", Aliases: []string{"rm"}, Short: "Delete topics with all their records",
		Long: `Delete topics with all their records.

Shows what will be gone and asks for the cluster's name (the profile's name, else the cluster id).
Without a terminal --yes or --dry-run is required.`,
		Example:           "  chronikctl topic delete orders\n  chronikctl topic delete orders payments --dry-run\n  chronikctl topic delete orders --yes",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeTopics(app),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd.Context(), app)
			if err != nil {
				return err
			}
			defer c.Close()
			return deleteTopics(cmd.Context(), app, c, &out, change, topicNames(args))
		},
	}
	out.Register(cmd)
	change.Register(cmd)
	return cmd
}

func deleteTopics(parent context.Context, app *cli.App, c *metaclient.Client, out *cli.Output, change cli.Change, names []string) error {
	slices.Sort(names)
	names = slices.Compact(names)
	ctx, cancel := app.WithTimeout(parent)
	defer cancel()
	topics, err := c.RequireTopics(ctx, names...)
	if err != nil {
		return err
	}
	if !change.Yes {
		showDeletePlan(ctx, app, c, topics)
	}
	name, err := clusterName(ctx, app, c)
	if err != nil {
		return err
	}
	again := "chronikctl topic delete " + strings.Join(names, " ")
	proceed, err := app.Confirm(change, fmt.Sprintf("Delete %s with all records?", strings.Join(names, ", ")), name, again)
	if err != nil {
		return err
	}
	if !proceed {
		var results []itemResult
		for _, n := range names {
			results = append(results, itemResult{Name: n, Result: "would be deleted", Detail: plural(len(topics[n].Partitions), "partition")})
		}
		return finishItems(app, out, "TopicDeleteResult", results)
	}
	ctx, cancel = app.WithTimeout(parent) // the time at the prompt does not count
	defer cancel()
	resp, err := c.Admin().DeleteTopics(ctx, names...)
	if err != nil {
		return metaclient.Explain("delete "+strings.Join(names, ", "), err)
	}
	var results []itemResult
	for _, n := range names {
		r, ok := resp[n]
		switch {
		case !ok:
			results = append(results, itemResult{Name: n, Result: "failed", Error: "the cluster did not answer for it", code: cli.ExitFailed})
		case r.Err != nil:
			results = append(results, failedItem(n, r.Err, r.ErrMessage))
		default:
			results = append(results, itemResult{Name: n, Result: "deleted", Detail: plural(len(topics[n].Partitions), "partition")})
		}
	}
	return finishItems(app, out, "TopicDeleteResult", results)
}

// showDeletePlan says on standard error what will be gone. Counts are by offsets; they are left out when they cannot be read.
func showDeletePlan(ctx context.Context, app *cli.App, c *metaclient.Client, topics kadm.TopicDetails) {
	starts, errStart := c.Admin().ListStartOffsets(ctx, topics.Names()...)
	ends, errEnd := c.Admin().ListEndOffsets(ctx, topics.Names()...)
	for _, t := range topics.Sorted() {
		line := fmt.Sprintf("  - topic %s, %s", t.Topic, plural(len(t.Partitions), "partition"))
		if errStart == nil && errEnd == nil {
			var records int64
			ends.Each(func(e kadm.ListedOffset) {
				if s, ok := starts.Lookup(e.Topic, e.Partition); ok && e.Topic == t.Topic && e.Err == nil && s.Err == nil {
					records += e.Offset - s.Offset
				}
			})
			line += ", " + counted(records, "record")
		}
		app.Hintf("%s", line)
	}
}

// clusterName is what must be typed where data can be lost.
func clusterName(ctx context.Context, app *cli.App, c *metaclient.Client) (string, error) {
	if name, ok := strings.CutPrefix(c.Target.Source, "profile "); ok {
		return name, nil
	}
	m, err := c.Admin().BrokerMetadata(ctx)
	if err != nil {
		return "", metaclient.Explain("read the cluster's id", err)
	}
	if m.Cluster == "" {
		return "delete", nil
	}
	return m.Cluster, nil
}
