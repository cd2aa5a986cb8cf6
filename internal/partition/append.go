package partition

import (
	"errors"
	"fmt"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/wal"
)

// readyBytes is the size of the part of a log in the WAL from which on writing it to a segment is worth while.
const readyBytes = 256 << 10

// mapWALError gives the errors of the WAL this package's names.
func mapWALError(err error) error {
	switch {
	case errors.Is(err, wal.ErrFull):
		return fmt.Errorf("%w: %w", ErrWALFull, err)
	case errors.Is(err, wal.ErrNoSpace):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, wal.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	case errors.Is(err, wal.ErrCorrupt):
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case errors.Is(err, wal.ErrClosed):
		return fmt.Errorf("%w: %w", ErrDropped, err)
	}
	return err
}

// Append adds one batch, which it patches in place, and returns its offsets; it is durable when OnDurable says so. batch must be
// exactly the bytes that o.Info was made from.
func (l *Log) Append(batch []byte, o AppendOptions) (AppendResult, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	res := AppendResult{BaseOffset: -1, LastOffset: -1, LogStart: l.start.Load(), AppendTimeMs: recordbatch.NoTimestamp}
	if err := l.usable(); err != nil {
		return res, err
	}
	if l.damaged != nil {
		return res, l.damaged
	}
	h := o.Info.Header
	if h.Size() != len(batch) {
		return res, fmt.Errorf("append to %s, batch of %d bytes in %d: %w", l.id, h.Size(), len(batch), recordbatch.ErrNoBatch)
	}
	if int64(len(batch)) > l.cfg.SegmentBytes {
		return res, fmt.Errorf("append to %s, batch of %d bytes: %w", l.id, len(batch), ErrTooLarge)
	}
	if o.Replicated {
		o.LeaderEpoch = h.LeaderEpoch
	}
	if o.LeaderEpoch < l.leaderEpoch {
		return res, fmt.Errorf("append to %s, epoch %d, now %d: %w", l.id, o.LeaderEpoch, l.leaderEpoch, ErrStaleLeaderEpoch)
	}
	base := l.end.Load()
	if o.Replicated {
		if h.BaseOffset != base {
			return res, fmt.Errorf("append to %s at %d, batch is for %d: %w", l.id, base, h.BaseOffset, ErrOutOfRange)
		}
	} else if h.HasProducer() {
		dup, err := l.producers.check(&h)
		if err != nil {
			return res, fmt.Errorf("append to %s: %w", l.id, err)
		}
		if dup != nil {
			res.BaseOffset, res.LastOffset, res.AppendTimeMs, res.Duplicate = dup.baseOffset(), dup.lastOffset, dup.timestampMs, true
			return res, nil
		}
	}
	if !o.Replicated {
		res.AppendTimeMs = l.stamp(batch, &h, &o)
		recordbatch.PatchBaseOffset(batch, base)
		recordbatch.PatchLeaderEpoch(batch, o.LeaderEpoch)
		h.BaseOffset, h.LeaderEpoch = base, o.LeaderEpoch
	}
	if err := l.enqueue(batch, &h, o.LeaderEpoch); err != nil {
		return res, err
	}
	if h.HasProducer() {
		l.addProducer(&h, o.NowMs)
	}
	res.BaseOffset, res.LastOffset = base, h.LastOffset()
	return res, nil
}

// stamp gives the batch the topic's kind of time and returns the append time, if it is that. The caller holds mu.
func (l *Log) stamp(batch []byte, h *recordbatch.Header, o *AppendOptions) int64 {
	if l.cfg.LogAppendTime {
		h.MaxTimestamp = o.NowMs
		recordbatch.SetTimestamps(batch, true, o.NowMs)
		return o.NowMs
	}
	if o.Info.Walked {
		h.MaxTimestamp = o.Info.MaxRecordTimestamp
	}
	recordbatch.SetTimestamps(batch, false, h.MaxTimestamp)
	return recordbatch.NoTimestamp
}

// enqueue puts a batch whose offsets are final into the WAL and the view. The caller holds mu.
func (l *Log) enqueue(batch []byte, h *recordbatch.Header, epoch int32) error {
	next := h.LastOffset() + 1
	l.fillPrefix = prefix{id: l.id, epoch: epoch, offset: h.BaseOffset}
	l.fillBatch = batch
	ref, err := l.store.wal.Append(kindAppend, prefixSize+len(batch), l.fill, l.sub, next)
	l.fillBatch = nil
	if err != nil {
		return fmt.Errorf("append to %s: %w", l.id, mapWALError(err))
	}
	l.pushView(viewEntry(h, epoch, ref))
	l.end.Store(next)
	l.startEpoch(epoch, h.BaseOffset)
	if l.viewBytes >= readyBytes && !l.ready {
		l.ready = true
		l.store.addReady(l)
	}
	return nil
}

func viewEntry(h *recordbatch.Header, epoch int32, ref wal.Ref) entry {
	return entry{base: h.BaseOffset, maxTs: h.MaxTimestamp, seq: ref.Seq, off: ref.Off, len: ref.Len, delta: uint32(h.LastOffsetDelta),
		epoch: epoch}
}

func (l *Log) addProducer(h *recordbatch.Header, nowMs int64) {
	if l.producers == nil {
		l.producers = &producerTable{m: make(map[int64]*producer, 1)}
	}
	l.producers.add(h, l.hw.Load(), nowMs, l.store.opts.MaxProducers)
}
