package metalog

import (
	"fmt"
	"log/slog"
	"math"
	"path/filepath"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// Inspection is what the directory of a member that does not run holds.
type Inspection struct {
	Start, Commit, End int64
	Epoch              uint64
	Promised           Ballot
	Fault              *Fault // entries from its offset on count for nothing until they are repaired
	Torn               bool   // the last commit is torn; it was never acknowledged, and a start cuts it
	Damage             []string
	Repaired           []string     // damage that is still in the files, and of which the log says that other members have given again what it held
	Images             []ImageFound // newest first
}

// ImageFound is an image file.
type ImageFound struct {
	End   int64           // it holds the entries below
	Image *metadata.Image // nil if Err
	Err   error
}

// Inspect reads a metadata directory without changing anything, and calls take for every committed entry in it, in order; the hash chain
// was checked by then. Where the log begins at an image that was installed, offsets jump to it. The directory's process must not run.
func Inspect(fsys vfs.FS, dir string, take func(e *Entry) error) (*Inspection, error) {
	out := &Inspection{}
	s := &storage{fs: vfs.ReadOnly(fsys), dir: dir, log: slog.New(slog.DiscardHandler)}
	ends, err := listImages(s.fs, dir)
	if err != nil {
		return nil, err
	}
	var newest *ImageFile
	for _, end := range ends {
		f, im, err := loadImage(s.fs, dir, end)
		out.Images = append(out.Images, ImageFound{End: end, Image: im, Err: err})
		if err == nil && newest == nil {
			newest = f
		}
	}
	staged, _ := s.stagedImage()
	in := inspecting{r: NewRebuilder(nil, metaOf(newest), metaOf(staged), 0), take: take, out: out}
	rec, err := wal.Inspect(wal.Options{FS: s.fs, Dir: filepath.Join(dir, walDir), Logger: s.log, OnFault: func(f wal.Fault) error {
		out.Damage = append(out.Damage, fmt.Sprintf("commits %d to %d, slot %d at %d: %s", f.FromSeq, f.ToSeq, f.Slot, f.Position, f.Why))
		in.r.Gap(f.ToSeq - f.FromSeq + 1)
		return nil
	}}, in.record)
	if err != nil {
		return nil, fmt.Errorf("inspect metadata log: %w", err)
	}
	out.Torn = rec.TornSeq != 0
	r, err := in.r.Finish(int64(rec.LastMark))
	if err != nil {
		return nil, fmt.Errorf("inspect metadata log: %w", err)
	}
	out.Start, out.Commit, out.Promised, out.Fault = r.Start, r.Commit, r.Promised, r.Fault
	out.End = r.Base.End + int64(len(r.Entries))
	out.Epoch = epochBefore(r.Lineage, out.End)
	return out, in.rest(&r)
}

// inspecting hands out entries as soon as they are known to be committed.
type inspecting struct {
	r     *Rebuilder
	out   *Inspection
	take  func(e *Entry) error
	next  int64 // offset of the entry to hand out next
	since int
}

func (in *inspecting) record(rec wal.Record) error {
	return decodeFrames(rec.Kind, rec.Payload, func(f *Frame) error {
		if _, err := in.r.Frame(f); err != nil {
			return err
		}
		if f.Kind == FrameClear {
			in.out.Repaired, in.out.Damage = append(in.out.Repaired, in.out.Damage...), nil
		}
		if in.since++; in.since < 512 {
			return nil
		}
		in.since = 0
		in.next = max(in.next, in.r.Start())
		err := in.give(in.r.Slice(in.next))
		in.r.Trim(in.next)
		return err
	})
}

func (in *inspecting) give(entries []Entry) error {
	for i := range entries {
		if err := in.take(&entries[i]); err != nil {
			return err
		}
		in.next = entries[i].Offset + 1
	}
	return nil
}

// rest hands out what is left up to the commit.
func (in *inspecting) rest(r *Recovered) error {
	in.next = max(in.next, r.Start)
	t := tail{base: r.Base, ents: r.Entries}
	if in.next >= r.Commit {
		return nil
	}
	if in.next < r.Base.End {
		return fmt.Errorf("inspect metadata log: %w: entries from %d to %d are missing", errChain, in.next, r.Base.End-1)
	}
	return in.give(t.slice(in.next, r.Commit, math.MaxInt64))
}
