package metadata

import "github.com/chronik-io/chronik/internal/uuid"

// What each event writes, in the order and under the names of its struct tags.

func (e *ClusterFounded) appendFields(w *jsonWriter) {
	w.str("clusterId", e.ClusterID)
	w.int("metadataVersion", int64(e.MetadataVersion))
	w.levelMap("features", e.Features)
	objects(w, "founders", e.Founders, appendVoter)
	w.int("timestampMs", e.TimestampMs)
}

func (e *VotersChanged) appendFields(w *jsonWriter) { objects(w, "voters", e.Voters, appendVoter) }

func (e *BrokerRegistered) appendFields(w *jsonWriter) {
	appendBrokerEpoch(w, e.BrokerID, e.BrokerEpoch)
	w.uuid("incarnation", e.Incarnation)
	w.uuid("diskId", e.DiskID)
	objects(w, "endpoints", e.Endpoints, appendEndpoint)
	w.str("rack", e.Rack)
	w.bool("fenced", e.Fenced)
}

func (e *BrokerFenced) appendFields(w *jsonWriter)   { appendBrokerEpoch(w, e.BrokerID, e.BrokerEpoch) }
func (e *BrokerUnfenced) appendFields(w *jsonWriter) { appendBrokerEpoch(w, e.BrokerID, e.BrokerEpoch) }
func (e *BrokerStopping) appendFields(w *jsonWriter) { appendBrokerEpoch(w, e.BrokerID, e.BrokerEpoch) }
func (e *BrokerUnregistered) appendFields(w *jsonWriter) {
	appendBrokerEpoch(w, e.BrokerID, e.BrokerEpoch)
}

func (e *TopicCreated) appendFields(w *jsonWriter) {
	w.str("name", e.Name)
	w.uuid("topicId", e.TopicID)
	w.bool("internal", e.Internal)
	w.int("timestampMs", e.TimestampMs)
	objects(w, "partitions", e.Partitions, appendPartitionState)
	w.stringMap("configs", e.Configs)
}

func (e *TopicDeleted) appendFields(w *jsonWriter) {
	w.str("name", e.Name)
	w.uuid("topicId", e.TopicID)
	w.int("timestampMs", e.TimestampMs)
}

func (e *TombstonesPurged) appendFields(w *jsonWriter) {
	w.name("topicIds")
	w.buf = appendList(w.buf, e.TopicIDs, func(b []byte, id uuid.UUID) []byte { return appendString(b, id.String()) })
}

func (e *PartitionsAdded) appendFields(w *jsonWriter) {
	w.str("name", e.Name)
	w.uuid("topicId", e.TopicID)
	w.int("first", int64(e.First))
	objects(w, "partitions", e.Partitions, appendPartitionState)
}

func (e *AssignPartition) appendFields(w *jsonWriter) {
	appendPartitionName(w, e.Name, e.TopicID, e.Partition)
	w.ints("replicas", e.Replicas)
	w.ints("adding", e.Adding)
	w.ints("removing", e.Removing)
	w.int("partitionEpoch", int64(e.PartitionEpoch))
}

func (e *SetLeader) appendFields(w *jsonWriter) {
	appendPartitionName(w, e.Name, e.TopicID, e.Partition)
	w.int("leader", int64(e.Leader))
	w.ints("isr", e.ISR)
	w.ints("elr", e.ELR)
	w.int("leaderEpoch", int64(e.LeaderEpoch))
	w.int("partitionEpoch", int64(e.PartitionEpoch))
	w.bool("unclean", e.Unclean)
}

func (e *UpdateIsr) appendFields(w *jsonWriter) {
	appendPartitionName(w, e.Name, e.TopicID, e.Partition)
	w.ints("isr", e.ISR)
	w.ints("elr", e.ELR)
	w.longs("brokerEpochs", e.BrokerEpochs)
	w.int("leaderEpoch", int64(e.LeaderEpoch))
	w.int("partitionEpoch", int64(e.PartitionEpoch))
}

func (e *ConfigChanged) appendFields(w *jsonWriter) {
	w.str("resource", string(e.Resource))
	w.str("name", e.Name)
	w.stringMap("set", e.Set)
	w.strings("remove", e.Remove)
}

func (e *ProducerIDsAllocated) appendFields(w *jsonWriter) {
	appendBrokerEpoch(w, e.BrokerID, e.BrokerEpoch)
	w.int("first", e.First)
	w.int("next", e.Next)
}

func appendVoter(w *jsonWriter, v *Voter) {
	w.int("nodeId", int64(v.NodeID))
	w.uuid("diskId", v.DiskID)
}

func appendEndpoint(w *jsonWriter, e *Endpoint) {
	w.str("listener", e.Listener)
	w.str("host", e.Host)
	w.int("port", int64(e.Port))
}

func appendPartitionState(w *jsonWriter, p *PartitionState) {
	w.ints("replicas", p.Replicas)
	w.ints("isr", p.ISR)
	w.int("leader", int64(p.Leader))
}

func appendBrokerEpoch(w *jsonWriter, id int32, epoch int64) {
	w.int("brokerId", int64(id))
	w.int("brokerEpoch", epoch)
}

func appendPartitionName(w *jsonWriter, topic string, id uuid.UUID, n int32) {
	w.str("name", topic)
	w.uuid("topicId", id)
	w.int("partition", int64(n))
}
