package partition

import (
	"context"
)

type bugs struct{}

// Store owns the node WAL and the logs of all partitions on this node.
type Store struct{}

// Log is one replica's log.
type Log struct{}

// OpenStore replays the node WAL and recovers all partitions; segment files are opened when first needed.
func OpenStore(o StoreOptions) (*Store, error) { return nil, ErrDropped }

// Create makes an empty log. Nothing is created on disk but a record in the WAL. residency is the partition epoch at which this
// replica was added.
func (s *Store) Create(id ID, residency int32, cfg LogConfig) (*Log, error) { return nil, ErrDropped }

// Get returns the log of a partition, nil if it is not here.
func (s *Store) Get(id ID) *Log { return nil }

// All returns all logs in no order.
func (s *Store) All() []*Log { return nil }

// Drop forgets a partition durably, then removes its directory.
func (s *Store) Drop(id ID) error { return ErrDropped }

// Run materialises, recycles and applies retention until ctx ends.
func (s *Store) Run(ctx context.Context) error { return ErrDropped }

// Close makes everything appended durable and closes the WAL and all files. Run must have returned.
func (s *Store) Close() error { return ErrDropped }

// Admit tells whether client appends of n bytes are welcome: nil, ErrNoSpace or ErrWALFull.
func (s *Store) Admit(n int) error { return ErrDropped }

// ID names the partition.
func (l *Log) ID() ID { return ID{} }

// Residency is the partition epoch given to Create.
func (l *Log) Residency() int32 { return 0 }

// Append adds one batch, which it patches in place, and returns its offsets; it is durable when OnDurable says so.
func (l *Log) Append(batch []byte, o AppendOptions) (AppendResult, error) {
	return AppendResult{}, ErrDropped
}

// Start is the log start offset.
func (l *Log) Start() int64 { return 0 }

// End is the offset of the next record.
func (l *Log) End() int64 { return 0 }

// DurableEnd is the end of what is synced.
func (l *Log) DurableEnd() int64 { return 0 }

// HighWatermark is the offset below which records are committed.
func (l *Log) HighWatermark() int64 { return 0 }

// SetHighWatermark raises the high watermark; lower values are ignored. Never blocks.
func (l *Log) SetHighWatermark(hw int64) {}

// OnDurable sets the one hook that is told of each advance of DurableEnd, in commit order, on the WAL's completion goroutine. It must
// not block.
func (l *Log) OnDurable(hook func(end int64)) {}

// Read appends whole batches to dst: the first contains from, all end below limit (a high watermark), all fit into maxBytes, except
// the first if minOne. Nothing is appended when from is the end or limit. ErrOutOfRange, ErrCorrupt.
func (l *Log) Read(dst []byte, from, limit int64, maxBytes int, minOne bool) ([]byte, error) {
	return dst, ErrDropped
}

// Size is about the bytes of batches in [from, limit), for fetch.min.bytes; it stops counting at 64 MiB.
func (l *Log) Size(from, limit int64) int64 { return 0 }

// OffsetForTime finds the first record with a time >= tsMs.
func (l *Log) OffsetForTime(tsMs int64) (TimeOffset, error) { return TimeOffset{}, ErrDropped }

// MaxTimestamp finds the first record with the largest time.
func (l *Log) MaxTimestamp() (TimeOffset, error) { return TimeOffset{}, ErrDropped }

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch <= epoch and where it ends; -1, -1 if epoch is above any known.
func (l *Log) EpochEnd(epoch int32) (foundEpoch int32, end int64) { return -1, -1 }

// LeaderEpoch is the latest epoch of the log's lineage, -1 if none.
func (l *Log) LeaderEpoch() int32 { return -1 }

// SetLeaderEpoch records that epoch begins at the log end.
func (l *Log) SetLeaderEpoch(epoch int32) error { return ErrDropped }

// Truncate drops all records from offset to on. Below the high watermark it is refused.
func (l *Log) Truncate(to int64) error { return ErrDropped }

// AdvanceStart moves the log start to n, at most the high watermark (DeleteRecords). Lower values are ignored. It is durable when it
// returns.
func (l *Log) AdvanceStart(n int64) error { return ErrDropped }

// Config returns the settings.
func (l *Log) Config() LogConfig { return LogConfig{} }

// SetConfig replaces the settings.
func (l *Log) SetConfig(c LogConfig) {}

// Producers lists the producers known.
func (l *Log) Producers() []ProducerState { return nil }

// SegmentInfos lists the pieces of the log, oldest first.
func (l *Log) SegmentInfos() ([]SegmentInfo, error) { return nil, ErrDropped }
