package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
)

type imageOptions struct {
	out cli.Output
	dir string
	at  int64
}

func metadataDumpCommand(app *cli.App) *cobra.Command {
	var o imageOptions
	cmd := &cobra.Command{
		Use: "dump", Short: "Show the whole metadata at an offset of the log",
		Long: `Show the whole metadata at an offset of the log: every topic, partition, broker and setting, one entity per line.

--dir reads the data directory of a node that is stopped. Nothing in it is changed; a directory whose node runs is refused.`,
		Example: "  chronikctl metadata dump\n  chronikctl metadata dump --at 1200 -o json\n  chronikctl metadata dump --dir tests/cluster/data/node1",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDump(cmd.Context(), app, o) },
	}
	o.out.Register(cmd)
	cmd.Flags().StringVar(&o.dir, "dir", "", "read this data `directory` of a stopped node instead of the cluster")
	cmd.Flags().Int64Var(&o.at, "at", -1, "the image after the entry at this `offset`; -1 is the newest")
	return cmd
}

func metadataVerifyCommand(app *cli.App) *cobra.Command {
	var o imageOptions
	cmd := &cobra.Command{
		Use: "verify", Short: "Check the metadata log: checksums, hash chain, applying it, equal hashes on all nodes",
		Long: `Check the metadata log.

Against the cluster: every entry that is kept is read and applied with the server's own code, the hashes in the log are compared with the
image, and the image and the log's hash with what each node says. With --dir: the checksums and the hash chain in the data directory of
a stopped node, its image files, and applying all of it. Nothing is changed; a directory whose node runs is refused.
The exit code is 0 when all is well, 10 when it is not.`,
		Example: "  chronikctl metadata verify\n  chronikctl metadata verify --dir tests/cluster/data/node1 -o json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runVerify(cmd.Context(), app, o) },
	}
	o.out.Register(cmd)
	cmd.Flags().StringVar(&o.dir, "dir", "", "check this data `directory` of a stopped node instead of the cluster")
	return cmd
}

type dumpDoc struct {
	Source   string       `json:"source"`
	Offset   int64        `json:"offset"`
	Hash     string       `json:"hash"`
	Notes    []string     `json:"notes"`
	Entities []dumpEntity `json:"entities"`
}

type dumpEntity struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

func runDump(ctx context.Context, app *cli.App, o imageOptions) error {
	if o.at < -1 {
		return cli.Usagef("--at %d: must not be below -1", o.at)
	}
	var r *metaclient.Replay
	var err error
	if o.dir != "" {
		r, err = readDirectory(o.dir, o.at)
	} else {
		err = withCluster(ctx, app, func(ctx context.Context, c *metaclient.Client) error {
			r, err = c.ImageAt(ctx, o.at)
			return err
		})
	}
	if err != nil {
		return err
	}
	d := dumpDoc{Source: r.Source, Offset: r.Image.Offset(), Hash: r.Image.Hash().String(), Notes: append(r.Notes, r.Problems...), Entities: []dumpEntity{}}
	g := &cli.Grid{Empty: "nothing was decided yet", Columns: []cli.Column{{Title: "ENTITY"}, {Title: "VALUE"}}}
	v := cli.View{Kind: "MetadataImage", Table: g}
	for _, c := range metadata.Diff(metadata.Empty(), r.Image) {
		d.Entities = append(d.Entities, dumpEntity{c.Key, c.After})
		g.Add(cli.Printable(c.Key), cli.Printable(string(c.After)))
		v.Names = append(v.Names, c.Key)
	}
	v.Doc = d
	if err := app.Print(&o.out, v); err != nil {
		return err
	}
	app.Hintf("image at offset %d, hash %s", d.Offset, d.Hash)
	if len(r.Problems) > 0 {
		return &cli.Error{Code: cli.ExitNo, What: "the metadata is not sound", Err: errors.New(r.Problems[0]), Next: "chronikctl metadata verify"}
	}
	return nil
}

type verifyDoc struct {
	*metaclient.Replay
	OK          bool              `json:"ok"`
	ImageOffset int64             `json:"imageOffset"`
	ImageHash   string            `json:"imageHash"`
	Nodes       []metaclient.Node `json:"nodes"`
}

func runVerify(ctx context.Context, app *cli.App, o imageOptions) error {
	d := verifyDoc{Nodes: []metaclient.Node{}}
	var err error
	if o.dir != "" {
		d.Replay, err = readDirectory(o.dir, -1)
	} else {
		err = withCluster(ctx, app, func(ctx context.Context, c *metaclient.Client) error {
			var s *metaclient.Status
			d.Replay, s, err = c.Verify(ctx)
			if err == nil {
				d.Nodes = s.Nodes
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	d.OK, d.ImageOffset, d.ImageHash = len(d.Problems) == 0, d.Image.Offset(), d.Image.Hash().String()
	v := cli.View{Kind: "MetadataVerification", Doc: d}
	v.Text = func(w io.Writer, st cli.Style) error { return writeVerification(w, st, &d) }
	if err := app.Print(&o.out, v); err != nil {
		return err
	}
	if !d.OK {
		return cli.SilentExit(cli.ExitNo)
	}
	return nil
}

func writeVerification(w io.Writer, st cli.Style, d *verifyDoc) error {
	verdict := st.Mark(cli.LevelGood, "SOUND")
	if !d.OK {
		verdict = st.Mark(cli.LevelBad, "NOT SOUND")
	}
	_, err := fmt.Fprintf(w, "%s   %s\nentries %d to %d · %d applied · %d image hashes compared\nimage at offset %d, hash %s\n",
		st.Bold(verdict), d.Source, d.Start, d.Commit-1, d.Entries, d.Hashes, d.ImageOffset, d.ImageHash)
	for _, n := range d.Nodes {
		if err == nil && n.ImageHash != "" {
			_, err = fmt.Fprintf(w, "  node %d: image at offset %d, hash %s; entry %d has hash %s\n", n.ID, n.ImageOffset, n.ImageHash, n.HashOffset, orDash(n.EntryHash))
		}
	}
	for _, p := range d.Problems {
		if err == nil {
			_, err = fmt.Fprintf(w, "  %s\n", st.Mark(cli.LevelBad, cli.Printable(p)))
		}
	}
	for _, p := range d.Notes {
		if err == nil {
			_, err = fmt.Fprintf(w, "  %s\n", st.Dim(cli.Printable(p)))
		}
	}
	return err
}

// withCluster runs fn on a connection within the timeout.
func withCluster(ctx context.Context, app *cli.App, fn func(context.Context, *metaclient.Client) error) error {
	c, err := connect(ctx, app)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := app.WithTimeout(ctx)
	defer cancel()
	return tailError(fn(ctx, c))
}

// readDirectory reads a stopped node's directory, and says what to do when the node is not stopped.
func readDirectory(dir string, at int64) (*metaclient.Replay, error) {
	r, err := metaclient.ReadDirectory(dir, at)
	var locked *vfs.LockedError
	if errors.As(err, &locked) {
		return nil, &cli.Error{Code: cli.ExitFailed, What: "read " + dir, Err: fmt.Errorf("its node runs, as process %d", locked.PID),
			Next: "stop the node, or ask it: the same command without --dir"}
	}
	return r, unreadable("the directory cannot be read", err)
}

// unreadable is the exit code of a directory that cannot be read: 10 where what is in it is to blame, 1 where this user or command is.
func unreadable(what string, err error) error {
	var known *cli.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, fs.ErrPermission):
		return &cli.Error{Code: cli.ExitFailed, What: what, Err: err}
	}
	return &cli.Error{Code: cli.ExitNo, What: what, Err: err}
}
