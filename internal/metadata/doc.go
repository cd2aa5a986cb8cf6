// Package metadata is what a Chronik cluster knows about itself, as a value: brokers, topics, partitions, settings, producer id blocks,
// voters and the ids of deleted topics.
//
// Why it exists: the metadata log is a list of events, and every node, tool and test must draw the same conclusions from the same list.
// So the conclusions live here, in one pure function: an Image plus an Event is the next Image. There is no clock, no randomness, no
// I/O and no map order in this package; identifiers and timestamps come in the events.
//
// # Invariants
//
//  1. An Image never changes. Every pointer, slice and map reached from one is read-only for whoever holds it.
//  2. Apply either refuses an event and leaves the image as it was, or all of the event is in the next image.
//  3. Epochs only rise: a broker's with each registration, a partition's leader epoch with each leader, its partition epoch by exactly
//     one with each change of the partition.
//  4. In each partition the in-sync replicas (ISR) are replicas, the leader is in the ISR or is -1, and the eligible leader replicas
//     (ELR) are replicas outside the ISR.
//  5. A topic id is used once: a deleted topic leaves a tombstone that refuses it.
//  6. Images of equal content have equal hashes, however they came about; the hash is the sum of the hashes of the entities.
//  7. An event or entity of a type or version this build does not know is an error; whoever reads it must stop, never skip.
//
// # Concurrency
//
// Images, topics, partitions and deltas may be read by any number of goroutines. A Batch belongs to one goroutine.
//
// # Files
//
//	image.go      Image and how to read it
//	entity.go     the entities an image is made of
//	event.go      the events and the table of their types
//	codec.go      events and entities as JSON
//	batch.go      Apply: many events in one step, and the Delta
//	apply_*.go    what each event demands and does
//	snapshot.go   an image as a file: sorted keyed records
//	diff.go       what differs between two images
package metadata
