package partition

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
)

// Errors of this package; match with errors.Is.
var (
	// ErrOutOfRange: an offset below the log start or above the log end.
	ErrOutOfRange = errors.New("offset out of range")
	// ErrCorrupt: bytes that were durable are damaged or missing. Nothing is cut; the partition must be repaired or resigned.
	ErrCorrupt = errors.New("partition data is corrupt")
	// ErrOutOfOrderSequence: an idempotent batch that neither follows the last one nor repeats one of the last five.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch: a producer epoch below the one known.
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
	// ErrStaleLeaderEpoch: an append or epoch below the log's current leader epoch.
	ErrStaleLeaderEpoch = errors.New("stale leader epoch")
	// ErrTooLarge: a batch larger than a segment or a WAL slot can hold.
	ErrTooLarge = errors.New("batch larger than a segment")
	// ErrNoSpace: the disk's free space is below the low-water mark. It passes by itself when there is space.
	ErrNoSpace = errors.New("no space left for appends")
	// ErrWALFull: the node's WAL is filled beyond the share of client appends. It passes when data has moved to segments.
	ErrWALFull = errors.New("write-ahead log is full")
	// ErrDropped: the log was dropped, or the store closed.
	ErrDropped = errors.New("partition is gone")
	// ErrExists: Create of a partition that is there.
	ErrExists = errors.New("partition exists")
	// ErrTruncateBelowHighWatermark: refused, because those records were acked.
	ErrTruncateBelowHighWatermark = errors.New("truncation below the high watermark")
	// ErrTruncateBelowSegments: refused even as an unclean one, because those records are in segments. Reset the log instead.
	ErrTruncateBelowSegments = errors.New("truncation below the segment end")
	// ErrBadBatch: replicated bytes that are not whole, sound batches one after the other. Nothing of them was taken.
	ErrBadBatch = errors.New("replicated batches are damaged")
	// ErrUncommitted: too much of the partition, or of all partitions of the node, is above the high watermark. It passes when replicas
	// have caught up.
	ErrUncommitted = errors.New("too many bytes above the high watermark")
)

// ID names a partition. Topics are named by id, so that a topic created again is another one.
type ID struct {
	Topic     uuid.UUID
	Partition int32
}

func (id ID) String() string { return fmt.Sprintf("%s-%d", id.Topic, id.Partition) }

// LogConfig is what a partition needs of its topic's settings. Durations are in ms and sizes in bytes; -1 in the retentions is no limit.
type LogConfig struct {
	SegmentBytes         int64 // segment.bytes
	SegmentMs            int64 // segment.ms
	RetentionBytes       int64 // retention.bytes
	RetentionMs          int64 // retention.ms
	IndexIntervalBytes   int64 // index.interval.bytes
	MaxMessageBytes      int32 // max.message.bytes; the caller passes it to recordbatch.Validate
	Compact              bool  // cleanup.policy has compact
	Delete               bool  // cleanup.policy has delete
	LogAppendTime        bool  // message.timestamp.type
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms, for recordbatch.Validate
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms
	ProducerExpirationMs int64 // producer.id.expiration.ms of the broker
}

// DefaultLogConfig has Kafka's defaults.
func DefaultLogConfig() LogConfig {
	const hourMs = 3_600_000
	return LogConfig{SegmentBytes: 1 << 30, SegmentMs: 168 * hourMs, RetentionBytes: -1, RetentionMs: 168 * hourMs, IndexIntervalBytes: 4096,
		MaxMessageBytes: 1048588, Delete: true, TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: hourMs,
		ProducerExpirationMs: 24 * hourMs}
}

// Limits is what recordbatch.Validate must check of a client's batch for this topic at nowMs.
func (c *LogConfig) Limits(nowMs int64) recordbatch.Limits {
	return recordbatch.Limits{MaxBytes: int(c.MaxMessageBytes), Deep: true, DeepCompressed: true, RequireKey: c.Compact,
		CheckTimestamps: !c.LogAppendTime, NowMs: nowMs, BeforeMaxMs: c.TimestampBeforeMaxMs, AfterMaxMs: c.TimestampAfterMaxMs}
}

// StoreOptions configure a store. Zero fields take the defaults in brackets.
type StoreOptions struct {
	FS  vfs.FS      // [vfs.OS]
	Dir string      // the node's data directory; the WAL is in wal/, segments are in topics/
	WAL wal.Options // FS, Dir and Logger are filled in when empty

	MaxIndexBytes     int64         // memory of the index over the WAL, all partitions together [128 MiB]
	MinFreeBytes      uint64        // client appends stop when the disk has less free [2 x WAL.SlotBytes + 64 MiB]
	CarryBytes        int64         // a tail up to this rides in its State instead of becoming a segment [64 KiB]
	RetentionInterval time.Duration // between two rounds of retention [5 min]
	MaxOpenSegments   int           // open segment files [512]
	MaxProducers      int           // producers remembered in each partition [16384]

	MaxUncommittedBytes     int64 // of one partition above its high watermark, see AdmitUncommitted [64 MiB, at most the next]
	MaxNodeUncommittedBytes int64 // of all partitions above their high watermarks [WAL.MaxBytes / 4]

	DefaultConfig LogConfig // of partitions found at start, until SetConfig [DefaultLogConfig()]

	Now    func() time.Time // wall clock, with the monotonic reading that shows clock jumps [time.Now]
	Logger *slog.Logger     // [slog.Default()]

	bugs bugs // seeded bugs, tests only
}

// AppendOptions go with one Append.
type AppendOptions struct {
	Info        recordbatch.Info // what Validate said about the batch
	LeaderEpoch int32
	NowMs       int64 // the append time of topics with log append time, and the clock of producer expiry
	// Replicated keeps the offsets, epoch and times of the batch as the leader gave them (follower).
	Replicated bool
}

// AppendResult tells where a batch went.
type AppendResult struct {
	BaseOffset   int64
	LastOffset   int64
	LogStart     int64
	AppendTimeMs int64 // -1 unless log append time was set, or the batch is a duplicate: then the original's max timestamp
	// Duplicate: the batch is there already; the offsets are the original's. The caller waits until the high watermark covers LastOffset.
	Duplicate bool
}

// ProducerState is what the log knows about an idempotent producer, as DescribeProducers shows it.
type ProducerState struct {
	ProducerID       int64
	ProducerEpoch    int16
	LastSequence     int32
	LastTimestampMs  int64
	CoordinatorEpoch int32 // -1: none
	TxnStartOffset   int64 // first offset of the open transaction; -1: none
}

// EpochStart is one entry of a log's lineage: records from Start on were appended in leader epoch Epoch, until the next entry.
type EpochStart struct {
	Epoch int32
	Start int64
}

// SegmentInfo describes a piece of a log: a file, or the records that are still in the WAL only.
type SegmentInfo struct {
	BaseOffset int64
	EndOffset  int64 // exclusive
	Bytes      int64
	InWAL      bool
}

// TimeOffset is a record found by its time. Offset -1: there is none.
type TimeOffset struct {
	Offset      int64
	TimestampMs int64
	LeaderEpoch int32
}
