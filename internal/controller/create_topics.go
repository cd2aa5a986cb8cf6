package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/placement"
	"github.com/chronik-io/chronik/internal/uuid"
)

// Default asks for the cluster's default number of partitions or replicas.
const Default = -1

// Assignment gives the replicas of one partition by hand, the first to lead.
type Assignment struct {
	Partition int32
	Replicas  []int32
}

// ConfigValue is a setting as a request gives it; Value is nil for null.
type ConfigValue struct {
	Name  string
	Value *string
}

// NewTopic is a topic to create. With an Assignment, both counts must be Default.
type NewTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int32
	Assignment        []Assignment
	Configs           []ConfigValue
}

// TopicResult is what became of one topic of a request.
type TopicResult struct {
	Name string
	// ID, Partitions, ReplicationFactor and Configs (those of the topic itself) are set where Err is nil; with validate only they are
	// what would have been. ID is also set where the topic existed.
	ID                uuid.UUID
	Partitions        int32
	ReplicationFactor int32
	Configs           map[string]string
	Err               error
}

// CreateTopics creates topics, as one proposal. The results are in the order of the request, one for each different name. The error is
// that of the log; then nothing is known of any topic unless the error says so.
func (c *Controller) CreateTopics(ctx context.Context, topics []NewTopic, validateOnly bool) ([]TopicResult, error) {
	return c.createTopics(ctx, topics, validateOnly, false)
}

// AutoCreateTopics creates topics that a client named and that do not exist, with the defaults; the cluster's own topics too, with
// theirs. A topic that exists by now is a success. Whether automatic creation is allowed is the caller's question.
func (c *Controller) AutoCreateTopics(ctx context.Context, names []string) ([]TopicResult, error) {
	im := c.log.Image()
	topics := make([]NewTopic, 0, len(names))
	for _, n := range names {
		topics = append(topics, c.autoTopic(im, n))
	}
	results, err := c.createTopics(ctx, topics, false, true)
	for i := range results {
		if errors.Is(results[i].Err, ErrTopicExists) {
			results[i].Err = nil
		}
	}
	return results, err
}

// autoTopic describes a topic that is created without anybody saying how.
func (c *Controller) autoTopic(im *metadata.Image, name string) NewTopic {
	t := NewTopic{Name: name, Partitions: Default, ReplicationFactor: Default}
	if name == metadata.OffsetsTopic {
		t.Partitions = int32(c.brokerInt(im, config.OffsetsTopicPartitions))
		t.ReplicationFactor = int32(c.brokerInt(im, config.OffsetsTopicReplicationFactor))
		segment := strconv.FormatInt(c.brokerInt(im, config.OffsetsTopicSegmentBytes), 10)
		for _, s := range [][2]string{{"cleanup.policy", "compact"}, {"compression.type", "producer"}, {"segment.bytes", segment}} {
			t.Configs = append(t.Configs, ConfigValue{s[0], &s[1]})
		}
	}
	return t
}

func (c *Controller) createTopics(ctx context.Context, topics []NewTopic, validateOnly, internal bool) ([]TopicResult, error) {
	var results []TopicResult
	err := c.propose(ctx, "create topics", func(d *draft) error {
		results = make([]TopicResult, 0, len(topics))
		times := make(map[string]int, len(topics))
		for i := range topics {
			times[topics[i].Name]++
		}
		for i := range topics {
			t := &topics[i]
			if times[t.Name] == 0 {
				continue // a duplicate that has its answer
			}
			r := TopicResult{Name: t.Name}
			if times[t.Name] > 1 {
				r.Err = refuse(ErrInvalidRequest, "Duplicate topic name.")
			} else {
				r.Err = c.createTopic(d, t, internal, &r)
			}
			times[t.Name] = 0
			results = append(results, r)
		}
		if validateOnly {
			d.events = nil
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// createTopic checks one topic in Kafka's order of complaints and drafts its event.
func (c *Controller) createTopic(d *draft, t *NewTopic, internal bool, r *TopicResult) error {
	if err := checkNewName(d.image(), t.Name, internal); err != nil {
		return err
	}
	if old := d.image().Topic(t.Name); old != nil {
		r.ID, r.Partitions = old.ID, int32(len(old.Partitions))
		return refuse(ErrTopicExists, "Topic '%s' already exists.", t.Name)
	}
	isInternal := t.Name == metadata.OffsetsTopic
	configs, err := newTopicConfigs(t.Configs, isInternal)
	if err != nil {
		return err
	}
	var parts []metadata.PartitionState
	if len(t.Assignment) > 0 {
		parts, err = manualPartitions(d.image(), t)
	} else {
		parts, err = c.placedPartitions(d.image(), t)
	}
	if err != nil {
		return err
	}
	if total := d.image().PartitionCount() + len(parts); len(parts) > c.limits.PartitionsPerTopic || total > c.limits.Partitions {
		return c.refuseTooMany(len(parts), total)
	}
	r.ID, r.Partitions, r.ReplicationFactor, r.Configs = c.newID(), int32(len(parts)), int32(len(parts[0].Replicas)), configs
	return d.add(&metadata.TopicCreated{Name: t.Name, TopicID: r.ID, Internal: isInternal, TimestampMs: c.nowMs(),
		Partitions: parts, Configs: configs})
}

func (c *Controller) refuseTooMany(topic, total int) error {
	return refuse(ErrInvalidPartitions, "Too many partitions: the topic would have %d (at most %d), the cluster %d (at most %d).",
		topic, c.limits.PartitionsPerTopic, total, c.limits.Partitions)
}

// checkNewName is what a new topic's name must be. internal allows the names of the cluster's own topics.
func checkNewName(im *metadata.Image, name string, internal bool) error {
	if err := metadata.CheckTopicName(name); err != nil {
		return refuse(ErrInvalidTopic, "%s", err)
	}
	if name == metadata.MetadataTopic || name == "__cluster_metadata" || name == metadata.OffsetsTopic && !internal {
		return refuse(ErrInvalidRequest, "Creation of internal topic %s is prohibited.", name)
	}
	if other := im.CollidingTopic(name); other != "" && other != name {
		return refuse(ErrInvalidTopic, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}

// newTopicConfigs checks the settings of a new topic; of a name that is given twice the last value counts, as in Kafka.
func newTopicConfigs(given []ConfigValue, internal bool) (map[string]string, error) {
	if len(given) == 0 {
		return nil, nil
	}
	configs := make(map[string]string, len(given))
	for _, s := range given {
		if s.Value == nil {
			return nil, refuse(ErrInvalidConfig, "Null value not supported for topic configs: %s", s.Name)
		}
		v, err := config.NormalizeTopic(s.Name, *s.Value)
		if err != nil {
			return nil, complain(err)
		}
		configs[s.Name] = v
	}
	return configs, checkTopicConfigs(configs, internal)
}

// checkTopicConfigs holds what must be true of a topic's settings together.
func checkTopicConfigs(configs map[string]string, internal bool) error {
	if err := config.CheckTopic(configs, internal); err != nil {
		return complain(err)
	}
	return nil
}

func (c *Controller) placedPartitions(im *metadata.Image, t *NewTopic) ([]metadata.PartitionState, error) {
	if t.ReplicationFactor < Default || t.ReplicationFactor == 0 {
		return nil, refuse(ErrInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	}
	if t.Partitions < Default || t.Partitions == 0 {
		return nil, refuse(ErrInvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	partitions, replicas := int64(t.Partitions), int64(t.ReplicationFactor)
	if partitions == Default {
		partitions = c.brokerInt(im, config.NumPartitions)
	}
	if replicas == Default {
		replicas = c.brokerInt(im, config.DefaultReplicationFactor)
	}
	if partitions > int64(c.limits.PartitionsPerTopic) {
		return nil, c.refuseTooMany(int(partitions), im.PartitionCount()+int(partitions))
	}
	return place(im, int(partitions), int(replicas))
}

// place lets the cluster choose replicas. New partitions start with their live replicas in the ISR.
func place(im *metadata.Image, partitions, replicas int) ([]metadata.PartitionState, error) {
	brokers := make([]placement.Broker, 0, im.BrokerCount())
	for b := range im.Brokers() {
		brokers = append(brokers, placement.Broker{ID: b.ID, Rack: b.Rack, Live: inService(im, b.ID)})
	}
	lists, err := placement.Assign(brokers, partitions, replicas, im.PartitionCount())
	switch {
	case errors.Is(err, placement.ErrTooFewBrokers):
		return nil, refuse(ErrInvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target replication factor of %d cannot be "+
			"reached because only %d broker(s) are registered.", replicas, replicas, len(brokers))
	case errors.Is(err, placement.ErrNoLiveBroker):
		return nil, refuse(ErrInvalidReplicationFactor, "Unable to replicate the partition %d time(s): All brokers are currently fenced.", replicas)
	case err != nil:
		return nil, fmt.Errorf("place partitions: %w", err)
	}
	parts := make([]metadata.PartitionState, partitions)
	for i, l := range lists {
		parts[i] = newPartition(im, l)
	}
	return parts, nil
}

// newPartition is a partition whose leader is the first live replica.
func newPartition(im *metadata.Image, replicas []int32) metadata.PartitionState {
	p := metadata.PartitionState{Replicas: replicas, Leader: metadata.NoLeader}
	for _, id := range replicas {
		if inService(im, id) {
			p.ISR = append(p.ISR, id)
		}
	}
	if len(p.ISR) > 0 {
		p.Leader = p.ISR[0]
	}
	return p
}

func manualPartitions(im *metadata.Image, t *NewTopic) ([]metadata.PartitionState, error) {
	if t.ReplicationFactor != Default {
		return nil, refuse(ErrInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.Partitions != Default {
		return nil, refuse(ErrInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	sorted := slices.SortedFunc(slices.Values(t.Assignment), func(a, b Assignment) int { return int(a.Partition) - int(b.Partition) })
	parts := make([]metadata.PartitionState, 0, len(sorted))
	for i, a := range sorted {
		if i > 0 && sorted[i-1].Partition == a.Partition {
			return nil, refuse(ErrInvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if a.Partition != int32(i) {
			return nil, refuse(ErrInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		p, err := manualPartition(im, a.Partition, a.Replicas, len(sorted[0].Replicas))
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}
