// Package failover kills the processes that groups and producers depend on: the coordinator of a group, the leader of a partition, one
// after the other, or all at once, with consumers that commit and idempotent producers at work.
//
// Why: what a client of three nodes is promised when one of them ends can only be seen on processes and with a client that somebody else
// has written.
//
// What is checked all the time: a committed offset that was acknowledged is never found lower or gone, by anybody who asks (offsets.go); a
// group whose members keep sending heartbeats has the same members in the same generation afterwards; every value of an idempotent producer
// is there once, at the offset that was acknowledged, in order.
//
// It takes a minute in `go test`; CHRONIK_FAILOVER_KILLS=20 makes each of its parts kill so often.
//
// Files: offsets.go (what was committed, and who asks). Tests: cluster_test.go (a cluster, who leads what), consumer_test.go (members of a
// group), group_test.go, static_test.go, clean_test.go, producer_test.go, damage_test.go (bits flipped in segments
// on disk: a follower's, a leader's).
package failover
