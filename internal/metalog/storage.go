package metalog

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// storage keeps a core's frames in a wal and its images in files. write belongs to the owner goroutine; read may be called by anybody.
type storage struct {
	fs     vfs.FS
	dir    string
	wal    *wal.WAL
	sub    wal.Sub
	index  index
	mark   atomic.Int64 // the known commit, for the header of each commit
	scrape []byte       // reused by write

	imageSize int64 // bytes of the newest image file at the start
	replayed  int64 // bytes of the entries after it that the start had to apply

	log *slog.Logger

	imageMu sync.Mutex // guards the image files
}

const (
	walDir = "log"
	// maxRecordBytes is the size at which entries go into the next record.
	maxRecordBytes = 1 << 20
)

// openStorage replays the directory. durable is called, on the wal's goroutine, with the last batch that is on disk.
func openStorage(o *Options, durable func(batch int64), fatal func(error)) (*storage, Recovered, *metadata.Image, error) {
	s := &storage{fs: o.FS, dir: o.Dir, log: o.Logger}
	s.sub.Durable = durable
	fail := func(err error) (*storage, Recovered, *metadata.Image, error) { return nil, Recovered{}, nil, err }
	if err := o.FS.MkdirAll(filepath.Join(o.Dir, walDir), 0o700); err != nil {
		return fail(fmt.Errorf("make metadata directory: %w", err))
	}
	if err := o.FS.SyncDir(o.Dir); err != nil {
		return fail(fmt.Errorf("sync metadata directory: %w", err))
	}
	file, im, err := s.newestImage()
	if err != nil {
		return fail(err)
	}
	staged, stagedImage := s.stagedImage()
	rp := replay{s: s, image: im, applied: im.Offset() + 1, staged: stagedImage}
	rp.r = NewRebuilder(o.Genesis.Founders, metaOf(file), metaOf(staged), o.TailBytes)
	w, rec, err := wal.Open(wal.Options{
		FS: o.FS, Dir: filepath.Join(o.Dir, walDir), SlotBytes: o.SlotBytes,
		MaxBytes:  historyFactor*o.HistoryBytes + 16*o.SlotBytes,
		RingBytes: min(o.TailBytes, 4*o.SlotBytes), Reserve: 1, Logger: o.Logger, OnFatal: fatal,
		Mark: func() uint64 { return uint64(s.mark.Load()) },
		OnFault: func(f wal.Fault) error {
			o.Logger.Error("metadata log: damaged commits", "from", f.FromSeq, "to", f.ToSeq, "slot", f.Slot, "why", f.Why)
			rp.r.Gap(f.ToSeq - f.FromSeq + 1)
			return nil
		},
	}, rp.record)
	if err != nil {
		return fail(fmt.Errorf("open metadata log: %w", err))
	}
	s.wal = w
	r, err := rp.r.Finish(int64(rec.LastMark))
	if err == nil && rp.r.StagedInForce() {
		_, err = s.promoteStaged(staged.Meta.At.End)
	}
	if err == nil {
		err = rp.finish(r)
	}
	if err != nil {
		_ = w.Close() // the first error says more
		return fail(fmt.Errorf("recover metadata log: %w", err))
	}
	s.mark.Store(r.Commit)
	s.replayed = rp.bytes
	o.Logger.Info("metadata log recovered", "start", r.Start, "commit", r.Commit, "end", s.endOf(r), "image", r.Image.End,
		"epoch", epochBefore(r.Lineage, s.endOf(r)), "fault", r.Fault != nil, "records", rec.Records, "elapsed", rec.Elapsed)
	return s, r, rp.image, nil
}

func (s *storage) endOf(r Recovered) int64 { return r.Base.End + int64(len(r.Entries)) }

// newestImage loads the newest image file that can be read; an empty image if there is no file at all.
func (s *storage) newestImage() (*ImageFile, *metadata.Image, error) {
	ends, err := listImages(s.fs, s.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, end := range ends {
		f, im, err := loadImage(s.fs, s.dir, end)
		if err == nil {
			s.imageSize = int64(len(f.Data))
			return f, im, nil
		}
		s.log.Error("metadata log: image not readable, taking the one before", "end", end, "err", err)
	}
	return nil, metadata.Empty(), nil
}

// replay rebuilds log, index and image while the wal is read.
type replay struct {
	s       *storage
	r       *Rebuilder
	image   *metadata.Image
	applied int64
	staged  *metadata.Image // of the image that was being installed
	since   int             // entries since the image was brought up
	bytes   int64           // of the entries applied to the newest image
}

func (rp *replay) record(rec wal.Record) error {
	ms, indexedHere := frameTime(rec.Payload), false
	return decodeFrames(rec.Kind, rec.Payload, func(f *Frame) error {
		start := rp.r.Start()
		appended, err := rp.r.Frame(f)
		if err != nil {
			return err
		}
		if rp.staged != nil && rp.r.StagedInForce() {
			rp.image, rp.applied, rp.staged, rp.bytes = rp.staged, rp.staged.Offset()+1, nil, 0
		}
		if rp.r.Start() != start {
			rp.s.index.clear()
			indexedHere = false
		}
		switch {
		case appended && !indexedHere:
			rp.s.index.add(indexed{first: f.Entry.Offset, ms: ms, ref: rec.Ref})
			indexedHere = true
		case !appended:
			rp.s.index.cut(rp.r.End())
		}
		if rp.since++; rp.since < 512 {
			return nil
		}
		rp.since = 0
		err = rp.apply(rp.r.Slice(rp.applied))
		rp.r.Trim(rp.applied)
		return err
	})
}

// apply brings the image up by entries that are known to be committed.
func (rp *replay) apply(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	im, err := applyEntries(rp.image, entries, nil)
	if err != nil {
		return err
	}
	rp.image, rp.applied = im, rp.applied+int64(len(entries))
	for i := range entries {
		rp.bytes += entries[i].encodedSize()
	}
	return nil
}

// finish applies the rest, up to the commit.
func (rp *replay) finish(r Recovered) error {
	n := r.Commit - rp.applied
	if n <= 0 {
		return nil
	}
	skip := rp.applied - r.Base.End
	if skip < 0 || skip+n > int64(len(r.Entries)) {
		return fmt.Errorf("apply from %d to %d: %w: entries from %d on are here", rp.applied, r.Commit, errChain, r.Base.End)
	}
	return rp.apply(r.Entries[skip : skip+n])
}

// write appends the frames of a batch. The batch counts as durable when its last record is.
func (s *storage) write(batch int64, frames []Frame) error {
	now := time.Now().UnixMilli()
	for i := 0; i < len(frames); {
		n := i + 1
		if frames[i].Kind == FrameEntry {
			n = i + entriesInRecord(frames[i:])
		}
		mark := batch - 1
		if n == len(frames) {
			mark = batch
		}
		s.scrape = s.scrape[:0]
		if frames[i].Kind == FrameEntry {
			s.scrape = appendFrameHeader(s.scrape, frames[i].Known, now)
			for j := i; j < n; j++ {
				s.scrape = appendEntry(s.scrape, &frames[j].Entry)
			}
		} else {
			s.scrape = appendFrame(s.scrape, &frames[i], now)
		}
		ref, err := s.wal.Append(uint8(frames[i].Kind), len(s.scrape), func(dst []byte) { copy(dst, s.scrape) }, &s.sub, mark)
		if err != nil {
			return fmt.Errorf("append to metadata log: %w", err)
		}
		switch frames[i].Kind {
		case FrameEntry:
			s.index.add(indexed{first: frames[i].Entry.Offset, ms: now, ref: ref})
		case FrameTruncate:
			s.index.cut(frames[i].Offset)
		case FrameReset:
			s.index.clear()
		}
		i = n
	}
	return nil
}

// entriesInRecord counts the leading entries that go into one record: whole groups only, so that a torn commit cannot part them.
func entriesInRecord(frames []Frame) int {
	n, size := 0, int64(0)
	for i := range frames {
		if frames[i].Kind != FrameEntry {
			break
		}
		size += frames[i].Entry.encodedSize()
		if size > maxRecordBytes && n > 0 {
			break
		}
		if !frames[i].Entry.More {
			n = i + 1
		}
	}
	return max(n, 1)
}

// read returns entries from an offset on, below limit: at least one, about maxBytes.
func (s *storage) read(offset, limit, maxBytes int64) ([]Entry, error) {
	var out []Entry
	size := int64(0)
	for offset < limit && (size < maxBytes || len(out) > 0 && out[len(out)-1].More) {
		rec, next, ok := s.index.find(offset)
		if !ok {
			break
		}
		payload, err := s.wal.Read(rec.ref, nil)
		if err != nil {
			return nil, fmt.Errorf("read metadata entries from %d: %w", offset, err)
		}
		before := offset
		err = decodeFrames(uint8(FrameEntry), payload, func(f *Frame) error {
			if f.Entry.Offset != offset || offset >= limit || next >= 0 && offset >= next || size >= maxBytes && !out[len(out)-1].More {
				return nil
			}
			out = append(out, f.Entry)
			size += f.Entry.encodedSize()
			offset++
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read metadata entries from %d: %w", offset, err)
		}
		if offset == before {
			break
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read metadata entries from %d: %w", offset, ErrOffsetOutOfRange)
	}
	return out, nil
}

func (s *storage) close() error { return s.wal.Close() }
