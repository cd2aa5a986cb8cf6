package recordbatch

import "errors"

// Errors of Validate, ParseHeader and the iterators. They are distinct because Kafka answers them differently; the server maps them:
//
//	INVALID_RECORD, before the log is looked at (log start offset -1 in the answer): ErrNoBatch, ErrManyBatches, ErrOldMagic
//	CORRUPT_MESSAGE (log start offset -1): ErrTooShort, ErrMagic, ErrCRC
//	MESSAGE_TOO_LARGE (log start offset -1): ErrTooLarge
//	INVALID_RECORD (log start offset given): ErrBaseOffset, ErrCount, ErrControl, ErrSequence, ErrRecords, ErrNullKey
//	INVALID_TIMESTAMP: ErrTimestamp
//	UNKNOWN_SERVER_ERROR, as Kafka does: ErrCodec, ErrDecompress; ErrDecompressedSize is ours and is MESSAGE_TOO_LARGE
var (
	// ErrNoBatch: no complete batch in the bytes (empty, or cut).
	ErrNoBatch = errors.New("no complete record batch")
	// ErrManyBatches: a second complete batch follows the first.
	ErrManyBatches = errors.New("more than one record batch")
	// ErrOldMagic: message format 0 or 1.
	ErrOldMagic = errors.New("message format older than 2")
	// ErrTooShort: the length field is below the size of a batch header.
	ErrTooShort = errors.New("batch length below the header size")
	// ErrMagic: a magic above 2 or below 0.
	ErrMagic = errors.New("unknown magic")
	// ErrCRC: the stored checksum is not that of the bytes.
	ErrCRC = errors.New("batch checksum mismatch")
	// ErrTooLarge: the batch is larger than max.message.bytes.
	ErrTooLarge = errors.New("batch larger than the limit")
	// ErrBaseOffset: a client's batch whose base offset is not 0.
	ErrBaseOffset = errors.New("base offset of a produced batch is not 0")
	// ErrCount: the record count is not positive or does not agree with the last offset delta.
	ErrCount = errors.New("record count does not match the offsets")
	// ErrControl: a client sent a control batch.
	ErrControl = errors.New("control batch from a client")
	// ErrSequence: a producer id without a base sequence.
	ErrSequence = errors.New("negative base sequence with a producer id")
	// ErrRecords: the records do not fill the batch exactly, a length is wrong, or offset deltas are not 0, 1, 2, ...
	ErrRecords = errors.New("malformed records in batch")
	// ErrNullKey: a record without a key for a compacted topic. Comes inside a *RecordsError.
	ErrNullKey = errors.New("record without a key in a compacted topic")
	// ErrTimestamp: a record's time is outside the topic's bounds. Comes inside a *RecordsError.
	ErrTimestamp = errors.New("timestamp out of range")
	// ErrCodec: a compression codec that does not exist (5 to 7).
	ErrCodec = errors.New("unknown compression codec")
	// ErrDecompress: the compressed records cannot be decompressed.
	ErrDecompress = errors.New("cannot decompress records")
	// ErrDecompressedSize: the records are larger than the cap once decompressed.
	ErrDecompressedSize = errors.New("decompressed records larger than the limit")
)

// RecordError names one record of a batch that was refused.
type RecordError struct {
	Index int32 // of the record in its batch
	Err   error // ErrTimestamp or ErrNullKey
}

// RecordsError is returned by Validate when single records are at fault; Produce v8 and later list them. Err is ErrTimestamp if any
// record has that, else ErrNullKey. At most maxRecordErrors are listed.
type RecordsError struct {
	Err     error
	Records []RecordError
}

const maxRecordErrors = 1024

func (e *RecordsError) Error() string { return e.Err.Error() }

// Unwrap makes errors.Is find the sentinel.
func (e *RecordsError) Unwrap() error { return e.Err }
