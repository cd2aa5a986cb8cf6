package ctl

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

// Tool is chronikctl.
var Tool = cli.Tool{
	Name:  "chronikctl",
	Short: "Operate a Chronik cluster, and read and write its records",
	Long: `chronikctl operates a Chronik cluster and reads and writes records.

It speaks Kafka's protocol, so topics, produce and consume work against any Kafka-compatible cluster.
Exit codes: 0 ok, 1 failed, 2 usage, 3 unreachable or timed out, 4 denied, 5 some items failed, 6 declined,
10 the answer is no (unhealthy), 130 interrupted.`,
	Build: build,
}

func build(app *cli.App, root *cobra.Command) {
	cluster := &cobra.Command{Use: "cluster", Short: "The cluster's state"}
	cluster.AddCommand(statusCommand(app))
	topic := &cobra.Command{Use: "topic", Aliases: []string{"topics"}, Short: "List, describe, create and delete topics"}
	topic.AddCommand(topicListCommand(app), topicDescribeCommand(app), topicCreateCommand(app), topicDeleteCommand(app))
	partition := &cobra.Command{Use: "partition", Aliases: []string{"partitions"}, Short: "Leaders, in-sync replicas, and whether replicas are equal"}
	partition.AddCommand(partitionListCommand(app), partitionStatusCommand(app), partitionVerifyCommand(app))
	meta := &cobra.Command{Use: "metadata", Short: "The metadata log: every change of the cluster, in order"}
	meta.AddCommand(metadataTailCommand(app), metadataDumpCommand(app), metadataVerifyCommand(app))
	root.AddCommand(statusCommand(app), cluster, topic, partition, produceCommand(app), consumeCommand(app), meta)
}

// connect opens a client, or an error with an exit code.
func connect(ctx context.Context, app *cli.App) (*metaclient.Client, error) {
	return metaclient.Connect(ctx, app)
}

// completeTopics completes topic names after the arguments that are there already.
func completeTopics(app *cli.App) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		c, err := metaclient.Open(app)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		names := app.CompleteNames("topics "+strings.Join(c.Target.Bootstrap, ","), prefix, func(within time.Duration) ([]string, error) {
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			return c.TopicNames(ctx)
		})
		return without(names, args), cobra.ShellCompDirectiveNoFileComp
	}
}

func without(names, drop []string) []string {
	var out []string
	for _, n := range names {
		used := false
		for _, d := range drop {
			used = used || d == n
		}
		if !used {
			out = append(out, n)
		}
	}
	return out
}
