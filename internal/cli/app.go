package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/version"
)

// App is one run of a tool: its environment, its common flags and its style.
type App struct {
	*Env
	Flags
	Name string // of the binary; also the client software name that brokers see
}

// Tool describes a binary to Main.
type Tool struct {
	Name, Short, Long string
	// Build adds the commands (or the root's own Run) to root.
	Build func(app *App, root *cobra.Command)
}

// NewRoot builds the tool's root command with the common flags, `version` and `completion`.
func NewRoot(app *App, tool Tool) *cobra.Command {
	app.Name = tool.Name
	root := &cobra.Command{
		Use: tool.Name, Short: tool.Short, Long: tool.Long,
		SilenceErrors: true, SilenceUsage: true,
		Version:           version.Version,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(*cobra.Command, []string) error { return app.check() },
	}
	root.SetIn(app.In)
	root.SetOut(app.Out)
	root.SetErr(app.Err)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetUsageTemplate(usageTemplate)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return flagError(c, err) })
	app.register(root)
	tool.Build(app, root)
	root.AddCommand(versionCommand(app), completionCommand(app))
	root.SetHelpCommand(&cobra.Command{Hidden: true, Use: "no-help"})
	root.InitDefaultHelpFlag()
	requireKnownCommands(root)
	root.SetGlobalNormalizationFunc(normalizeFlag)
	return root
}

// Main runs the tool and returns the exit code. It is the only place where an error becomes a code. The first Ctrl-C lets the tool end as
// it should; the second one ends the process, whatever it waits for.
func Main(env *Env, tool Tool, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	return Run(ctx, env, tool, args)
}

// Run is Main without signals, for tests.
func Run(ctx context.Context, env *Env, tool Tool, args []string) int {
	app := &App{Env: env}
	root := NewRoot(app, tool)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code := ExitCode(err)
	if err != nil && ctx.Err() != nil && code != ExitNo {
		if e := (*Error)(nil); !errors.As(err, &e) || e.Code == ExitUnreachable || e.Code == ExitFailed {
			code = ExitInterrupted
		}
	}
	if err != nil && code != ExitInterrupted {
		app.report(err)
	}
	return code
}

// report prints an error for a person: what, why, next.
func (a *App) report(err error) {
	var e *Error
	if errors.As(err, &e) && e.Silent {
		return
	}
	st := a.ErrStyle()
	fmt.Fprintf(a.Err, "%s %s\n", st.Bad(a.Name+":"), Printable(err.Error()))
	if e != nil && e.Next != "" {
		for i, line := range strings.Split(e.Next, "\n") {
			lead := "      "
			if i == 0 {
				lead = "next: "
			}
			fmt.Fprintf(a.Err, "%s%s\n", st.Dim(lead), line)
		}
	}
}

// check validates the common flags.
func (a *App) check() error {
	switch a.Color {
	case "auto", "always", "never":
	default:
		return Usagef("--color %s: must be auto, always or never", a.Color)
	}
	if a.Timeout <= 0 {
		return Usagef("--timeout must be above zero")
	}
	return nil
}

// Hintf writes a line to standard error unless --quiet.
func (a *App) Hintf(format string, args ...any) {
	if !a.Quiet {
		fmt.Fprintf(a.Err, format+"\n", args...)
	}
}

// Verbosef writes a line to standard error with --verbose.
func (a *App) Verbosef(format string, args ...any) {
	if a.Verbose {
		fmt.Fprintf(a.Err, format+"\n", args...)
	}
}

// WithTimeout bounds one exchange with the cluster by --timeout.
func (a *App) WithTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.Timeout)
}

func versionCommand(app *App) *cobra.Command {
	out := &Output{Formats: []Format{Table, JSON, YAML}}
	cmd := &cobra.Command{
		Use: "version", Short: "Show the version of this binary", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			type doc struct {
				Name    string `json:"name"`
				Version string `json:"build"`
				Go      string `json:"go"`
			}
			d := doc{app.Name, version.Version, goVersion()}
			return app.Print(out, View{Kind: "Version", Doc: d, Text: func(w io.Writer, _ Style) error {
				_, err := fmt.Fprintf(w, "%s %s (%s)\n", d.Name, d.Version, d.Go)
				return err
			}})
		},
	}
	out.Register(cmd)
	return cmd
}

// flagError adds the nearest flag to cobra's complaint.
func flagError(c *cobra.Command, err error) error {
	e := &Error{Code: ExitUsage, What: FlagError(err).Error(), Next: c.CommandPath() + " --help"}
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		if s := Nearest(name, flagNames(c)); s != "" {
			e.What += fmt.Sprintf(" (did you mean --%s?)", s)
		}
	}
	if _, value, ok := strings.Cut(err.Error(), "missing unit in duration "); ok {
		e.What += fmt.Sprintf(" (did you mean %ss?)", strings.Trim(value, `"`))
	}
	return e
}

// requireKnownCommands makes a group command without a runnable body refuse words that are no command of it.
func requireKnownCommands(c *cobra.Command) {
	for _, sub := range c.Commands() {
		requireKnownCommands(sub)
	}
	if c.RunE != nil || c.Run != nil || !c.HasSubCommands() {
		return
	}
	c.Args = cobra.ArbitraryArgs
	c.Annotations = map[string]string{"group": "true"}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		e := Usagef("unknown command %q for %s", args[0], cmd.CommandPath())
		if s := Nearest(args[0], names); s != "" {
			return e.WithNext("%s %s", cmd.CommandPath(), s)
		}
		return e.WithNext("%s --help", cmd.CommandPath())
	}
}

const usageTemplate = `Usage:{{if and .Runnable (not (index .Annotations "group"))}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}{{if gt (len .Aliases) 0}}

Aliases:
  {{.NameAndAliases}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}
`
