package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/node"
)

// started is taken as early as Go allows, for the time from start to ready.
var started = time.Now()

// stopWithin bounds a graceful stop.
const stopWithin = 5 * time.Second

func startCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run the node until SIGTERM or SIGINT",
		Long: `Run the node until SIGTERM or SIGINT.

Without a configuration it is a cluster of one node on loopback with its data in ./chronik-data.
A setting is taken from its flag, else from the environment (bind.kafka is CHRONIK_BIND_KAFKA), else from the file.
When it serves, one line "ready" with all addresses goes to standard output; logs go to standard error.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(config.Options{File: file, Flags: cmd.Flags()})
			if err != nil {
				return usageError{err}
			}
			return serve(c)
		},
	}
	cmd.Flags().StringVar(&file, "config", os.Getenv("CHRONIK_CONFIG"), "configuration file (TOML)")
	config.RegisterFlags(cmd.Flags())
	return cmd
}

// serve runs the node between two signals: none and the first. A second one ends the process at once.
func serve(c *config.Config) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	logger := node.NewLogger(os.Stderr, c.LogFormat, c.LogLevel)
	n, err := node.Start(ctx, node.Options{Config: c, Logger: logger, Started: started})
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		logger.Info("stopped cleanly before it served")
		return nil
	}
	if err != nil {
		return err
	}
	node.NewLogger(os.Stdout, c.LogFormat, "info").Info("ready", n.ReadyAttrs()...)
	<-ctx.Done()
	cancel()
	logger.Info("stopping")
	begin := time.Now()
	within, done := context.WithTimeout(context.Background(), stopWithin)
	defer done()
	if err := n.Stop(within); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	logger.Info("stopped cleanly", "ms", time.Since(begin).Milliseconds())
	return nil
}

func formatCommand() *cobra.Command {
	var file, clusterID string
	cmd := &cobra.Command{
		Use:   "format",
		Short: "Give a data directory its identity without starting a node",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(config.Options{File: file, Flags: cmd.Flags()})
			if err != nil {
				return usageError{err}
			}
			id, err := node.Format(c, clusterID)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "formatted %s: cluster %s, node %d, disk %s\n", c.DataDir, id.ClusterID, id.NodeID, id.DiskID)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", os.Getenv("CHRONIK_CONFIG"), "configuration file (TOML)")
	cmd.Flags().StringVar(&clusterID, "cluster-id", "", "id of the cluster; a new one by default")
	config.RegisterFlags(cmd.Flags())
	return cmd
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Work with a configuration"}
	cmd.AddCommand(&cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration and show every setting with its origin",
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(config.Options{File: args[0]})
			if err != nil {
				return usageError{err}
			}
			return c.Report(cmd.OutOrStdout())
		},
	})
	return cmd
}
