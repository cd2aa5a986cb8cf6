package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Names of broker settings that code asks for.
const (
	AdvertisedListeners           = "advertised.listeners"
	AutoCreateTopics              = "auto.create.topics.enable"
	AutoLeaderRebalance           = "auto.leader.rebalance.enable"
	BrokerRack                    = "broker.rack"
	ConnectionsMaxIdleMs          = "connections.max.idle.ms"
	DefaultReplicationFactor      = "default.replication.factor"
	DeleteTopicEnable             = "delete.topic.enable"
	FetchMaxBytes                 = "fetch.max.bytes"
	FetchSessionSlots             = "max.incremental.fetch.session.cache.slots"
	GroupInitialRebalanceDelayMs  = "group.initial.rebalance.delay.ms"
	GroupMaxSessionTimeoutMs      = "group.max.session.timeout.ms"
	GroupMaxSize                  = "group.max.size"
	GroupMinSessionTimeoutMs      = "group.min.session.timeout.ms"
	MaxConnections                = "max.connections"
	MaxConnectionsPerIP           = "max.connections.per.ip"
	NumPartitions                 = "num.partitions"
	OffsetMetadataMaxBytes        = "offset.metadata.max.bytes"
	OffsetsCommitTimeoutMs        = "offsets.commit.timeout.ms"
	OffsetsRetentionCheckMs       = "offsets.retention.check.interval.ms"
	OffsetsRetentionMinutes       = "offsets.retention.minutes"
	OffsetsTopicPartitions        = "offsets.topic.num.partitions"
	OffsetsTopicReplicationFactor = "offsets.topic.replication.factor"
	OffsetsTopicSegmentBytes      = "offsets.topic.segment.bytes"
	ProducerIDExpirationMs        = "producer.id.expiration.ms"
	ReplicaSelector               = "replica.selector.class"
	RequestPartitionLimit         = "max.request.partition.size.limit"
	SocketRequestMaxBytes         = "socket.request.max.bytes"
	TransactionMaxTimeoutMs       = "transaction.max.timeout.ms"
)

// RackAwareSelector is the replica selector that sends consumers to a replica in their rack, by its name in Kafka or without the package.
const (
	RackAwareSelector      = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
	RackAwareSelectorShort = "RackAwareReplicaSelector"
)

// brokerSettings are the settings of brokers that mean something here, by name. A setting that this broker would not obey is not in the
// table and refused, but for the few that clients look for; they are derived. Settings that hold for topics without their own are
// changeable at run time: a partition takes them with the image that has them.
var brokerSettings = []Setting{
	list(AdvertisedListeners, "", nil, "The addresses clients are told.").null().derived(),
	boolean(AutoCreateTopics, true, "Whether a topic that a client names is created.").readOnly(),
	boolean(AutoLeaderRebalance, true, "Whether the first replica leads again once it has been back for half a minute.").readOnly(),
	number("broker.id", TypeInt, -1, -1, "The id of this broker.").derived(),
	word(BrokerRack, "", nil, "The rack this broker stands in, over which replicas are spread.").null().checked(notEmpty).readOnly(),
	topicDefault("compression.gzip.level"),
	topicDefault("compression.lz4.level"),
	topicDefault("compression.type"),
	topicDefault("compression.zstd.level"),
	number(ConnectionsMaxIdleMs, TypeLong, 600000, 0, "Idle connections are closed after so long.").readOnly(),
	number(DefaultReplicationFactor, TypeInt, 1, 1, "Replicas of a new topic; by itself three, or as many as there are brokers.").atMost(math.MaxInt16).readOnly(),
	boolean(DeleteTopicEnable, true, "Whether topics may be deleted.").readOnly(),
	number(FetchMaxBytes, TypeInt, 57671680, 1024, "The most bytes of one fetch.").readOnly(),
	number("group.consumer.heartbeat.interval.ms", TypeInt, 5000, 1, "For groups of the new protocol, which this broker does not have yet.").derived(),
	number("group.consumer.session.timeout.ms", TypeInt, 45000, 1, "For groups of the new protocol, which this broker does not have yet.").derived(),
	number(GroupInitialRebalanceDelayMs, TypeInt, 3000, 0, "How long a new group waits for more members.").readOnly(),
	number(GroupMaxSessionTimeoutMs, TypeInt, 1800000, 1, "The longest session timeout of a member.").readOnly(),
	number(GroupMaxSize, TypeInt, math.MaxInt32, 1, "The most members of a group.").readOnly(),
	number(GroupMinSessionTimeoutMs, TypeInt, 6000, 1, "The shortest session timeout of a member.").readOnly(),
	list("listeners", "PLAINTEXT://:9092", nil, "The addresses this broker listens on.").derived(),
	topicDefault("log.cleaner.delete.retention.ms"),
	topicDefault("log.cleaner.max.compaction.lag.ms"),
	topicDefault("log.cleaner.min.cleanable.ratio"),
	topicDefault("log.cleaner.min.compaction.lag.ms"),
	topicDefault("log.cleanup.policy"),
	list("log.dir", "/tmp/kafka-logs", nil, "The data directory.").derived(),
	list("log.dirs", "", nil, "The data directory.").null().derived(),
	topicDefault("log.flush.interval.messages"),
	topicDefault("log.flush.interval.ms").null(),
	topicDefault("log.index.interval.bytes"),
	topicDefault("log.index.size.max.bytes"),
	topicDefault("log.local.retention.bytes"),
	topicDefault("log.local.retention.ms"),
	topicDefault("log.message.timestamp.after.max.ms"),
	topicDefault("log.message.timestamp.before.max.ms"),
	topicDefault("log.message.timestamp.type"),
	topicDefault("log.preallocate"),
	topicDefault("log.retention.bytes"),
	number("log.retention.hours", TypeInt, 168, -1, "As log.retention.ms, in hours.").synonyms(retentionUnits...).readOnly(),
	number("log.retention.minutes", TypeInt, 0, -1, "As log.retention.ms, in minutes.").null().synonyms(retentionUnits...).readOnly(),
	topicDefault("log.retention.ms").null(),
	number("log.roll.hours", TypeInt, 168, 1, "As log.roll.ms, in hours.").synonyms(rollUnits...).readOnly(),
	number("log.roll.jitter.hours", TypeInt, 0, 0, "As log.roll.jitter.ms, in hours.").synonyms(jitterUnits...).readOnly(),
	topicDefault("log.roll.jitter.ms").null(),
	topicDefault("log.roll.ms").null(),
	topicDefault("log.segment.bytes"),
	topicDefault("log.segment.delete.delay.ms"),
	number(MaxConnections, TypeInt, math.MaxInt32, 1, "The most connections of clients.").readOnly(),
	number(MaxConnectionsPerIP, TypeInt, math.MaxInt32, 1, "The most connections from one address.").readOnly(),
	number(FetchSessionSlots, TypeInt, 1000, 0, "The most incremental fetch sessions that are kept.").readOnly(),
	number(RequestPartitionLimit, TypeInt, 2000, 1, "The most partitions in one answer to DescribeTopicPartitions.").readOnly(),
	topicDefault("message.max.bytes"),
	topicDefault("min.insync.replicas"),
	number("node.id", TypeInt, 0, 0, "The id of this broker.").null().derived(),
	number(NumPartitions, TypeInt, 1, 1, "Partitions of a new topic.").readOnly(),
	number(OffsetMetadataMaxBytes, TypeInt, 4096, 0, "The longest metadata of a committed offset.").readOnly(),
	number(OffsetsCommitTimeoutMs, TypeInt, 5000, 1, "How long a commit of offsets waits for the replicas.").readOnly(),
	number(OffsetsRetentionCheckMs, TypeLong, 600000, 1, "How often expired offsets are looked for.").readOnly(),
	number(OffsetsRetentionMinutes, TypeInt, 10080, 1, "How long the offsets of an empty group are kept.").readOnly(),
	number(OffsetsTopicPartitions, TypeInt, 50, 1, "Partitions of __consumer_offsets.").atMost(10_000).readOnly(),
	number(OffsetsTopicReplicationFactor, TypeShort, 3, 1, "Replicas of __consumer_offsets; by itself three, or as many as there are brokers.").readOnly(),
	number(OffsetsTopicSegmentBytes, TypeInt, 104857600, 1<<20, "The segment size of __consumer_offsets.").readOnly(),
	list("process.roles", "", nil, "broker,controller.").derived(),
	number(ProducerIDExpirationMs, TypeInt, 86400000, 1, "An idempotent producer that is silent for so long is forgotten."),
	number("queued.max.requests", TypeInt, 500, 1, "Shown for clients; connections are bounded by bytes here.").derived(),
	word(ReplicaSelector, "", []string{"", RackAwareSelector, RackAwareSelectorShort}, "Which replica a consumer is sent to: the leader, or one in its rack.").null().readOnly(),
	number(SocketRequestMaxBytes, TypeInt, 104857600, 1024, "The largest request.").readOnly(),
	number(TransactionMaxTimeoutMs, TypeInt, 900000, 1, "Shown for clients; this broker has no transactions yet.").derived(),
	topicDefault("unclean.leader.election.enable"),
}

var (
	retentionUnits = []Synonym{{"log.retention.ms", 1}, {"log.retention.minutes", 60_000}, {"log.retention.hours", 3_600_000}}
	rollUnits      = []Synonym{{"log.roll.ms", 1}, {"log.roll.hours", 3_600_000}}
	jitterUnits    = []Synonym{{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", 3_600_000}}
)

// topicDefault is the broker setting of that name for topics without their own: all but the name is that of the topic's.
func topicDefault(name string) Setting {
	for _, t := range topicSettings {
		if i := slices.IndexFunc(t.Synonyms, func(s Synonym) bool { return s.Name == name }); i >= 0 {
			s := t
			s.Name, s.Doc = name, "Holds for topics without "+t.Name+" of their own. "+t.Doc
			if len(t.Synonyms) == 1 {
				s.Synonyms = nil
			}
			if name == "log.cleanup.policy" {
				s.oneOf = []string{"delete"}
			}
			return s
		}
	}
	panic("config: no topic setting has the synonym " + name) // a defect of the table, found by every start and test
}

// BrokerSettings are the settings of brokers, by name. The slice must not be changed.
func BrokerSettings() []Setting { return brokerSettings }

// BrokerSetting returns the description of a broker's setting, or nil.
func BrokerSetting(name string) *Setting { return find(brokerSettings, name) }

// NormalizeBroker checks a broker setting that is given in the configuration file.
func NormalizeBroker(name, value string) (string, error) {
	s := BrokerSetting(name)
	switch {
	case s == nil:
		return "", fmt.Errorf("%w: %s", ErrUnknownSetting, name)
	case s.Derived:
		return "", fmt.Errorf("%w: %s cannot be set: it follows from other keys or is fixed", ErrInvalidValue, name)
	}
	return s.Normalize(value)
}

// ErrReadOnly is a change at run time of a setting that needs a restart.
var ErrReadOnly = errors.New("setting is read-only")

// NormalizeDynamicBroker checks a broker setting that is changed at run time.
func NormalizeDynamicBroker(name, value string) (string, error) {
	s := BrokerSetting(name)
	switch {
	case s == nil:
		return "", fmt.Errorf("%w: %s", ErrUnknownSetting, name)
	case s.ReadOnly:
		return "", fmt.Errorf("%w: Cannot update these configs dynamically: %s", ErrReadOnly, name)
	}
	return s.Normalize(value)
}
