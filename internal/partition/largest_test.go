package partition

import (
	"errors"
	"testing"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// The largest batch that tools and documentation name is the one that a WAL with files of the usual size takes.
func TestLargestBatch(t *testing.T) {
	f := newFixture(t, vfs.NewMem(), func(o *StoreOptions) {
		o.WAL = wal.Options{SlotBytes: defaultSlotBytes, MaxBytes: 4 * defaultSlotBytes, SealAfter: -1, OnFatal: func(err error) { t.Error(err) }}
	})
	if got := f.s.wal.MaxRecord() - prefixSize; got != config.LargestBatch {
		t.Errorf("a batch may have %d bytes, config.LargestBatch is %d", got, config.LargestBatch)
	}
	l := f.create(testID(1, 0))
	size := config.LargestBatch - 200
	size += config.LargestBatch - len(makeBatch(1, size, testTime, nil))
	largest := makeBatch(1, size, testTime, nil)
	if _, err := appendBatch(l, largest, 0); err != nil || len(largest) != config.LargestBatch {
		t.Errorf("a batch of %d bytes: %v", len(largest), err)
	}
	if _, err := appendBatch(l, makeBatch(1, size+1, testTime, nil), 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one that is larger: %v", err)
	}
}
