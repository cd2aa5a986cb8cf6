// Command chronik-server runs one node of a Chronik cluster.
//
// Exit codes: 0 stopped as asked, 1 not started, 2 wrong command line or configuration, 3 stopped by a fatal error (disk,
// corruption, broken invariant), 4 stopped as asked but not within the time for it.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/node"
	"github.com/chronik-io/chronik/internal/version"
)

// Exit codes of the server. node.ExitFatal is 3.
const (
	exitFailed = 1
	exitUsage  = 2
	exitSlow   = 4
)

// usageError marks an error of the command line or configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	root := &cobra.Command{
		Use:           "chronik-server",
		Short:         "One node of a Chronik cluster, a durable broker that speaks Kafka's protocol",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Version,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{fmt.Errorf("unknown command %q (there are start, format, config check and version)", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetArgs(args)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{cli.FlagError(err)} })
	root.AddCommand(startCommand(), formatCommand(), configCommand(), versionCommand())
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "chronik-server: %v\n", err)
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, node.ErrStopTimeout):
		return exitSlow
	default:
		return exitFailed
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "chronik-server", version.Version)
			return err
		},
	}
}

// noArgs refuses arguments as a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}
