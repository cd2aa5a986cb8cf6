// Package metaclient is the one internal metadata client: what chronikctl, chronik-bench and chronik-top know of a cluster
// comes through here, and it comes in Kafka's protocol.
//
// Why: three tools with three ways to find, reach and read a cluster would disagree on the day something is wrong. Here is one
// way to say where the cluster is (flags, profile, environment, a node's config file), one way to dial it, one way to read the
// metadata log, and one way to say why that failed.
//
// Invariants:
//  1. Everything speaks Kafka protocol on the kafka port; against another Kafka-compatible cluster whatever needs an API that it
//     lacks says so (ErrNoMetadataLog), the rest works.
//  2. The client software name starts with "chronik": brokers show their private APIs to such clients only.
//  3. Nothing is dialled before Reach or the first request; when no broker can be reached the error names every address and its cause.
//  4. The log is folded with metadata.Apply, the same code as in the server; an entry that it refuses stops the fold, never skips.
//  5. Secrets come from settings, profiles or files and are never printed.
//
// Concurrency: a Client may be used by any number of goroutines. A Tail and a Fold belong to one goroutine each.
//
// Files: target.go (where the cluster is), settings.go (-X), client.go (dialling), explain.go (errors), status.go (the cluster's
// state in one value), extents.go (where partitions begin and end), replicas.go and replicadir.go (are replicas equal), topics.go (names, with did you mean), metadatalog.go (reading and folding the log), offset.go (offsets and times as users write them).
package metaclient
