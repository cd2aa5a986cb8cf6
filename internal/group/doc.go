// Package group is the coordinator of classic consumer groups: who is a member, which generation the group is in, who assigns what to
// whom, and up to where the group has read. It speaks in types of its own; internal/kafkaserver turns them into Kafka's requests.
//
// All state lives in the partitions of __consumer_offsets, in Kafka's own record formats, so that Kafka's tools read it. A group belongs
// to the partition that Kafka would choose; the leader of that partition coordinates it.
//
// Invariants:
//
//  1. A commit is answered when it is below the high watermark, an assignment is given out when it is stored, and no answer tells of
//     what is not durable: answers are held until the append they depend on is (machine.afterWrite).
//  2. A partition is loaded to the end that its log had when the leader epoch began, and answers nothing before that. It never says
//     "no offset" while loading; heartbeats are fine meanwhile, and a SyncGroup has to join again.
//  3. Memory equals the log: a change is made when its record is appended, in the order of the log. An append that was accepted and then
//     fails ends the machine, and the partition is loaded again.
//  4. Nobody waits without end: a member has a session timer, or waits for an answer that a timer of its group bounds.
//  5. One member leads a generation, a group's generation never goes back while it is coordinated here, and the stored one never does.
//  6. What clients can make it hold is bounded: groups, bytes of state, ids given out, members, record sizes (Config).
//  7. The log stays within a constant factor of the live state: the cleaner appends the live state at the end, and when that is durable
//     moves the log start to where it began. There is no compaction to rely on.
//
// A group's states: Empty (offsets only), PreparingRebalance (members join), CompletingRebalance (the leader's assignment is awaited),
// Stable. Only Stable and Empty are stored.
//
//	         first join                all joined, or time is over
//	Empty ---------------> Preparing ------------------------------> Completing
//	  ^                     ^   |  ^                                   |    |
//	  |    nobody is left   |   |  | a member joins, leaves, is silent |    | assignment stored
//	  +---------------------|---+  +-----------------------------------+    v
//	                        +------------------------------------------- Stable
//
// Concurrency: a machine is the state of one partition and does no I/O, reads no clock and starts no goroutine; the lock of its shard owns
// it. Requests run on the caller's goroutine under that lock and then wait without it. The log's completions never wait for the lock:
// they queue, and whoever holds it takes them in when it lets go (shard.unlock). One goroutine fires the timers of all shards, one
// cleans, one expires. Lock order: shard.mu, Coordinator.mu, shard.doneMu. A record that waits for room in the log holds its shard's lock.
//
// Files: calls.go (requests come in), coordinator.go (terms, timers, upkeep), shard.go (lock, log, loading), machine.go (appends, held
// answers, books), join.go, rebalance.go, sync.go, offsets.go (what requests do), group.go (members and votes), expire.go, clean.go,
// load.go, record.go (stored formats), timers.go, log.go (what it needs of the log), config.go, api.go, errors.go.
package group
