package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Names of topic settings that code asks for.
const (
	CleanupPolicy             = "cleanup.policy"
	CompressionType           = "compression.type"
	FileDeleteDelayMs         = "file.delete.delay.ms"
	IndexIntervalBytes        = "index.interval.bytes"
	MaxMessageBytes           = "max.message.bytes"
	MessageTimestampAfterMax  = "message.timestamp.after.max.ms"
	MessageTimestampBeforeMax = "message.timestamp.before.max.ms"
	MessageTimestampType      = "message.timestamp.type"
	MinInsyncReplicas         = "min.insync.replicas"
	RetentionBytes            = "retention.bytes"
	RetentionMs               = "retention.ms"
	SegmentBytes              = "segment.bytes"
	SegmentIndexBytes         = "segment.index.bytes"
	SegmentJitterMs           = "segment.jitter.ms"
	SegmentMs                 = "segment.ms"
	UncleanLeaderElection     = "unclean.leader.election.enable"
)

// LargestBatch is how many bytes a batch may have whatever max.message.bytes allows: it must fit into one file of the node WAL, of 64 MiB.
const LargestBatch = 64<<20 - 12396

var (
	codecs         = []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}
	timestampTypes = []string{"CreateTime", "LogAppendTime"}
	policies       = []string{"compact", "delete"}
)

const verbatim = "Batches are kept as the producer sent them; the setting is kept for clients that read it."

// topicSettings are all settings of topics, by name. Those that other brokers of Kafka's kind would obey and this one has no use for say
// so in Doc.
var topicSettings = []Setting{
	list(CleanupPolicy, "delete", policies, "What happens to old segments: delete. Compaction is not available for users' topics yet.").
		checked(notEmpty).synonym("log.cleanup.policy"),
	number("compression.gzip.level", TypeInt, -1, -1, verbatim).atMost(9).checked(notZero).synonym("compression.gzip.level"),
	number("compression.lz4.level", TypeInt, 9, 1, verbatim).atMost(17).synonym("compression.lz4.level"),
	word(CompressionType, "producer", codecs, verbatim).synonym("compression.type"),
	number("compression.zstd.level", TypeInt, 3, -131072, verbatim).atMost(22).synonym("compression.zstd.level"),
	number("delete.retention.ms", TypeLong, 86400000, 0, "How long compaction keeps tombstones.").synonym("log.cleaner.delete.retention.ms"),
	number(FileDeleteDelayMs, TypeLong, 60000, 0, "How long a deleted segment's file stays.").synonym("log.segment.delete.delay.ms"),
	number("flush.messages", TypeLong, math.MaxInt64, 1, "Every record is on disk before it is acknowledged, whatever this says.").
		synonym("log.flush.interval.messages"),
	number("flush.ms", TypeLong, math.MaxInt64, 0, "Every record is on disk before it is acknowledged, whatever this says.").
		synonym("log.flush.interval.ms"),
	list("follower.replication.throttled.replicas", "", nil, "Replicas whose catching up is throttled.").checked(throttled),
	number(IndexIntervalBytes, TypeInt, 4096, 0, "Bytes between two entries of the offset index.").synonym("log.index.interval.bytes"),
	list("leader.replication.throttled.replicas", "", nil, "Replicas whose serving of followers is throttled.").checked(throttled),
	number("local.retention.bytes", TypeLong, -2, -2, "For tiered storage, which this broker does not have.").synonym("log.local.retention.bytes"),
	number("local.retention.ms", TypeLong, -2, -2, "For tiered storage, which this broker does not have.").synonym("log.local.retention.ms"),
	number("max.compaction.lag.ms", TypeLong, math.MaxInt64, 1, "The longest time a record stays uncompacted.").
		synonym("log.cleaner.max.compaction.lag.ms"),
	number(MaxMessageBytes, TypeInt, 1048588, 0, "The largest record batch, as it was compressed by the producer.").synonym("message.max.bytes"),
	number(MessageTimestampAfterMax, TypeLong, 3600000, 0, "How far a record's timestamp may be ahead of the broker's clock.").
		synonym("log.message.timestamp.after.max.ms"),
	number(MessageTimestampBeforeMax, TypeLong, math.MaxInt64, 0, "How far a record's timestamp may be behind the broker's clock.").
		synonym("log.message.timestamp.before.max.ms"),
	word(MessageTimestampType, "CreateTime", timestampTypes, "Whether records keep the producer's timestamp or get the broker's.").
		synonym("log.message.timestamp.type"),
	{Name: "min.cleanable.dirty.ratio", Type: TypeDouble, Default: text("0.5"), max: 1, Doc: "The part of a log that is uncompacted before it is compacted.",
		Synonyms: []Synonym{{"log.cleaner.min.cleanable.ratio", 1}}},
	number("min.compaction.lag.ms", TypeLong, 0, 0, "The shortest time a record stays uncompacted.").synonym("log.cleaner.min.compaction.lag.ms"),
	number(MinInsyncReplicas, TypeInt, 1, 1, "Replicas that must have a record before a producer with acks=all is answered.").
		synonym("min.insync.replicas"),
	boolean("preallocate", false, "Whether segments are preallocated; the write-ahead log always is.").synonym("log.preallocate"),
	boolean("remote.log.copy.disable", false, "For tiered storage, which this broker does not have."),
	boolean("remote.log.delete.on.disable", false, "For tiered storage, which this broker does not have."),
	boolean("remote.storage.enable", false, "Tiered storage, which this broker does not have.").checked(notTrue),
	number(RetentionBytes, TypeLong, -1, -1, "The size of a partition above which old segments are deleted; -1 for no bound.").synonym("log.retention.bytes"),
	number(RetentionMs, TypeLong, 604800000, -1, "The age above which segments are deleted; -1 for no bound.").
		synonyms(Synonym{"log.retention.ms", 1}, Synonym{"log.retention.minutes", 60_000}, Synonym{"log.retention.hours", 3_600_000}),
	number(SegmentBytes, TypeInt, 1073741824, 1<<20, "The size at which a new segment begins.").synonym("log.segment.bytes"),
	number(SegmentIndexBytes, TypeInt, 10485760, 4, "The size of a segment's index.").synonym("log.index.size.max.bytes"),
	number(SegmentJitterMs, TypeLong, 0, 0, "The most that is randomly taken off segment.ms.").
		synonyms(Synonym{"log.roll.jitter.ms", 1}, Synonym{"log.roll.jitter.hours", 3_600_000}),
	number(SegmentMs, TypeLong, 604800000, 1, "The age at which a new segment begins.").
		synonyms(Synonym{"log.roll.ms", 1}, Synonym{"log.roll.hours", 3_600_000}),
	boolean(UncleanLeaderElection, false, "Kept for clients that read it. A replica that may lack records is made leader by command only (an unclean ElectLeaders).").
		synonym("unclean.leader.election.enable"),
}

// TopicSettings are all settings of topics, by name. The slice must not be changed.
func TopicSettings() []Setting { return topicSettings }

// TopicSetting returns the description of a topic's setting, or nil.
func TopicSetting(name string) *Setting { return find(topicSettings, name) }

func find(table []Setting, name string) *Setting {
	i, ok := slices.BinarySearchFunc(table, name, func(s Setting, n string) int { return strings.Compare(s.Name, n) })
	if !ok {
		return nil
	}
	return &table[i]
}

// NormalizeTopic checks one setting of a topic.
func NormalizeTopic(name, value string) (string, error) {
	s := TopicSetting(name)
	if s == nil {
		return "", fmt.Errorf("%w: Unknown topic config name: %s", ErrUnknownSetting, name)
	}
	return s.Normalize(value)
}

// CheckTopic holds what must be true of the settings of one topic together; the values are normalized. internal is for the cluster's own
// topics, which clean up in their own way.
func CheckTopic(values map[string]string, internal bool) error {
	if !internal && slices.Contains(SplitList(values[CleanupPolicy]), "compact") {
		return fmt.Errorf("%w: %s=%s: this broker does not compact users' topics yet, and would keep or delete other records than asked for; use %s=delete",
			ErrInvalidValue, CleanupPolicy, values[CleanupPolicy], CleanupPolicy)
	}
	least, most := values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
	if least != "" && most != "" {
		l, err1 := strconv.ParseInt(least, 10, 64)
		m, err2 := strconv.ParseInt(most, 10, 64)
		if err1 != nil || err2 != nil || l > m {
			return fmt.Errorf("%w: conflict topic config setting min.compaction.lag.ms (%s) > max.compaction.lag.ms (%s)", ErrInvalidValue, least, most)
		}
	}
	return nil
}

func notZero(v string) error {
	if v == "0" {
		return errors.New("value must be -1 or at least 1")
	}
	return nil
}

func notEmpty(v string) error {
	if v == "" {
		return errors.New("value must not be empty")
	}
	return nil
}

func notTrue(v string) error {
	if v == "true" {
		return errors.New("this broker does not have tiered storage")
	}
	return nil
}

// throttled takes "*", or partition:broker pairs.
func throttled(v string) error {
	for _, e := range SplitList(v) {
		partition, broker, ok := strings.Cut(e, ":")
		_, err1 := strconv.ParseUint(partition, 10, 31)
		_, err2 := strconv.ParseUint(broker, 10, 31)
		if v != "*" && (!ok || err1 != nil || err2 != nil) {
			return errors.New("must be the literal '*' or a list of replicas in the form [partitionId]:[brokerId]")
		}
	}
	return nil
}
