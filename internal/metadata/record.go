package metadata

import (
	"strconv"
)

// record is an entity in its canonical form: what a snapshot holds and what is hashed.
type record struct {
	key   string
	value []byte
}

func (r record) hash() Hash { return entityHash(r.key, r.value) }

func newRecord(key string, fields func(w *jsonWriter)) record {
	w := jsonWriter{buf: make([]byte, 0, 256)}
	w.buf = append(w.buf, '{')
	fields(&w)
	return record{key, append(w.buf, '}')}
}

func (c *Cluster) entity() record {
	return newRecord(keyCluster, func(w *jsonWriter) {
		w.str("id", c.ID)
		w.int("foundedMs", c.FoundedMs)
		w.int("metadataVersion", int64(c.MetadataVersion))
		w.levelMap("features", c.Features)
		objects(w, "founders", c.Founders, appendVoter)
	})
}

func (v *voterSet) entity() record {
	return newRecord(keyVoters, func(w *jsonWriter) { objects(w, "voters", v.Voters, appendVoter) })
}

func (p *producerIDs) entity() record {
	return newRecord(keyProducerIDs, func(w *jsonWriter) { w.int("next", p.Next) })
}

func (b *Broker) entity() record {
	return newRecord(brokerKey(b.ID), func(w *jsonWriter) {
		w.int("id", int64(b.ID))
		w.int("epoch", b.Epoch)
		w.uuid("incarnation", b.Incarnation)
		w.uuid("diskId", b.DiskID)
		objects(w, "endpoints", b.Endpoints, appendEndpoint)
		w.str("rack", b.Rack)
		w.bool("fenced", b.Fenced)
		if b.Stopping { // written only where it is set: as builds before it did, so that all hash alike
			w.bool("stopping", true)
		}
	})
}

func (t *Topic) entity() record {
	return newRecord(topicKey(t.Name), func(w *jsonWriter) {
		w.str("name", t.Name)
		w.uuid("id", t.ID)
		w.bool("internal", t.Internal)
		w.int("createdMs", t.CreatedMs)
	})
}

func (t *Tombstone) entity() record {
	return newRecord(tombstoneKey(t.ID), func(w *jsonWriter) {
		w.uuid("id", t.ID)
		w.str("name", t.Name)
		w.int("deletedMs", t.DeletedMs)
	})
}

func (c *configResource) entity() record {
	return newRecord(c.Key(), func(w *jsonWriter) {
		w.str("resource", string(c.Type))
		w.str("name", c.Name)
		w.stringMap("values", c.values)
	})
}

// entity is the partition's record; the topic's name is not in the partition itself.
func (p *Partition) entity(topic string, n int32) record {
	w := jsonWriter{buf: make([]byte, 0, 160)}
	w.buf = append(w.buf, '{')
	w.str("topic", topic)
	w.int("partition", int64(n))
	w.ints("replicas", p.Replicas)
	w.ints("isr", p.ISR)
	w.ints("elr", p.ELR)
	w.ints("adding", p.Adding)
	w.ints("removing", p.Removing)
	w.int("leader", int64(p.Leader))
	w.int("leaderEpoch", int64(p.LeaderEpoch))
	w.int("partitionEpoch", int64(p.PartitionEpoch))
	if p.UncleanEpoch != 0 { // as with Broker.Stopping
		w.int("unclean", int64(p.UncleanEpoch))
	}
	key := make([]byte, 0, 32)
	key = append(append(append(key, "partition/"...), topic...), '/')
	return record{string(strconv.AppendInt(key, int64(n), 10)), append(w.buf, '}')}
}

// records are all entities of an image. Entities that never were set have none.
func (im *Image) records(yield func(record) bool) {
	if im.cluster.ID != "" && !yield(im.cluster.entity()) {
		return
	}
	if len(im.voters.Voters) > 0 && !yield(im.voters.entity()) {
		return
	}
	if im.producerIDs.Next > 0 && !yield(im.producerIDs.entity()) {
		return
	}
	for b := range im.Brokers() {
		if !yield(b.entity()) {
			return
		}
	}
	for c := range walk(im.configs) {
		if !yield(c.entity()) {
			return
		}
	}
	for t := range im.Tombstones() {
		if !yield(t.entity()) {
			return
		}
	}
	for t := range im.Topics() {
		if !yield(t.entity()) {
			return
		}
		for n, p := range t.Partitions {
			if !yield(p.entity(t.Name, int32(n))) {
				return
			}
		}
	}
}
