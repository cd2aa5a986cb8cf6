package kafkaserver

import "github.com/chronik-io/chronik/internal/chronikapi"

// requestSchemas describes the body of every served request, for the walker, which checks a body before kmsg decodes it. The notation:
//
//	field     name:type, or name:type@versions where a version has no such field: @3+ (from 3), @0-12 (both inclusive)
//	tagged    name:type%tag, or with versions name:type@12+%0; only in flexible versions
//	types     b i8 i16 i32 i64 uuid; s string, by bytes; [T] array of a type, [f f f] array of a struct; {f f} struct
//	nullable  n before s, by, [ and {
//
// Which versions are flexible (compact lengths, tagged fields) comes from kmsg. Where Kafka made a field nullable later it stands twice
// with the versions of each. A test fills kmsg's requests at random and holds every key and version to it.
var requestSchemas = map[int16]string{
	0: `txnID:ns@3+ acks:i16 timeout:i32 topics:[name:s@0-12 id:uuid@13+ partitions:[index:i32 records:nby]]`,
	1: `cluster:ns@12+%0 replica:i32@0-14 replicaState:{id:i32 epoch:i64}@15+%1 maxWait:i32 minBytes:i32 maxBytes:i32@3+
		isolation:i8@4+ session:i32@7+ sessionEpoch:i32@7+
		topics:[name:s@0-12 id:uuid@13+ partitions:[index:i32 leaderEpoch:i32@9+ offset:i64 lastEpoch:i32@12+ logStart:i64@5+
			maxBytes:i32 directory:uuid@17+%0 highWatermark:i64@18+%1]]
		forgotten:[name:s@7-12 id:uuid@13+ partitions:[i32]]@7+ rack:s@11+`,
	2: `replica:i32 isolation:i8@2+ topics:[name:s partitions:[index:i32 leaderEpoch:i32@4+ timestamp:i64 max:i32@0-0]]
		timeout:i32@10+`,
	3: `topics:[name:s]@0-0 topics:n[id:uuid@10+ name:s@1-9 name:ns@10+]@1+ create:b@4+ clusterOps:b@8-10 topicOps:b@8+`,
	8: `group:s generation:i32@1+ member:s@1+ instance:ns@7+ retention:i64@2-4
		topics:[name:s@0-9 id:uuid@10+ partitions:[index:i32 offset:i64 timestamp:i64@1-1 leaderEpoch:i32@6+ metadata:ns]]`,
	9: `group:s@0-7 topics:[name:s indexes:[i32]]@0-1 topics:n[name:s indexes:[i32]]@2-7
		groups:[group:s member:ns@9+ memberEpoch:i32@9+ topics:n[name:s@8-9 id:uuid@10+ indexes:[i32]]]@8+ stable:b@7+`,
	10: `key:s@0-3 type:i8@1+ keys:[s]@4+`,
	11: `group:s session:i32 rebalance:i32@1+ member:s instance:ns@5+ type:s protocols:[name:s metadata:by] reason:ns@8+`,
	12: `group:s generation:i32 member:s instance:ns@3+`,
	13: `group:s member:s@0-2 members:[member:s instance:ns reason:ns@5+]@3+`,
	14: `group:s generation:i32 member:s instance:ns@3+ type:ns@5+ protocol:ns@5+ assignments:[member:s assignment:by]`,
	15: `groups:[s] ops:b@3+`,
	16: `states:[s]@4+ types:[s]@5+`,
	18: `software:s@3+ version:s@3+`,
	19: `topics:[name:s partitions:i32 replication:i16 assignments:[partition:i32 brokers:[i32]] configs:[name:s value:ns]]
		timeout:i32 validate:b@1+`,
	20: `names:[s]@0-5 topics:[name:ns id:uuid]@6+ timeout:i32`,
	21: `topics:[name:s partitions:[index:i32 offset:i64]] timeout:i32`,
	22: `txnID:ns timeout:i32 producer:i64@3+ epoch:i16@3+`,
	23: `replica:i32@3+ topics:[name:s partitions:[index:i32 current:i32@2+ epoch:i32]]`,
	32: `resources:[type:i8 name:s keys:n[s]] synonyms:b@1+ docs:b@3+`,
	33: `resources:[type:i8 name:s configs:[name:s value:ns]] validate:b`,
	35: `topics:n[name:s partitions:[i32]]`,
	37: `topics:[name:s count:i32 assignments:n[brokers:[i32]]] timeout:i32 validate:b`,
	42: `groups:[s]`,
	43: `type:i8@1+ topics:n[name:s partitions:[i32]] timeout:i32`,
	44: `resources:[type:i8 name:s configs:[name:s op:i8 value:ns]] validate:b`,
	47: `group:s topics:[name:s partitions:[index:i32]]`,
	55: `topics:[name:s partitions:[index:i32]]`,
	60: `clusterOps:b endpointType:i8@1+ fenced:b@2+`,
	61: `topics:[name:s indexes:[i32]]`,
	74: `types:[i8]@1+`,
	75: `topics:[name:s] limit:i32 cursor:n{topic:s partition:i32}`,

	chronikapi.NodeInfo:          `hashAt:i64`,
	chronikapi.NodeStats:         ``,
	chronikapi.GetImage:          `offset:i64`,
	chronikapi.PartitionChecksum: `topic:uuid partition:i32 from:i64 to:i64 crc:i32`,
}
