// Package replica holds the partition replicas of this node: who leads them, how far they are committed, and who waits for that.
//
// Why: the log (package partition) knows bytes and offsets, the image (package metadata) knows leaders and epochs. This package brings
// them together and decides when a record counts as committed.
//
// Invariants (the rules of data-plane.md that hold here):
//
//  1. Only a replica whose image names this node as leader, in this incarnation, appends for clients or acks (R7).
//  2. The high watermark is the smallest durable end over the ISR, and never goes back while the leader epoch lasts (R3, R4).
//  3. A waiter is called exactly once: with success only after the high watermark (acks=all) or the own durable end (acks=1) has passed
//     its offset in the leader epoch of its append; with an error when that can no longer happen or its time is over (R5).
//  4. A log is dropped only for a committed tombstone of its topic id, or a committed record that takes this node off the replicas.
//
// Concurrency: Replica.mu guards a replica's role and its queues; it is held for a few instructions and never across a callback, a
// channel operation that may block, or a call that may wait for the disk. Waiters are called on the WAL's completion goroutine, or on
// the goroutine that applies metadata; they must not block. Set.mu guards the table. Lock order: Set.mu, Replica.mu, then the log's.
//
// There is one replica per partition so far (a cluster of one node): the ISR is this node, so its own durable end is the high
// watermark. Replication adds followers' durable ends to Replica.committed and nothing else here.
//
// Files: set.go (the table, metadata deltas, drops), replica.go (role, append, reads), waiter.go (waits for the high watermark and for
// data to fetch), config.go (topic settings to log settings).
package replica
