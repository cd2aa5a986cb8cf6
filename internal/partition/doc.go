// Package partition keeps the logs of the partition replicas of a node.
//
// Why: all partitions share one WAL, so that one sync covers them all, however many there are. A partition is a view over it: recent
// batches are found in the WAL by an index in memory, older ones in segment files of the partition's own, written behind the ack path.
// An idle partition costs a small struct, no file and no goroutine.
//
// Invariants (the rules of data-plane.md that hold here):
//
//  1. Segments hold only records below the high watermark, so they are never truncated.
//  2. The segment end is the synced end named in the last State record. Bytes above it in the files are cut when the segment is opened
//     after a start, and rebuilt from the WAL.
//  3. A State replaces the partition's view: start, end, segment end, epochs, producers and all batches not in segments, by value
//     (carried) or by reference (still in the WAL behind the State's oldest reference). It is built and enqueued under the log's mutex.
//  4. A WAL slot is recycled strictly oldest first and only when every partition named in it has a durable State behind it that refers
//     to nothing in it.
//  5. The log start moves only by a LogStart record that is durable before files go, and is never inferred from what is there. Data
//     that does not reach down to it is ErrCorrupt.
//  6. A Drop record is durable before the directory goes; Create writes Reset.
//  7. Records of a batch are kept verbatim; only base offset, leader epoch and, for log append time, time and CRC are set.
//  8. Corrupt data is reported, never cut and never served.
//  9. Index memory, open files, producers, carried bytes and what is admitted above the high watermark are bounded.
//  10. Nothing of before a Reset comes back: files go once it is durable, and no segment is created before they are gone.
//  11. Whoever works on a log without its mutex looks at viewGen before what it made is used: a Reset, a truncation below the high
//     watermark, or a log start beyond the segments came in between when it has changed.
//
// Concurrency: one mutex per Log guards its fields; offsets that others poll are atomics. No file is read or written under it, but
// records are put into the WAL. Store.maint serialises everything that writes or deletes segment files. Lock order: Store.maint,
// Log.segMu, Log.mu, Store.mu, then the WAL's; Log.durableMu, fileCache.mu and segment.mu are leaves.
//
// Files: README.md has the bytes on disk. api.go (types, errors), log.go (the struct, offsets), append.go, replicate.go (what a follower
// does: appends, Reset, log start), truncate.go, read.go, push.go (reads for followers, checksums), inspect.go (stopped nodes), extent.go (sizes before reading),
// lookup.go (times), lineage.go (leader epochs), producer.go (idempotence), uncommitted.go (bounds above the high watermark), record.go
// (WAL payloads), replay.go (recovery), store.go, maintain.go (Run), materialize.go (WAL to segments), recycle.go (States), move.go (batches
// that have to stay in the WAL), retention.go, segment.go, index.go and files.go (segment files), bugs.go (mistakes for tests to find).
package partition
