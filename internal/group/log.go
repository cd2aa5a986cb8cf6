package group

import "context"

// TopicName is the internal topic that holds all group state.
const TopicName = "__consumer_offsets"

// Log is the coordinator's view of the partitions of __consumer_offsets that this node leads. Its methods name the leader epoch that
// the coordinator loaded the partition at, so that an append of a coordinator that lost and regained the partition is refused. Their error,
// and the one given to done, is ErrNotCoordinator where leadership is what is missing.
type Log interface {
	// Append adds one record batch (magic 2, base offset 0, no CRC trust needed: it was just built) at the end of the partition.
	// The batch may be reused once Append has returned. If it returns an error nothing was appended and done is never called.
	// Otherwise done is called exactly once, in append order per partition, when the high watermark has passed the batch, or with an
	// error when that will not be known here (leadership lost). done does not block; it may be called from inside Append.
	Append(partition, leaderEpoch int32, batch []byte, done func(error)) error
	// Bounds gives the log start and log end offset of the partition.
	Bounds(partition, leaderEpoch int32) (start, end int64, err error)
	// AwaitHighWatermark returns when the high watermark has reached offset, however long that takes: not for too few replicas in sync
	// does it give up, but when ctx or the leadership ends.
	AwaitHighWatermark(ctx context.Context, partition, leaderEpoch int32, offset int64) error
	// Read appends whole batches to dst, the first of them holding offset from or what follows it, all below the high watermark,
	// about maxBytes but at least one batch. Nothing appended means that from is the high watermark.
	Read(partition, leaderEpoch int32, dst []byte, from int64, maxBytes int) ([]byte, error)
	// AdvanceStart moves the log start: records below offset are no longer needed. It returns when that is durable.
	AdvanceStart(partition, leaderEpoch int32, offset int64) error
}
