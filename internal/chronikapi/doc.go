// Package chronikapi holds Chronik's own requests, for what Kafka's protocol has no words for: how a node is (NodeInfo), how much it does
// (NodeStats), what the metadata was at an offset (GetImage), and what is in one node's own log of a partition (PartitionChecksum).
//
// Why: the tools speak Kafka's protocol on the kafka port and nothing else, so one port, one authentication and one set of permissions
// serve all. What Kafka lacks is said in the same protocol under API keys that Kafka will not reach. A broker advertises them only to
// clients whose software name starts with "chronik", as other clients infer the broker's release from the set of its keys.
//
// Invariants:
//
//  1. Keys never change and are never used again. Fields are added at the end of a struct with a new version of the request, or as
//     tagged fields, which older readers skip; none is taken away.
//  2. One function lists the fields of a struct, for writing and for reading, so that the two cannot differ.
//  3. Reading never panics, and never allocates more than a small multiple of what was received.
//  4. Nothing here is a secret: images are redacted before they are encoded.
//
// Concurrency: values; nothing is shared.
//
// Files: keys.go (the keys and their requests), wire.go (writing and reading fields), node_info.go, node_stats.go, get_image.go,
// partition_checksum.go.
package chronikapi
