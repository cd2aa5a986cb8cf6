// Package placement decides which brokers hold the replicas of new partitions. It is pure.
//
// Why it exists: the decision is made on the controller inside a proposal and must be the same whenever the proposal is run on the same
// image; and it is easier to trust as a function with properties than as a part of the controller.
//
// # Invariants
//
//  1. Equal input, equal assignment.
//  2. The replicas of a partition are different brokers; the first one is live and is meant to lead.
//  3. Among the partitions of one call, no live broker leads two more than another, and where every rack has the same number of live
//     brokers none holds three replicas more than another.
//  4. The replicas of a partition are in as many racks as there are, or as there are replicas.
//  5. Brokers that are down get replicas only when fewer than the replication factor are live.
//
// # Concurrency
//
// Functions only.
//
// # Files
//
//	placement.go  Assign
package placement
