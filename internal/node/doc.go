// Package node is the composition root: it builds one server out of the other packages, starts them in order, and stops
// them in the opposite order.
//
// Why: the order is where durability is won or lost. Identity before files, recovery before the network, the broker's new
// incarnation before its leadership, everything before the first client. It stands in one function, readable from top to
// bottom.
//
// Invariants:
//  1. One process per data directory, held by a lock; one identity per directory, compared at every start.
//  2. The boot counter is durable before anything that carries it leaves the process.
//  3. The Kafka port answers only when every recovered partition can be led: ready means ready.
//  4. A broken disk or a broken invariant ends the process at once, loudly, with no write to clean up.
//
// Concurrency: Start and Stop are called by one goroutine; everything between runs in the packages.
//
// Files: node.go (start and stop order), identity.go (meta.properties), genesis.go and
// found.go (how a cluster begins), cluster.go (the other nodes), register.go, listen.go (ports), broker.go and broker_cluster.go (heartbeats, the lease,
// forwarding), alive.go (is another node there?), failover.go (elections without Raft's timeout), replication.go (streams, ISR changes, the end of a
// broker), http.go (metrics, health,
// profiles), metrics.go and disk.go (what is measured), space.go (free space), memory.go (garbage collector), groups.go (where group
// state is kept), logging.go.
package node
