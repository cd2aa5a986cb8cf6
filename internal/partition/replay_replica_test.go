package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"

	"github.com/chronik-io/chronik/internal/recordbatch"
)

// Operations of the replay test that only replicas have.

// next is a copy to make the model after the next operation of.
func (m *modelLog) next() *modelLog {
	next := *m
	next.lowered, next.committed = false, 0
	return &next
}

// lastEpoch is that of the last record; -1 if there is none.
func (m *modelLog) lastEpoch() int32 {
	if m.start == m.end {
		return -1
	}
	return epochOf(m.batches[len(m.batches)-1].bytes)
}

func epochOf(batch []byte) int32 { return int32(binary.BigEndian.Uint32(batch[12:])) }

// meddle does what the owner of a log may do while the maintenance works on it.
func (r *run) meddle(l *Log) {
	id := l.ID()
	m := r.now()[id]
	if r.inside || m == nil || r.rng.IntN(5) != 0 {
		return
	}
	r.inside = true
	defer func() { r.inside = false }()
	ops := []func(ID, *modelLog, *Log) error{r.replicate, r.truncate, r.truncateUnclean, r.followStart, r.reset}
	for range 1 + r.rng.IntN(2) {
		if err := ops[r.rng.IntN(len(ops))](id, r.now()[id], l); err != nil {
			r.interfered = errors.Join(r.interfered, fmt.Errorf("meanwhile: %w", err))
		}
	}
}

// replicate appends some batches at once, of several epochs maybe. After a crash some of them may be there.
func (r *run) replicate(id ID, m *modelLog, l *Log) error {
	leaderEpoch := max(m.epoch, 0) + int32(r.rng.IntN(2))
	epoch := max(m.lastEpoch(), 0)
	var sent []byte
	began, now := len(r.history), m
	for range 1 + r.rng.IntN(3) {
		epoch += int32(r.rng.IntN(int(leaderEpoch-epoch) + 1))
		batch, next, err := r.nextBatch(now, epoch)
		if err != nil {
			return err
		}
		next.epoch = leaderEpoch
		r.begin(id, next)
		sent, now = append(sent, batch...), next
	}
	last, err := l.AppendReplicated(leaderEpoch, sent, testTime)
	if err != nil {
		for len(r.history) > began {
			r.undo()
		}
		return r.full(err)
	}
	if last != now.end-1 {
		return fmt.Errorf("%s: appended up to %d, expected %d", id, last, now.end-1)
	}
	return nil
}

// nextBatch makes a batch as a leader has it.
func (r *run) nextBatch(m *modelLog, epoch int32) ([]byte, *modelLog, error) {
	n := 1 + r.rng.IntN(3)
	b := recordbatch.NewBuilder()
	next := m.next()
	next.end += int64(n)
	if r.rng.IntN(3) == 0 {
		pid := int64(1 + r.rng.IntN(2))
		seq := m.nextSequence(pid)
		b.SetProducer(pid, 0, seq)
		next.producers = append(slices.Clip(m.producers), modelProducer{pid: pid, lastOffset: next.end - 1, lastSeq: seq + int32(n) - 1})
	}
	for range n {
		r.seq++
		b.Append(testTime+int64(r.seq), []byte(strconv.Itoa(r.seq)), bytes.Repeat([]byte{byte(r.seq)}, r.rng.IntN(300)))
	}
	batch, err := b.Build(recordbatch.None)
	if err != nil {
		return nil, nil, err
	}
	recordbatch.PatchBaseOffset(batch, m.end)
	recordbatch.PatchLeaderEpoch(batch, epoch)
	next.batches = append(slices.Clip(m.batches), modelBatch{base: m.end, last: next.end - 1, bytes: bytes.Clone(batch)})
	return batch, next, nil
}

// reset begins the log anew, somewhere below, in or above what it was.
func (r *run) reset(id ID, m *modelLog, l *Log) error {
	next := m.next()
	next.start = max(0, m.start-5) + r.rng.Int64N(m.end-m.start+10)
	next.end, next.batches, next.producers, next.loose = next.start, nil, nil, false
	next.lowered, next.committed = true, r.committed[id]
	r.begin(id, next)
	if err := l.Reset(next.start); err != nil {
		r.undo()
		return r.full(err)
	}
	r.committed[id] = next.start
	if l.HighWatermark() != next.start || l.Fault() != nil {
		return fmt.Errorf("%s: high watermark %d after a reset to %d, %v", id, l.HighWatermark(), next.start, l.Fault())
	}
	return nil
}

// truncateUnclean cuts anywhere; below the segment end it must be refused.
func (r *run) truncateUnclean(id ID, m *modelLog, l *Log) error {
	var bounds []int64
	for _, b := range m.batches {
		if b.base >= m.start {
			bounds = append(bounds, b.base)
		}
	}
	if len(bounds) == 0 {
		return nil
	}
	to := bounds[r.rng.IntN(len(bounds))]
	if to < l.segEnd.Load() {
		if err := l.TruncateUnclean(to); !errors.Is(err, ErrTruncateBelowSegments) {
			return fmt.Errorf("%s: unclean truncation to %d, segments end at %d: %w", id, to, l.segEnd.Load(), err)
		}
		return nil
	}
	next := m.cut(to)
	next.lowered, next.committed, next.loose = true, r.committed[id], true
	r.begin(id, next)
	if err := l.TruncateUnclean(to); err != nil {
		r.undo()
		return r.full(err)
	}
	r.committed[id] = min(r.committed[id], to)
	if hw := l.HighWatermark(); hw > r.committed[id] {
		return fmt.Errorf("%s: high watermark %d after a truncation to %d", id, hw, to)
	}
	return l.NoteLeaderEpoch(m.epoch + 1)
}

// followStart adopts a leader's log start, which may lie above the high watermark.
func (r *run) followStart(id ID, m *modelLog, l *Log) error {
	to := m.start + r.rng.Int64N(m.end-m.start+5)
	next := m.next()
	l.SetHighWatermark(r.committed[id])
	next.start = max(m.start, min(to, r.committed[id]))
	r.begin(id, next)
	if err := l.FollowStart(to); err != nil {
		r.undo()
		return r.full(err)
	}
	if next.start == m.start {
		r.undo() // nothing was recorded
	}
	return nil
}

// takeBack finds what was committed before the operations behind the k-th, which are lost.
func (r *run) takeBack(k int) {
	for _, id := range r.ids {
		for j := k + 1; j < len(r.history); j++ {
			if l := r.history[j][id]; l != nil && l != r.history[j-1][id] && l.lowered {
				r.committed[id] = l.committed
				break
			}
		}
	}
}

// checkEpochs compares the lineage with the epochs in the batches.
func checkEpochs(l *Log, m *modelLog) error {
	for _, b := range m.batches {
		if b.last < m.start {
			continue
		}
		for _, at := range []int64{max(b.base, m.start), b.last} {
			if epoch, ok := l.EpochAt(at); !ok || epoch != epochOf(b.bytes) {
				return fmt.Errorf("record %d has epoch %d, %v; expected %d in %v", at, epoch, ok, epochOf(b.bytes), l.Lineage())
			}
		}
	}
	if got := l.LastEpoch(); got != m.lastEpoch() {
		return fmt.Errorf("last epoch %d, expected %d", got, m.lastEpoch())
	}
	return nil
}

// checkPush reads the whole log as a leader does for a follower, and its checksum.
func checkPush(l *Log, m *modelLog, maxBytes int) error {
	from := m.start
	sum, n := uint32(0), 0
	for _, b := range m.batches {
		if b.last < m.start {
			continue
		}
		if b.base >= m.start {
			h, err := recordbatch.VerifyCRC(b.bytes)
			if err != nil {
				return err
			}
			x := binary.BigEndian.AppendUint32(nil, h.CRC)
			x = binary.BigEndian.AppendUint64(x, uint64(h.BaseOffset))
			sum = crc32.Update(sum, castagnoli, binary.BigEndian.AppendUint32(x, uint32(h.LeaderEpoch)))
			n++
		}
		if from > b.base {
			continue
		}
		out, next, prev, err := l.ReadForPush(nil, b.base, maxBytes)
		if err != nil {
			return fmt.Errorf("read for a push at %d: %w", b.base, err)
		}
		if !bytes.HasPrefix(out, b.bytes) || len(out) > maxBytes && next != b.last+1 || next > m.end {
			return fmt.Errorf("read for a push at %d gave %d bytes up to %d, asked for %d", b.base, len(out), next, maxBytes)
		}
		if want, _ := l.EpochAt(b.base - 1); prev != want {
			return fmt.Errorf("read for a push at %d: epoch before it %d, expected %d", b.base, prev, want)
		}
	}
	got, batches, err := l.Checksum(m.start, m.end)
	if err != nil || got != sum || batches != n {
		return fmt.Errorf("checksum %08x of %d batches, expected %08x of %d: %w", got, batches, sum, n, err)
	}
	return nil
}
