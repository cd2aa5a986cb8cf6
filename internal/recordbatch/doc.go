// Package recordbatch reads, checks, patches and builds Kafka record batches of format v2 (magic 2).
//
// It exists so that one place knows the bytes of a batch: the server checks what a client sends, the log patches offsets into it,
// the coordinators build their own records with it, and lookups by time walk it. It does no I/O and starts no goroutine.
//
// Invariants:
//
//  1. No function panics or reads out of bounds on any input; every length and count from the wire is checked before it is used.
//  2. Nothing is allocated in proportion to a number from the wire, only to bytes that are really there; decompression stops at the
//     caller's cap.
//  3. Bytes inside the CRC'd area (from the attributes on) change only in SetTimestamps, which computes the CRC anew; base offset
//     and leader epoch lie before it.
//  4. Walking an uncompressed batch allocates nothing.
//
// Concurrency: functions are safe for concurrent use on different batches; Builder has one owner. Decoders and buffers are pooled.
//
// Layout of a batch, big endian:
//
//	position  size  field
//	0         8     base offset
//	8         4     length of what follows this field
//	12        4     partition leader epoch
//	16        1     magic, 2
//	17        4     CRC-32C of everything from position 21 on
//	21        2     attributes: bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//	23        4     last offset delta
//	27        8     base timestamp, ms
//	35        8     max timestamp, ms
//	43        8     producer id, -1 for none
//	51        2     producer epoch
//	53        4     base sequence
//	57        4     number of records
//	61              records, compressed as one block if a codec is set
//
// Files: header.go (parse, patch), errors.go, validate.go (shallow and deep checks), walk.go (varint walk), records.go (iterator),
// build.go (Builder), codec.go (compression).
package recordbatch
