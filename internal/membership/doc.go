// Package membership runs hashicorp/raft for the two things that Chronik uses it for: which node should try to lead, and
// who belongs to the cluster at which address.
//
// Why a package of its own: the safety of the metadata log must not depend on Raft being right (it has known bugs, and its
// reads and terms promise less than they seem to). So Raft stands behind a wall here, is hardened where that is possible,
// and only ever gives a hint: "the claim of this process was committed in term T". The metadata log's own ballots and
// voter records give safety.
//
// Invariants, each pinned by a test:
//  1. Heartbeats go through Raft's main loop: the transport swallows SetHeartbeatHandler.
//  2. Nothing is pipelined: one request in flight per connection.
//  3. Term and candidate of a vote reach the disk in one transaction, or neither does.
//  4. A failed write, or one that takes 10 s, ends the process; nothing is retried on a store in doubt.
//  5. Leadership is learnt from LeaderCh as a hint, and only a committed claim of this process's boot nonce is reported,
//     with the term of its log entry. VerifyLeader, NotifyCh and CurrentTerm are not used.
//  6. A connection says cluster id and the id of the server that it wants; anything else is refused before Raft sees it.
//  7. Removing a server does not stop its process.
//  8. A vote is asked for on a connection to the process that is there: dead ones that are kept are tried past.
//  9. A candidate knows no leader: what it learnt while it elected itself is forgotten before the next request for its vote.
//  10. A banned member (Ban) neither votes nor leads here: no connection with it is made or kept.
//
// Concurrency: Membership may be used by all goroutines. OnClaim runs on Raft's FSM goroutine and must return quickly.
//
// Files: membership.go (open, claim, close), lead.go (elections that do not wait, hand-over), fsm.go (members and claim), store.go (bbolt), entry.go (its encoding),
// transport.go (the wrapper), stream.go (connections and their handshake), bans.go (with whom there are none), logger.go (Raft's log lines).
package membership
