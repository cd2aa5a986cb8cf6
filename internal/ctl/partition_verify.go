package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/vfs"
)

func partitionVerifyCommand(app *cli.App) *cobra.Command {
	var out cli.Output
	var dirs []string
	cmd := &cobra.Command{
		Use: "verify [TOPIC...]", Short: "Compare every replica's own log: are all of them equal",
		Long: `Compare every replica's own log, of the topics named or of all.

Against the cluster: each node reads and verifies what it has itself, whoever leads, below the high watermark. A replica in sync must have all
that is committed, another one is compared as far as it knows its log to be committed.
With --dir, once for each node: the same from the data directories of nodes that are stopped, read by the server's recovery code. Nothing in
them is changed; a directory whose node runs is refused.
The exit code is 0 when all are equal, 10 when one differs, is damaged or lacks records, 5 when none does and one could not be asked.`,
		Example:           "  chronikctl partition verify\n  chronikctl partition verify orders -o json\n  chronikctl partition verify --dir node1/data --dir node2/data --dir node3/data",
		ValidArgsFunction: completeTopics(app),
		RunE: func(cmd *cobra.Command, topics []string) error {
			r, err := verifyReplicas(cmd.Context(), app, dirs, topics)
			if err != nil {
				return err
			}
			if err := app.Print(&out, replicaView(r, out.Format == cli.Wide)); err != nil {
				return err
			}
			switch r.Verdict {
			case metaclient.Equal:
				return nil
			case metaclient.Unchecked:
				return cli.SilentExit(cli.ExitPartial)
			}
			return cli.SilentExit(cli.ExitNo)
		},
	}
	out.Register(cmd)
	cmd.Flags().StringArrayVar(&dirs, "dir", nil, "compare this data `directory` of a stopped node with the others given; once for each")
	return cmd
}

func verifyReplicas(ctx context.Context, app *cli.App, dirs, topics []string) (*metaclient.ReplicaReport, error) {
	if len(dirs) == 0 {
		c, err := connect(ctx, app)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return c.CheckReplicas(ctx, topics...) // as long as it takes; no node can hold it up for longer than one request
	}
	r, err := metaclient.CheckDirectories(dirs, topics...)
	var locked *vfs.LockedError
	if errors.As(err, &locked) {
		return nil, &cli.Error{Code: cli.ExitFailed, What: "read " + locked.Dir, Err: fmt.Errorf("its node runs, as process %d", locked.PID),
			Next: "stop the node, or ask it: the same command without --dir"}
	}
	return r, unreadable("a directory cannot be read", err)
}

var verdictLevels = map[metaclient.Verdict]cli.Level{metaclient.Equal: cli.LevelGood, metaclient.Unchecked: cli.LevelWarn,
	metaclient.Short: cli.LevelBad, metaclient.Damaged: cli.LevelBad, metaclient.Differs: cli.LevelBad}

// replicaView shows one line for each partition, or for each replica where wide is set or what reads it is a program.
func replicaView(r *metaclient.ReplicaReport, wide bool) cli.View {
	flat := &cli.Grid{Columns: []cli.Column{{Title: "TOPIC"}, {Title: "PARTITION", Right: true}, {Title: "NODE", Right: true}, {Title: "ISR"}, {Title: "EPOCH", Right: true}, {Title: "START", Right: true},
		{Title: "END", Right: true}, {Title: "COMPARED", Right: true}, {Title: "BATCHES", Right: true}, {Title: "CHECKSUM"}, {Title: "STATE"}, {Title: "DETAIL"}}}
	v := cli.View{Kind: "ReplicaVerification", Doc: r, Table: flat}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		v.Names = append(v.Names, fmt.Sprintf("partition/%s-%d", p.Topic, p.Partition))
		for _, x := range p.Replicas {
			in := "out"
			if x.InSync {
				in = "in"
			}
			flat.Add(p.Topic, p.Partition, x.Node, in, x.LeaderEpoch, x.StartOffset, x.EndOffset, x.ComparedTo, x.Batches, x.Checksum,
				cli.Cell{Text: string(x.Verdict), Level: verdictLevels[x.Verdict]}, x.Detail)
		}
	}
	if !wide {
		v.Text = func(w io.Writer, st cli.Style) error { return writeReplicas(w, st, r) }
	}
	return v
}

// writeReplicas shows one line for each partition, and below what is wrong and with which replica.
func writeReplicas(w io.Writer, st cli.Style, r *metaclient.ReplicaReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s   %s\n%s\n\n", st.Bold(st.Mark(verdictLevels[r.Verdict], strings.ToUpper(string(r.Verdict)))), r.Source, st.Dim(comparedLine(r)))
	g := &cli.Grid{Empty: "no partitions", Columns: []cli.Column{{Title: "TOPIC"}, {Title: "PARTITION", Right: true}, {Title: "LEADER", Right: true}, {Title: "FROM", Right: true},
		{Title: "TO", Right: true}, {Title: "BATCHES", Right: true}, {Title: "CHECKSUM"}, {Title: "REPLICAS"}, {Title: "STATE"}}}
	empty := 0
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if p.Verdict == metaclient.Equal && p.From == p.To && len(r.Partitions) > 10 {
			empty++
			continue
		}
		checksum, n := "-", "-"
		var ids []int32
		for _, x := range p.Replicas {
			ids = append(ids, x.Node)
			if checksum == "-" && x.ComparedTo >= 0 {
				checksum, n = x.Checksum, cli.Count(x.Batches)
			}
		}
		g.Add(p.Topic, p.Partition, leaderOf(p.Leader), countOrDash(p.From), countOrDash(p.To), n, checksum, idList(ids), cli.Cell{Text: string(p.Verdict), Level: verdictLevels[p.Verdict]})
	}
	if err := g.Write(&b, st, false); err != nil {
		return err
	}
	if empty > 0 {
		b.WriteString(st.Dim(fmt.Sprintf("and %s without records", plural(empty, "partition"))) + "\n")
	}
	writeReplicaTrouble(&b, st, r)
	_, err := io.WriteString(w, b.String())
	return err
}

// comparedLine says how much was compared, and on how many of the replicas.
func comparedLine(r *metaclient.ReplicaReport) string {
	replicas, whole, missing := 0, 0, 0
	for i := range r.Partitions {
		p := &r.Partitions[i]
		equal := 0
		for _, x := range p.Replicas {
			if x.Verdict == metaclient.Equal && x.ComparedTo == p.To {
				equal++
			}
		}
		replicas += len(p.Replicas)
		missing += len(p.Replicas) - equal
		if equal == len(p.Replicas) {
			whole++
		}
	}
	line := fmt.Sprintf("%s · %s · %s", plural(len(r.Partitions), "partition"), plural(replicas, "replica"), batches(r.Batches))
	switch {
	case len(r.Partitions) == 0:
		return line
	case missing == 0:
		return line + ", each on every replica"
	}
	return fmt.Sprintf("%s; %d of %s compared on every replica, %s not or not to the end", line, whole, plural(len(r.Partitions), "partition"), plural(missing, "replica"))
}

func writeReplicaTrouble(b *strings.Builder, st cli.Style, r *metaclient.ReplicaReport) {
	title := "\n" + st.Bold("why") + "\n"
	for i := range r.Partitions {
		p := &r.Partitions[i]
		for _, x := range p.Replicas {
			if x.Verdict == metaclient.Equal {
				continue
			}
			fmt.Fprintf(b, "%s  %s\n", title, st.Mark(verdictLevels[x.Verdict], cli.Printable(fmt.Sprintf("%s-%d on node %d is %s: %s", p.Topic, p.Partition, x.Node, verdictWords[x.Verdict], x.Detail))))
			title = ""
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "  %s\n", st.Dim(cli.Printable(n)))
	}
}

var verdictWords = map[metaclient.Verdict]string{metaclient.Unchecked: "unchecked", metaclient.Short: "short", metaclient.Damaged: "damaged", metaclient.Differs: "different"}

func leaderOf(id int32) string {
	if id < 0 {
		return "-"
	}
	return fmt.Sprint(id)
}

func batches(n int64) string {
	if n == 1 {
		return "1 batch"
	}
	return cli.Count(n) + " batches"
}
