// Package replica holds the partition replicas of this node: who leads them, how their records get to the followers, how far they are
// committed, and who waits for that.
//
// Why: the log (package partition) knows bytes and offsets, the image (package metadata) knows leaders, epochs and who is in sync. This
// package brings them together: a leader pushes what it appends to the followers while its own disk syncs it, and a record counts as
// committed when all in-sync replicas have it on disk. README.md has the protocol, byte by byte.
//
// Invariants (R: the rules of the data plane's design):
//
//  1. Only a replica whose image names this node as leader, in this incarnation, and which is not isolated, appends for clients or acks
//     (R7, R11). One that was isolated goes on in the same leader epoch with what it knows, what became durable meanwhile included.
//  2. A follower takes a push only from the process and in the leader epoch that its own image names; else it refuses and parks nothing
//     (R1). What it refuses it tells on the stream that carried it, before the ack of that frame; the ack then says nothing about it.
//  3. An ack says that all of a frame is durable here, or was refused (R3). It counts only in the leader epoch of the push, and only for
//     the incarnation of the follower that the leader's image shows (R4). A refusal voids its frame whichever stream the follower is on by then.
//  4. The high watermark is the smallest durable end over the ISR and the additions that are proposed, moves only while the ISR is as large
//     as min.insync.replicas asks, and never goes back while the leader epoch lasts (R4). A follower's is at most what it has verified to be
//     the leader's.
//  5. A follower never cuts to the high watermark (R2), and never below what it verified in the epoch (R10). It cuts where the leader's
//     batch of another epoch stands in the place of its own; below its high watermark only after an unclean election. What contradicts this
//     is ErrDiverged and ends the process.
//  6. A change of the ISR is proposed with the epochs and incarnations that were measured, one at a time per partition, again and verbatim
//     until the metadata or a definite refusal ends it (R6). Who has less than it had acked leaves, and comes back only with all (R8).
//  7. A waiter is called exactly once: with success only after the high watermark (acks=all) or the own durable end (acks=1) has passed its
//     offset in the leader epoch of its append; with an error when that can no longer happen or its time is over (R5).
//  8. A new leader does not tell the latest offset before its high watermark has reached the start of its epoch (R17).
//  9. The log start is the leader's, and a follower takes it over as far as its own high watermark goes (R14).
//  10. A log is dropped only for a committed tombstone of its topic id, or a committed record that takes this node off the replicas.
//  11. One partition that cannot be taken stands still; the stream, which all partitions of two nodes share, goes on.
//
// The decisions are in two pure cores (LeaderCore, FollowerCore) and two windows (SendWindow, AckQueue), without clock, I/O or lock. The
// simulator (internal/sim) runs these very types, with the rules left out one by one (Bugs); what stands around them here is known to it
// only in effect: streams of their own for what was missed, and the locks, are not simulated.
//
// Concurrency. Set.applying: one image at a time. Replica.receiving: one push of the partition at a time. Replica.mu guards a replica's
// role, cores and queues, and is never held across a callback of a waiter, a write to a stream, or a wait for a follower. It is held over
// what changes a follower's log (Truncate, Reset, FollowStart), which put a small record into the WAL and may wait for memory there, and
// over short looks into the log. sender.mu and receiver.mu guard what belongs to one stream. Set.mu guards the table, Set.peersMu the
// senders and receivers. Waiters are called on the WAL's completion goroutine, on the goroutine that reads a follower's answers, or on the
// one that applies metadata; they must not block.
//
// Lock order: Set.applying; Replica.receiving; Replica.mu; then any one of Set.mu, Set.peersMu, sender.mu, receiver.mu, commitWakes.mu and
// the log's locks. None of the last group is held while another lock is taken. The hook of the log (Replica.durable) takes Replica.mu, so the
// log does not call it while it is being changed.
//
// Goroutines. Set.Run: the sweep of expired waits and drops, one for the ISRs, and per other node one sender for each stream class, with one
// that reads its answers; Run returns when all have. Set.Serve: one per stream that another node has opened, with one that writes answers;
// they belong to the mesh, and may outlive Run by little: the store is closed after the mesh.
//
// Files: set.go (the table, metadata deltas, drops), view.go (what an image says of a partition), replica.go (role, append, reads),
// waiter.go (waits for the high watermark and for data to fetch), config.go (topic settings to log settings); leader: core_leader.go,
// core_isr.go, push.go, isr.go; follower: core_follower.go, follow.go; streams: peers.go, sender*.go, receiver.go, window.go, wire.go; damage and
// the log start: core_repair.go, damage.go, compare.go, logstart.go; bugs.go (what the simulator leaves out).
package replica
