// Package metalog is the replicated metadata log, which clients read as the topic __chronik_metadata: an ordered list of metadata
// events that every node holds, and of which a majority of the voters holds everything that was ever committed.
//
// Why it exists: hashicorp/raft tells one node that it may try to lead, and nothing else. Who really leads, which log is the right one
// and what is committed is decided here, by durable promises to ballots and by the voters named in the log itself. If Raft named two
// leaders, or none, or the wrong one, this log would stop, but it would not be wrong.
//
// The package has three parts. Core is the protocol: a step function without I/O, clock, goroutine or randomness; the simulator
// (internal/sim) runs the same Core under faults. storage writes the core's frames through internal/wal and gives them back after a
// crash. Log is the owner: one goroutine that steps the core, and one that applies committed entries to the image.
//
// # Invariants
//
// Numbers as in the design; those marked * are asserted at run time, and a node that finds one broken halts. All are checked in the
// simulator.
//
//	I1*  a promise never decreases, and survives restarts
//	I2   one writing ballot per epoch
//	I3*  entries with equal epoch and offset have equal hashes
//	I4*  offsets are contiguous, epochs do not decrease, the hash chain verifies
//	I5   a committed entry is in the log of every later epoch at its start
//	I6*  the commit only rises, is never above the durable and verified end, and nothing below it is truncated
//	I7*  the first commit of an epoch is at or above its EpochStart
//	I8   each committed entry was durable on a majority of the voters its controller used
//	I9*  images at equal offsets have equal hashes
//	I10* successive voter sets differ by one member, at most one is uncommitted
//	I11* no reply of a faulty or wiped member or of one that does not vote is counted
//	I12* entries are applied in order and once
//	I14  when faults stop and a majority is connected, entries commit and images converge
//
// # Concurrency
//
// Core belongs to the owner goroutine of a Log, which alone emits acknowledgements. A second goroutine applies committed entries and
// runs the subscribers. All methods of Log may be called from any goroutine. Image, Status and the offsets are read through atomic
// pointers to immutable values. Every queue has a bound, named where it is made.
//
// # Files
//
//	types.go      members, ballots, entries, status
//	message.go    what nodes say to each other, and the transport
//	frame.go      what is written to the log's files
//	core*.go      the protocol
//	recover.go    from frames to the state a core starts with
//	log*.go       the owner goroutine and the methods of Log
//	storage*.go   frames in internal/wal, image files
//	README.md     bytes on disk and on the wire
package metalog
