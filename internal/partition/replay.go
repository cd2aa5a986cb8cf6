package partition

import (
	"container/heap"
	"fmt"
	"slices"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/wal"
)

// replayer rebuilds the logs from the WAL, record by record in order. The oldest slot may begin in the middle of a log's story: until
// its first Reset or State a log has errNoAnchor as its fault, and what is known of it is provisional.
type replayer struct {
	s       *Store
	nowMs   int64
	dropped map[ID]struct{}
}

var errNoAnchor = fmt.Errorf("neither reset nor state in the WAL: %w", ErrCorrupt)

func newReplayer(s *Store) *replayer {
	return &replayer{s: s, nowMs: s.opts.Now().UnixMilli(), dropped: map[ID]struct{}{}}
}

func (r *replayer) record(rec wal.Record) error {
	p, rest, err := parsePrefix(rec.Payload)
	if err != nil {
		return err
	}
	if rec.Kind == kindDrop {
		r.drop(p.id)
		return nil
	}
	l := r.s.logs[p.id]
	if l == nil {
		l = newLog(r.s, p.id, 0, r.s.internConfig(r.s.opts.DefaultConfig))
		l.fault = errNoAnchor
		l.oldest = rec.Ref.Seq
		r.s.logs[p.id] = l
	}
	switch rec.Kind {
	case kindAppend:
		return r.append(l, p, rest, rec.Ref)
	case kindTruncate:
		r.truncate(l, p.offset, rest)
	case kindLogStart:
		if l.fault != nil { // where segments end is not known: nothing may be dropped for it
			break
		}
		l.moveStart(p.offset)
		l.SetHighWatermark(p.offset)
	case kindMove:
		return r.move(l, p, rest, rec.Ref)
	case kindReset:
		return r.reset(l, p, rest, rec.Ref.Seq)
	case kindState:
		return r.state(l, p, rest, rec.Ref)
	default:
		return fmt.Errorf("replay record of kind %d: %w", rec.Kind, ErrCorrupt)
	}
	return nil
}

func (r *replayer) truncate(l *Log, to int64, flags []byte) {
	if l.fault == nil && (to < l.segEnd.Load() || to >= l.end.Load()) {
		return
	}
	l.cut(to)
	if len(flags) > 0 && flags[0]&flagUnclean != 0 && !r.s.bugs.truncateKeepsMark {
		l.hw.Store(min(l.hw.Load(), to))
	}
}

func (r *replayer) drop(id ID) {
	r.dropped[id] = struct{}{}
	if l := r.s.logs[id]; l != nil {
		l.dropViewBack(0)
		delete(r.s.logs, id)
	}
}

func (r *replayer) append(l *Log, p prefix, batch []byte, ref wal.Ref) error {
	h, err := recordbatch.ParseHeader(batch)
	if err != nil || h.Size() != len(batch) || h.BaseOffset != p.offset {
		return fmt.Errorf("replay append to %s at %d: %w", p.id, p.offset, ErrCorrupt)
	}
	if l.fault == nil && h.BaseOffset != l.end.Load() {
		l.fault = fmt.Errorf("append at %d, log ended at %d: %w", h.BaseOffset, l.end.Load(), ErrCorrupt)
	}
	l.pushView(viewEntry(&h, p.epoch, ref))
	l.end.Store(h.LastOffset() + 1)
	l.startEpoch(p.epoch, h.BaseOffset)
	if h.HasProducer() {
		l.addProducer(&h, r.nowMs)
	}
	return nil
}

// move makes the view refer to the record for a batch that it has already. While the log is provisional that one may have been in a slot
// that is gone: then the batch is new here, and has its place among the others.
func (r *replayer) move(l *Log, p prefix, batch []byte, ref wal.Ref) error {
	h, err := recordbatch.ParseHeader(batch)
	if err != nil || h.Size() != len(batch) || h.BaseOffset != p.offset {
		return fmt.Errorf("replay move in %s at %d: %w", p.id, p.offset, ErrCorrupt)
	}
	if r.s.bugs.moveForgotten {
		return nil
	}
	e := viewEntry(&h, p.epoch, ref)
	i := l.find(e.base)
	l.movedEnd = max(l.movedEnd, e.last()+1)
	if i < len(l.view) && l.view[i].base == e.base && l.view[i].last() == e.last() {
		some := l.view[i : i+1]
		l.forgetSizes(some)
		some[0] = e
		l.countSizes(some)
		return nil
	}
	if l.fault == nil {
		l.fault = fmt.Errorf("batch %d was moved and is not there: %w", e.base, ErrCorrupt)
		return nil
	}
	l.view = slices.Insert(l.view, i, e)
	l.countSizes(l.view[i : i+1])
	l.end.Store(max(l.end.Load(), e.last()+1))
	return nil
}

func (r *replayer) reset(l *Log, p prefix, rest []byte, seq uint64) error {
	if len(rest) != 4 {
		return fmt.Errorf("replay reset of %s: %w", p.id, ErrCorrupt)
	}
	l.residency = int32(rest[0])<<24 | int32(rest[1])<<16 | int32(rest[2])<<8 | int32(rest[3])
	l.dropViewBack(0)
	l.countFrom, l.movedEnd = p.offset, 0
	l.epochs, l.leaderEpoch, l.producers, l.active, l.fault, l.oldest = nil, -1, nil, activeMark{base: -1}, nil, seq
	for _, v := range []interface{ Store(int64) }{&l.start, &l.end, &l.segEnd, &l.hw} {
		v.Store(p.offset)
	}
	return nil
}

// state replaces the log by what the record says; of the batches seen before it only those it refers to stay.
func (r *replayer) state(l *Log, p prefix, rest []byte, ref wal.Ref) error {
	st, _, err := decodeState(p, rest)
	if err != nil {
		return err
	}
	producers, err := decodeProducers(st.producers)
	if err != nil {
		return fmt.Errorf("replay state of %s: %w", p.id, err)
	}
	if r.s.bugs.stateMerges && l.fault == nil {
		return nil
	}
	start := l.start.Load()
	i := len(l.view)
	for i > 0 && l.view[i-1].base >= st.keepFrom {
		i--
	}
	kept := append([]entry(nil), l.view[i:]...)
	l.dropViewBack(0)
	l.fault = nil
	next, oldest := st.segEnd, ref.Seq
	for b := st.carried; len(b) > 0; {
		h, err := recordbatch.ParseHeader(b)
		if err != nil || h.Size() > len(b) {
			return fmt.Errorf("replay carried batch of %s: %w", p.id, ErrCorrupt)
		}
		e := viewEntry(&h, h.LeaderEpoch, ref)
		e.delta |= inState
		next = r.keep(l, next, e)
		b = b[h.Size():]
	}
	for _, e := range kept {
		next = r.keep(l, next, e)
		oldest = min(oldest, e.seq)
	}
	if next != st.end && l.fault == nil {
		l.fault = fmt.Errorf("state names an end of %d, batches end at %d: %w", st.end, next, ErrCorrupt)
	}
	l.residency, l.leaderEpoch, l.epochs, l.producers, l.active = st.residency, st.leaderEpoch, st.epochs, producers, st.active
	l.carriedBytes = int64(len(st.carried))
	l.oldest = oldest
	l.start.Store(st.start)
	if r.s.bugs.stateMerges {
		l.start.Store(start)
	}
	l.end.Store(st.end)
	l.segEnd.Store(st.segEnd)
	l.hw.Store(max(st.hw, st.segEnd, st.start))
	return nil
}

// keep adds an entry that must begin at offset next and returns where it ends.
func (r *replayer) keep(l *Log, next int64, e entry) int64 {
	if e.base != next && l.fault == nil {
		l.fault = fmt.Errorf("state has a batch at %d, expected %d: %w", e.base, next, ErrCorrupt)
	}
	l.pushView(e)
	return e.last() + 1
}

// finish makes the logs ready for use and completes drops that a crash interrupted.
func (r *replayer) finish() error {
	s := r.s
	var gone []*Log
	for id := range r.dropped {
		if s.logs[id] == nil {
			gone = append(gone, newLog(s, id, 0, nil))
		}
	}
	if err := s.removeDirs(gone); err != nil {
		return err
	}
	for _, l := range s.logs {
		l.hw.Store(max(l.hw.Load(), l.segEnd.Load(), l.start.Load()))
		l.durable.Store(l.end.Load())
		heap.Push(&s.byNeed, l)
		if l.fault != nil {
			l.fault = fmt.Errorf("recover %s: %w", l.id, l.fault)
			s.logger.Error("partition cannot be served", "partition", l.id.String(), "err", l.fault)
			continue
		}
		if l.viewBytes >= readyBytes {
			l.ready = true
			s.ready = append(s.ready, l)
		}
	}
	return nil
}
