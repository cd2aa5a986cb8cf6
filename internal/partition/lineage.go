package partition

import (
	"fmt"
	"sort"
)

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch <= epoch and where it ends; -1, -1 if epoch is above any known.
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.epochs)
	if epoch < 0 || n == 0 || epoch > l.epochs[n-1].epoch {
		return -1, -1
	}
	if epoch == l.epochs[n-1].epoch {
		return epoch, l.end.Load()
	}
	i := 0 // the first entry above epoch
	for l.epochs[i].epoch <= epoch {
		i++
	}
	if i == 0 {
		return epoch, l.epochs[0].start
	}
	return l.epochs[i-1].epoch, l.epochs[i].start
}

// LeaderEpoch is the latest leader epoch known to the log, -1 if none.
func (l *Log) LeaderEpoch() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leaderEpoch
}

// SetLeaderEpoch records that epoch begins at the log end; appends of lower epochs are refused from now on. It becomes durable with the
// first append of the epoch.
func (l *Log) SetLeaderEpoch(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if epoch < l.leaderEpoch {
		return fmt.Errorf("set epoch of %s to %d, now %d: %w", l.id, epoch, l.leaderEpoch, ErrStaleLeaderEpoch)
	}
	l.startEpoch(epoch, l.end.Load())
	return nil
}

// NoteLeaderEpoch makes a follower refuse what leaders of lower epochs send. Nothing is recorded: the metadata has the epoch, and the
// lineage gets it with the first record of that epoch. A log with a fault notes it too: its leader has it begin anew.
func (l *Log) NoteLeaderEpoch(epoch int32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone != nil {
		return l.gone
	}
	if epoch < l.leaderEpoch {
		return fmt.Errorf("note epoch %d of %s, now %d: %w", epoch, l.id, l.leaderEpoch, ErrStaleLeaderEpoch)
	}
	l.leaderEpoch = epoch
	return nil
}

// LastEpoch is the leader epoch of the last record; -1 when the log holds none.
func (l *Log) LastEpoch() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastEpoch()
}

func (l *Log) lastEpoch() int32 {
	epoch, _ := l.epochAt(l.end.Load() - 1)
	return epoch
}

// EpochAt is the leader epoch of the record at offset; -1 and false when the log holds no such record.
func (l *Log) EpochAt(offset int64) (epoch int32, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochAt(offset)
}

func (l *Log) epochAt(offset int64) (epoch int32, ok bool) {
	if offset < l.start.Load() || offset >= l.end.Load() {
		return -1, false
	}
	i := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].start > offset })
	if i == 0 {
		return -1, false
	}
	return l.epochs[i-1].epoch, true
}

// Lineage is a copy of the leader epochs and where they start, oldest first. The last ones may have no records yet.
func (l *Log) Lineage() []EpochStart {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]EpochStart, len(l.epochs))
	for i, e := range l.epochs {
		out[i] = EpochStart{Epoch: e.epoch, Start: e.start}
	}
	return out
}

// startEpoch notes that epoch begins at offset start unless it is the current one. Entries without records, of leaders that never
// appended, give way. The caller holds mu.
func (l *Log) startEpoch(epoch int32, start int64) {
	l.leaderEpoch = max(l.leaderEpoch, epoch)
	n := len(l.epochs)
	if n > 0 && l.epochs[n-1].epoch == epoch {
		return
	}
	for n > 0 && l.epochs[n-1].start >= start {
		n--
	}
	l.epochs = l.epochs[:n:n]
	if n > 0 && l.epochs[n-1].epoch >= epoch {
		return
	}
	l.epochs = append(l.epochs, epochStart{epoch: epoch, start: start})
}
