package metaclient

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metadir"
)

// Replay is a fold over a part of the log, with what was met on the way.
type Replay struct {
	// Source says where it was read: the cluster's addresses, or a directory.
	Source string `json:"source"`
	// Start is the first offset of the log, Commit the one after its last committed entry.
	Start  int64 `json:"start"`
	Commit int64 `json:"commit"`
	// Entries were applied, Hashes of the image in the log were compared with the image.
	Entries int64 `json:"entries"`
	Hashes  int64 `json:"imageHashesCompared"`
	// Problems are what must not be; Notes are not wrong.
	Problems []string `json:"problems"`
	Notes    []string `json:"notes"`

	Image *metadata.Image `json:"-"`
	fold  *Fold
	// seen keeps the image's hash at the offsets that are wanted.
	wanted map[int64]string
}

func newReplay(source string, base *metadata.Image) *Replay {
	return &Replay{Source: source, Problems: []string{}, Notes: []string{}, Image: base, fold: &Fold{Image: base, Complete: true}, wanted: map[int64]string{}}
}

func (r *Replay) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *Replay) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// take applies one entry. It returns false when the fold cannot go on.
func (r *Replay) take(e LogEntry) bool {
	if r.fold.Err != nil {
		return false
	}
	if want := r.fold.Image.Offset() + 1; e.Offset != want {
		if e.Offset < want {
			return true
		}
		r.problem("entries %d to %d are missing", want, e.Offset-1)
	}
	r.fold.Apply(e)
	if r.fold.Err != nil {
		r.problem("%v", r.fold.Err)
		return false
	}
	r.Entries++
	if e.Type == TypeImageHash {
		r.Hashes++
	}
	r.Image = r.fold.Image
	if _, ok := r.wanted[e.Offset]; ok {
		r.wanted[e.Offset] = r.Image.Hash().String()
	}
	return true
}

// baseImage is the image to begin with for an image at or below an offset: a node's, or the empty one if the log is whole.
func (c *Client) baseImage(ctx context.Context, at, start int64) (*BaseImage, error) {
	b, err := c.GetImage(ctx, at)
	if err != nil && start == 0 {
		return &BaseImage{Image: metadata.Empty()}, nil
	}
	return b, err
}

// read folds the entries from the image on, up to an offset, that one included.
func (c *Client) read(ctx context.Context, r *Replay, last int64) error {
	if r.Image.Offset() >= last {
		return nil
	}
	tail, err := c.OpenTail(ctx, r.Image.Offset()+1)
	if err != nil {
		return err
	}
	defer tail.Close()
	for {
		entries, err := tail.Poll(ctx)
		if err != nil {
			return Explain("read the metadata log", err)
		}
		for _, e := range entries {
			if e.Offset > last || !r.take(e) {
				return nil
			}
		}
		if r.Image.Offset() >= last {
			return nil
		}
	}
}

// ImageAt is the cluster's image at an offset, -1 for the newest.
func (c *Client) ImageAt(ctx context.Context, at int64) (*Replay, error) {
	start, end, err := c.LogBounds(ctx)
	if err != nil {
		return nil, err
	}
	if at < 0 {
		at = end - 1
	}
	if at >= end {
		return nil, fmt.Errorf("the metadata log ends at offset %d", end-1)
	}
	b, err := c.baseImage(ctx, at, start)
	if err != nil {
		return nil, err
	}
	r := newReplay(fmt.Sprint(c.Target.Bootstrap), b.Image)
	r.Start, r.Commit = start, end
	if b.Redacted > 0 {
		r.note("%d secrets are not shown, so the hash is not that of the nodes", b.Redacted)
		r.fold.Complete = false
	}
	return r, c.read(ctx, r, at)
}

// Verify folds the whole log and compares the outcome with what each node says.
func (c *Client) Verify(ctx context.Context) (*Replay, *Status, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return nil, nil, err
	}
	start, end, err := c.LogBounds(ctx)
	if err != nil {
		return nil, nil, err
	}
	b, err := c.baseImage(ctx, start-1, start)
	if err != nil {
		return nil, nil, err
	}
	r := newReplay(fmt.Sprint(c.Target.Bootstrap), b.Image)
	r.Start, r.Commit = start, end
	if b.Redacted > 0 {
		r.note("the image before the log has %d secrets that are not shown: hashes of images cannot be compared", b.Redacted)
		r.fold.Complete = false
	}
	last := end - 1
	for _, n := range status.Nodes {
		if n.ImageHash != "" && n.ImageOffset >= b.Image.Offset() {
			r.wanted[n.ImageOffset] = ""
			last = max(last, n.ImageOffset)
		}
	}
	if err := c.read(ctx, r, last); err != nil {
		return nil, nil, err
	}
	for _, n := range status.Nodes {
		switch have := r.wanted[n.ImageOffset]; {
		case n.ImageHash == "":
			r.note("node %d says nothing of its image: %s", n.ID, n.State)
		case r.fold.Complete && have != "" && have != n.ImageHash:
			r.problem("node %d: its image at offset %d has hash %s, and the log makes %s", n.ID, n.ImageOffset, n.ImageHash, have)
		}
	}
	if status.HashesDiffer {
		for _, f := range status.Findings {
			if f.Next == "chronikctl metadata verify" {
				r.problem("%s", f.Text)
			}
		}
	}
	return r, status, nil
}

// requireDataDirectory refuses what is no data directory at all: nothing can be said of that, sound or not. A *cli.Error says what it is.
func requireDataDirectory(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cli.Failf("directory %s does not exist", dir)
	case errors.Is(err, fs.ErrPermission):
		return cli.Failf("directory %s may not be read by this user", dir)
	case err != nil:
		return &cli.Error{Code: cli.ExitFailed, What: "read directory " + dir, Err: err}
	case !info.IsDir():
		return cli.Failf("%s is no directory", dir)
	}
	for _, name := range []string{"meta.properties", "metadata"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil // it may be there and unreadable
		}
	}
	return cli.Failf("%s is not the data directory of a node: it has no meta.properties", dir)
}

// ReadDirectory folds the metadata in the data directory of a node that does not run, up to an offset (-1: all).
func ReadDirectory(dir string, at int64) (*Replay, error) {
	if err := requireDataDirectory(dir); err != nil {
		return nil, err
	}
	// Two readings: the first finds the images and checks everything, the second begins at the oldest one that the log continues.
	report, err := metadir.Read(dir, func(*metadir.Entry) error { return nil })
	if err != nil {
		return nil, err
	}
	base := metadata.Empty()
	if report.Start > 0 {
		// Newest first: the last one is the oldest from which the log goes on.
		base = nil
		for _, im := range report.Images {
			if im.Err == nil && im.Offset+1 >= report.Start && (at < 0 || im.Offset <= at) {
				base = im.Image
			}
		}
		if base == nil {
			return nil, fmt.Errorf("read directory %s: the log begins at %d, and there is no image to begin with", dir, report.Start)
		}
	}
	r := newReplay(dir, base)
	r.Start, r.Commit = report.Start, report.Commit
	for _, im := range report.Images {
		if im.Err == nil {
			r.wanted[im.Offset] = ""
		}
	}
	if _, err := metadir.Read(dir, func(e *metadir.Entry) error {
		if at < 0 || e.Offset <= at {
			r.take(RebuildEntry(e.Offset, e.Epoch, time.Time{}, "", e.Kind, hex.EncodeToString(e.Hash[:]), e.Payload))
		}
		return nil
	}); err != nil {
		return nil, err
	}
	r.judgeReport(report)
	return r, nil
}

func (r *Replay) judgeReport(report *metadir.Report) {
	for _, d := range report.Damage {
		r.problem("damaged: %s", d)
	}
	for _, d := range report.Repaired {
		r.note("was damaged, and is repaired from the other nodes: %s", d)
	}
	if report.FaultFrom >= 0 {
		r.problem("entries from %d on may have been lost on this disk; the node repairs them from others when it starts", report.FaultFrom)
	}
	if report.Torn {
		r.note("the last write was cut short; nothing in it was acknowledged, and the next start removes it")
	}
	if n := report.End - report.Commit; n > 0 {
		r.note("%d entries at the end are not known to be committed", n)
	}
	for _, im := range report.Images {
		switch have := r.wanted[im.Offset]; {
		case im.Err != nil:
			r.problem("the image at %d cannot be read: %v", im.Offset, im.Err)
		case have != "" && have != im.Image.Hash().String():
			r.problem("the image file at %d has hash %s, and the log makes %s", im.Offset, im.Image.Hash(), have)
		}
	}
}
