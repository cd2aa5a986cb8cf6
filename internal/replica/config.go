package replica

import (
	"strconv"
	"strings"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/partition"
)

// TopicSettings is what a replica needs of its topic's settings.
type TopicSettings struct {
	Log partition.LogConfig
}

// Settings looks up the value of a topic setting by its name in Kafka, the topic's own or the broker's default; "" where there is none.
// The topic "" is one without settings of its own.
type Settings func(im *metadata.Image, topic, name string) string

// topicSettings reads a topic's settings. Values that do not parse, which the controller refuses, leave the default.
func topicSettings(lookup Settings, im *metadata.Image, topic string) TopicSettings {
	s := TopicSettings{Log: partition.DefaultLogConfig()}
	c := &s.Log
	number := func(name string, set func(int64)) {
		if v, err := strconv.ParseInt(lookup(im, topic, name), 10, 64); err == nil {
			set(v)
		}
	}
	number("segment.bytes", func(v int64) { c.SegmentBytes = v })
	number("segment.ms", func(v int64) { c.SegmentMs = v })
	number("retention.bytes", func(v int64) { c.RetentionBytes = v })
	number("retention.ms", func(v int64) { c.RetentionMs = v })
	number("index.interval.bytes", func(v int64) { c.IndexIntervalBytes = v })
	number("max.message.bytes", func(v int64) { c.MaxMessageBytes = int32(v) })
	number("message.timestamp.before.max.ms", func(v int64) { c.TimestampBeforeMaxMs = v })
	number("message.timestamp.after.max.ms", func(v int64) { c.TimestampAfterMaxMs = v })
	number("producer.id.expiration.ms", func(v int64) { c.ProducerExpirationMs = v })
	c.LogAppendTime = lookup(im, topic, "message.timestamp.type") == "LogAppendTime"
	if policy := lookup(im, topic, "cleanup.policy"); policy != "" {
		c.Compact = strings.Contains(policy, "compact")
		c.Delete = strings.Contains(policy, "delete")
	}
	return s
}
