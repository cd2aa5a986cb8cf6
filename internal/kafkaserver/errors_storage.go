package kafkaserver

import (
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/recordbatch"
	"github.com/chronik-io/chronik/internal/wal"
	"github.com/twmb/franz-go/pkg/kerr"
)

func init() {
	mapErrors(
		// Damage of what is stored comes first: it wraps what is wrong with the batch, which would be the client's fault.
		errorMapping{partition.ErrCorrupt, kerr.KafkaStorageError},
		errorMapping{wal.ErrCorrupt, kerr.KafkaStorageError},

		errorMapping{recordbatch.ErrNoBatch, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrManyBatches, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrOldMagic, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrTooShort, kerr.CorruptMessage},
		errorMapping{recordbatch.ErrMagic, kerr.CorruptMessage},
		errorMapping{recordbatch.ErrCRC, kerr.CorruptMessage},
		errorMapping{recordbatch.ErrTooLarge, kerr.MessageTooLarge},
		errorMapping{recordbatch.ErrBaseOffset, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrCount, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrControl, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrSequence, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrRecords, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrNullKey, kerr.InvalidRecord},
		errorMapping{recordbatch.ErrTimestamp, kerr.InvalidTimestamp},
		errorMapping{recordbatch.ErrCodec, kerr.UnknownServerError},      // as Kafka
		errorMapping{recordbatch.ErrDecompress, kerr.UnknownServerError}, // as Kafka
		errorMapping{recordbatch.ErrDecompressedSize, kerr.MessageTooLarge},

		errorMapping{partition.ErrOutOfRange, kerr.OffsetOutOfRange},
		errorMapping{partition.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
		errorMapping{partition.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
		errorMapping{partition.ErrStaleLeaderEpoch, kerr.NotLeaderForPartition},
		errorMapping{partition.ErrTooLarge, kerr.MessageTooLarge},
		errorMapping{partition.ErrNoSpace, kerr.KafkaStorageError},
		errorMapping{partition.ErrWALFull, kerr.KafkaStorageError},
		errorMapping{partition.ErrDropped, kerr.NotLeaderForPartition},
		errorMapping{partition.ErrExists, kerr.UnknownServerError},
		errorMapping{partition.ErrTruncateBelowHighWatermark, kerr.UnknownServerError},
		errorMapping{partition.ErrTruncateBelowSegments, kerr.UnknownServerError}, // of followers: no client comes upon it
		errorMapping{partition.ErrBadBatch, kerr.CorruptMessage},
		errorMapping{partition.ErrUncommitted, kerr.NotEnoughReplicas}, // for acks=1 too

		errorMapping{wal.ErrNoSpace, kerr.KafkaStorageError},
		errorMapping{wal.ErrFull, kerr.KafkaStorageError},
		errorMapping{wal.ErrTooLarge, kerr.MessageTooLarge},
		errorMapping{wal.ErrNotFound, kerr.KafkaStorageError},
		errorMapping{wal.ErrClosed, kerr.NotLeaderForPartition},
		errorMapping{wal.ErrFailed, kerr.KafkaStorageError},
		errorMapping{wal.ErrOptions, kerr.UnknownServerError}, // at the start only
		errorMapping{wal.ErrVersion, kerr.UnknownServerError}, // at the start only
	)
}
