// Package peer carries everything that nodes say to each other on the wal port, except Raft.
//
// Why: metadata, heartbeats, forwarded requests and bulk replication share one port and one handshake, but must not stand in each
// other's way. So there are connections of three classes, the control class has lanes, and every queue has a bound: what does not fit is
// dropped or refused at the sender, who knows what it means.
//
// Invariants:
//  1. Nothing is handed to a handler before both sides have accepted the other's Hello: protocol version, cluster, genesis, node, disk.
//  2. A process that has not adopted a genesis (Hello.Founding) can only use, and only answers, the methods of founding.
//  3. A connection belongs to one process of the other node: a restart is another connection with another nonce.
//  4. A frame is delivered whole and with a right checksum, in the order of its lane, or the connection ends.
//  5. Call fails with ErrUnreachable or ErrBusy only if the handler did not run; when that is not known it is ErrUnknown.
//  6. The dialer owns reconnects; each direction of a pair has its own connection, so that a one-way cut is seen as what it is.
//
// Concurrency: all methods of Mesh may be called from any goroutine. Each control connection has a reader and a writer goroutine. Handlers
// of casts run on the reader and must not block; handlers of calls run on goroutines of their own, bounded per connection. Watchers are
// called one at a time, in order, on a goroutine of the mesh.
//
// Files: mesh.go (options, listener, who is dialed), hello.go (who is who, the handshake), refusal.go, frame.go (bytes of a frame),
// queue.go (lanes of a connection), link.go (dialing), conn.go (a control connection), rpc.go (calls), stream.go (live and catch-up),
// status.go (events, state), metalog.go (messages of the metadata log).
package peer
