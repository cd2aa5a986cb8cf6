// Package wal is a segmented append-only log with group commit, used twice in a node: for the data of all partitions
// and for the metadata log.
//
// Why: one commit that covers everything pending costs one sync, whatever the number of partitions. Files are
// zero-filled once and recycled, because overwriting written blocks keeps the file-system journal out of the sync.
//
// Invariants:
//  1. Commit n+1 is written only after commit n is synced. So the torn unit is one commit, the last.
//  2. Nothing is reported durable before the sync that covers it has returned.
//  3. A slot is entered only after its header (random salt, generation, first sequence) is synced and the Roll commit
//     naming it is synced in the slot before.
//  4. Recovery cuts the last commit only, only if no later commit exists, and only if it looks torn; everything else
//     is a fault, never "the end".
//  5. The last valid commit is rewritten and synced before Open returns: what is reported is on the disk.
//  6. No sync is ever retried. A failed write or sync ends the process (Options.OnFatal).
//  7. A record that was accepted has space: placement is decided, on zero-filled blocks, when it is appended.
//  8. Memory is bounded: RingBytes for commits, MaxPendingBytes of them not yet durable, 4 bytes per live commit for
//     positions.
//
// Concurrency: see the table of goroutines and locks in README.md. Append, Read, Sync, Usage, Slots and Recycle may
// be called from any goroutine; Durable callbacks run on one completion goroutine.
//
// Files: api.go types and errors, wal.go the log and its life, append.go records into commits and their places,
// committer.go the commit and completion goroutines, filler.go space ahead of the writer, ring.go and memory_*.go recent
// commits, read.go reads, slot.go and format.go what is on disk, scan.go what stands at a place, recover.go, replay.go and
// settle.go the start, bugs.go mistakes for tests. README.md gives the bytes on disk, the rules of recovery and the locks.
package wal
