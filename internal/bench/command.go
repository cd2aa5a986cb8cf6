package bench

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chronik-io/chronik/internal/cli"
)

// textFormat is the report for a person.
const textFormat cli.Format = "text"

// Tool is chronik-bench.
var Tool = cli.Tool{
	Name:  "chronik-bench",
	Short: "Measure a Kafka-compatible cluster, and check that it kept what it acknowledged",
	Long: `chronik-bench measures a Kafka-compatible cluster, and checks that it kept what it acknowledged.

Load models: closed loop (--concurrency N: N records outstanding, the default), open loop (--rate R: latency from the
intended start), async (--async: throughput only). Every record carries its producer, sequence and CRC.
Exit codes: 0 ok, 1 failed or records damaged, 2 usage, 3 unreachable, 4 denied, 5 some records failed, 130 interrupted.`,
	Build: build,
}

func build(app *cli.App, root *cobra.Command) {
	o := &Options{given: map[string]bool{}, out: cli.Output{Formats: []cli.Format{textFormat, cli.JSON, cli.YAML}}}
	o.register(root.Flags())
	o.out.Register(root)
	root.Use = "chronik-bench"
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && slices.Contains(modes, args[0]) {
			return cli.Usagef("%s is a mode, not a command", args[0]).WithNext("%s --mode %s", cmd.CommandPath(), args[0])
		}
		return cobra.NoArgs(cmd, args)
	}
	root.Example = `  chronik-bench --acks all --concurrency 128
  chronik-bench --bootstrap-servers 127.0.0.1:9092 --topic perf --mode produce --concurrency 128 --message-size 1024 \
    --duration 30s --acks all --partitions 3 --replication-factor 3 --create-topic
  chronik-bench --keyed --clients 128 --concurrency 128 --verify
  chronik-bench --async --duration 10s
  chronik-bench --mode e2e --rate 5000
  chronik-bench --mode consume
  chronik-bench --mode metadata --ops create,delete --concurrency 64 --duration 10s -o json`
	for flag, values := range map[string][]string{"mode": modes, "acks": {"all", "1", "0"},
		"compression": {"none", "gzip", "snappy", "lz4", "zstd"}, "payload": {payloadRandom, payloadJSON}, "ops": allOps} {
		_ = root.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		cmd.Flags().Visit(func(f *pflag.Flag) { o.given[f.Name] = true })
		return runBench(cmd.Context(), app, o)
	}
}

func runBench(ctx context.Context, app *cli.App, o *Options) error {
	if err := o.complete(); err != nil {
		return err
	}
	rep, err := execute(ctx, app, o)
	if err != nil {
		return err
	}
	v := cli.View{Kind: "BenchReport", Doc: rep, Text: func(w io.Writer, st cli.Style) error { return rep.writeText(w, st) }}
	if err := app.Print(&o.out, v); err != nil {
		return err
	}
	return rep.exit()
}
