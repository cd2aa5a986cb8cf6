// Package controller turns what administrators, clients and nodes ask for into metadata events.
//
// Why it exists: whether a topic may be made, a setting changed or a leader elected is decided in one place, against the newest image
// there is, by the rules of Apache Kafka 4.3. Every operation is one proposal to the metadata log: its closure looks at the working
// image, in which everything proposed before is already done, and returns events or a refusal. So two requests can never both create
// the same topic, and there is no lock.
//
// # Invariants
//
//  1. A nil error for an item of a request means that its events are committed and applied on this node.
//  2. An item that is refused changes nothing; the other items of its request are done.
//  3. Nothing here depends on what an earlier call saw: each closure decides on the image it is given, and may be run again.
//  4. Users never create, alter or delete the cluster's own topics.
//  5. What cannot be kept is refused: compaction, more partitions than the bounds of Limits.
//
// # Concurrency
//
// All methods may be called from any goroutine; they block until the log has committed and applied. Closures run on the log's owner
// goroutine, one at a time.
//
// # Files
//
//	controller.go     Controller, its options and how it proposes
//	errors.go         refusals
//	layers.go         where the value of a setting comes from
//	create_topics.go  CreateTopics and automatic creation
//	delete_topics.go  DeleteTopics and the end of tombstones
//	partitions.go     CreatePartitions and checks of manual assignments
//	configs.go        IncrementalAlterConfigs and AlterConfigs
//	elect.go          ElectLeaders
//	run.go            what the controller does by itself
//	isr.go            what leaders propose for their ISR; ChangeIsr
//	failover.go       who leaves the ISR and who leads when a broker comes, goes or stops: pure decisions
//	rebalance.go      leaderships that go back to the preferred leader
//	brokers.go        registration, fencing, producer id blocks
//	session.go        the pure core of the brokers' sessions: who is fenced, and when
//	sessions.go       Sessions, their owner
//	applied.go        which metadata each broker shows
package controller
