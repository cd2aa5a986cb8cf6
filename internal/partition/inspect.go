package partition

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// Inspection is what the data directory of a node that does not run holds of its partitions.
type Inspection struct {
	Torn bool        // the last commit is torn; it was never acknowledged, and a start cuts it
	Logs []Inspected // by topic id and partition
}

// Inspected is one replica's log on disk.
type Inspected struct {
	ID            ID
	Start, End    int64
	SegmentEnd    int64 // records below are in segments, the others in the WAL
	HighWatermark int64 // a lower bound: it is not written at each advance
	LeaderEpoch   int32 // -1: none
	Fault         error // why the node would not serve it

	log  *Log
	sums map[batchPlace]placedSum
}

// batchPlace names a batch in the WAL: one record may carry several.
type batchPlace struct {
	seq  uint64
	off  uint32
	base int64
}

type placedSum struct {
	crc   uint32
	epoch int32
	bad   bool
}

// inspecting replays a WAL as a start does, and remembers what a checksum takes of each batch.
type inspecting struct {
	*replayer
	sums map[batchPlace]placedSum
}

// Inspect reads a data directory as OpenStore would, with its replay, and changes nothing. No process may have it open. ErrCorrupt and
// wal.ErrCorrupt say that the node would not start on it.
func Inspect(fsys vfs.FS, dir string) (*Inspection, error) {
	s := newStore(StoreOptions{FS: vfs.ReadOnly(fsys), Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	in := inspecting{newReplayer(s), map[batchPlace]placedSum{}}
	rec, err := wal.Inspect(s.opts.WAL, in.take)
	if err != nil {
		return nil, fmt.Errorf("inspect partitions: %w", err)
	}
	out := &Inspection{Torn: rec.TornSeq != 0}
	for _, l := range s.logs {
		out.Logs = append(out.Logs, Inspected{ID: l.id, Start: l.Start(), End: l.End(), SegmentEnd: l.segEnd.Load(),
			HighWatermark: max(l.HighWatermark(), l.segEnd.Load(), l.Start()), LeaderEpoch: l.leaderEpoch, Fault: l.fault, log: l, sums: in.sums})
	}
	slices.SortFunc(out.Logs, func(a, b Inspected) int {
		if c := slices.Compare(a.ID.Topic[:], b.ID.Topic[:]); c != 0 {
			return c
		}
		return int(a.ID.Partition) - int(b.ID.Partition)
	})
	return out, nil
}

func (in *inspecting) take(rec wal.Record) error {
	if err := in.record(rec); err != nil {
		return err
	}
	p, rest, err := parsePrefix(rec.Payload)
	if err != nil {
		return err
	}
	switch rec.Kind {
	case kindAppend, kindMove:
		return in.sum(rec.Ref, rest)
	case kindState:
		st, _, err := decodeState(p, rest)
		if err != nil {
			return err
		}
		for b := st.carried; len(b) > 0 && err == nil; {
			h, perr := recordbatch.ParseHeader(b)
			if perr != nil || h.Size() > len(b) {
				return fmt.Errorf("inspect carried batch of %s: %w", p.id, ErrCorrupt)
			}
			err = in.sum(rec.Ref, b[:h.Size()])
			b = b[h.Size():]
		}
		return err
	}
	return nil
}

// sum remembers a batch. One that is damaged counts only if the log still needs it in the end.
func (in *inspecting) sum(ref wal.Ref, batch []byte) error {
	h, err := recordbatch.ParseHeader(batch)
	if err != nil {
		return fmt.Errorf("inspect record of commit %d: %w", ref.Seq, ErrCorrupt)
	}
	_, err = recordbatch.VerifyCRC(batch)
	in.sums[batchPlace{ref.Seq, ref.Off, h.BaseOffset}] = placedSum{crc: h.CRC, epoch: h.LeaderEpoch, bad: err != nil}
	return nil
}

// Batches reads and verifies the whole log, as it is in this directory, and calls take for each batch in order. The first may begin below
// Start. An error says from which offset on the log cannot be read: nothing is passed over.
func (r *Inspected) Batches(take func(BatchSum) error) error {
	if r.Fault != nil {
		return r.Fault
	}
	next := r.Start
	each := func(b BatchSum) error {
		if b.Last < r.Start {
			return nil
		}
		if b.Base != next && !(next == r.Start && b.Base < next) {
			return fmt.Errorf("batch at %d where %d is due: %w", b.Base, next, ErrCorrupt)
		}
		next = b.Last + 1
		return take(b)
	}
	err := r.segmentBatches(each)
	for i := 0; err == nil && i < len(r.log.view); i++ {
		e := &r.log.view[i]
		s, ok := r.sums[batchPlace{e.seq, e.off, e.base}]
		if !ok || s.bad {
			err = fmt.Errorf("batch at %d in the WAL, commit %d: %w", e.base, e.seq, ErrCorrupt)
			break
		}
		err = each(BatchSum{Base: e.base, Last: e.last(), CRC: s.crc, LeaderEpoch: s.epoch})
	}
	if err == nil && next != r.End {
		err = fmt.Errorf("batches end at %d, the log at %d: %w", next, r.End, ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("inspect %s from %d on: %w", r.ID, next, err)
	}
	return nil
}

// segmentBatches reads the segment files up to what was synced, without their indexes.
func (r *Inspected) segmentBatches(take func(BatchSum) error) error {
	active := r.log.active
	if active.base < 0 {
		if r.Start < r.SegmentEnd {
			return fmt.Errorf("log starts at %d, no segment is named for it: %w", r.Start, ErrCorrupt)
		}
		return nil
	}
	bases, err := segmentBases(r.log.store.fs, r.log.dir())
	if err != nil {
		return err
	}
	bases = slices.DeleteFunc(bases, func(base int64) bool { return base > active.base })
	if n := len(bases); n == 0 || bases[n-1] != active.base || bases[0] > r.Start {
		return fmt.Errorf("segments do not reach from %d to %d: %w", r.Start, active.base, ErrCorrupt)
	}
	for i, base := range bases {
		if i+1 < len(bases) && bases[i+1] <= r.Start {
			continue // retention has it no more
		}
		size := int64(-1)
		if base == active.base {
			size = active.bytes
		}
		if err := r.segmentFile(newSegment(r.log.dir(), base).path+logSuffix, size, take); err != nil {
			return err
		}
	}
	return nil
}

// segmentFile reads size bytes of a segment, all if it is -1.
func (r *Inspected) segmentFile(path string, size int64, take func(BatchSum) error) error {
	f, err := r.log.store.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	have, err := f.Size()
	if err != nil {
		return err
	}
	if size < 0 {
		size = have
	}
	if have < size {
		return fmt.Errorf("%s has %d bytes, %d were synced: %w", path, have, size, ErrCorrupt)
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 1<<20)
	var batch []byte
	for at := int64(0); at < size; at += int64(len(batch)) {
		batch = grow(batch[:0], recordbatch.HeaderSize)
		if _, err := io.ReadFull(in, batch); err != nil {
			return segmentDamage(path, at, err)
		}
		h, err := recordbatch.ParseHeader(batch)
		if err != nil || at+int64(h.Size()) > size {
			return segmentDamage(path, at, err)
		}
		batch = grow(batch, h.Size()-recordbatch.HeaderSize)
		if _, err := io.ReadFull(in, batch[recordbatch.HeaderSize:]); err != nil {
			return segmentDamage(path, at, err)
		}
		if _, err := recordbatch.VerifyCRC(batch); err != nil {
			return segmentDamage(path, at, err)
		}
		if err := take(sumOf(&h)); err != nil {
			return err
		}
	}
	return nil
}

func segmentDamage(path string, position int64, err error) error {
	if err == nil {
		err = errors.New("a batch reaches beyond the end")
	}
	return fmt.Errorf("%s at position %d: %w: %w", path, position, ErrCorrupt, err)
}
