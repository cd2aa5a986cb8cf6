package ctl

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
)

type createOptions struct {
	out         cli.Output
	partitions  int32
	replication int16
	configs     []string
	ifNotExists bool
	dryRun      bool
}

func topicCreateCommand(app *cli.App) *cobra.Command {
	var o createOptions
	cmd := &cobra.Command{
		Use: "create TOPIC...", Short: "Create topics",
		Example: "  chronikctl topic create orders\n  chronikctl topic create orders -p 12 -r 3 -c retention.ms=86400000\n  chronikctl topic create a b c --if-not-exists",
		Args:    cobra.MinimumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd.Context(), app)
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, cancel := app.WithTimeout(cmd.Context())
			defer cancel()
			return createTopics(ctx, app, c, o, args)
		},
	}
	o.out.Register(cmd)
	f := cmd.Flags()
	f.Int32VarP(&o.partitions, "partitions", "p", -1, "partitions of each topic; -1 for the cluster's default")
	f.Int16VarP(&o.replication, "replication-factor", "r", -1, "replicas of each partition; -1 for the cluster's default")
	f.StringArrayVarP(&o.configs, "topic-config", "c", nil, "a topic setting, `key=value`; may be given again")
	f.BoolVar(&o.ifNotExists, "if-not-exists", false, "a topic that exists is no error")
	f.BoolVar(&o.dryRun, "dry-run", false, "let the cluster check everything, and create nothing")
	return cmd
}

func createTopics(ctx context.Context, app *cli.App, c *metaclient.Client, o createOptions, names []string) error {
	configs, err := parseConfigs(o.configs)
	if err != nil {
		return err
	}
	if o.partitions == 0 || o.partitions < -1 || o.replication == 0 || o.replication < -1 {
		return cli.Usagef("--partitions and --replication-factor must be above 0, or -1 for the cluster's default")
	}
	if slices.Contains(names, "") {
		return cli.Usagef("a topic's name must not be empty")
	}
	slices.Sort(names)
	names = slices.Compact(names)
	create := c.Admin().CreateTopics
	if o.dryRun {
		create = c.Admin().ValidateCreateTopics
	}
	resp, err := create(ctx, o.partitions, o.replication, configs, names...)
	if err != nil {
		return metaclient.Explain("create "+strings.Join(names, ", "), err)
	}
	results := make([]itemResult, 0, len(names))
	for _, n := range names {
		results = append(results, createResult(n, resp[n], o))
	}
	if o.dryRun {
		app.Hintf("dry run: nothing was created")
	}
	return finishItems(app, &o.out, "TopicCreateResult", results)
}

func createResult(name string, r kadm.CreateTopicResponse, o createOptions) itemResult {
	switch {
	case r.Topic == "":
		return itemResult{Name: name, Result: "failed", Error: "the cluster did not answer for it", code: cli.ExitFailed}
	case errors.Is(r.Err, kerr.TopicAlreadyExists) && o.ifNotExists:
		return itemResult{Name: name, Result: "exists"}
	case r.Err != nil:
		return failedItem(name, r.Err, r.ErrMessage)
	}
	detail := ""
	if r.NumPartitions > 0 {
		detail = plural(int(r.NumPartitions), "partition") + ", " + plural(int(r.ReplicationFactor), "replica")
	}
	if o.dryRun {
		return itemResult{Name: name, Result: "would be created", Detail: detail}
	}
	return itemResult{Name: name, Result: "created", Detail: detail}
}
