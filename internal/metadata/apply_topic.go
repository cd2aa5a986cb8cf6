package metadata

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/chronik-io/chronik/internal/uuid"
)

// maxTopicName is the longest name Kafka allows.
const maxTopicName = 249

// CheckTopicName says whether a topic can have this name: 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and not "." or "..".
// The error is ErrTopicName with the reason.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: the empty string is not allowed", ErrTopicName)
	case name == "." || name == "..":
		return fmt.Errorf("%w: '%s' is not allowed", ErrTopicName, name)
	case len(name) > maxTopicName:
		return fmt.Errorf("%w: the length of '%.64s...' is longer than the max allowed length %d", ErrTopicName, name, maxTopicName)
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%w: %q contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", ErrTopicName, name)
		}
	}
	return nil
}

// canCollide reports whether another name may look the same to metric systems, which write '_' for '.'.
func canCollide(name string) bool { return strings.ContainsAny(name, "._") }

// unify is what the names that collide with this one have in common.
func unify(name string) string { return strings.ReplaceAll(name, ".", "_") }

func (e *TopicCreated) apply(b *Batch) error {
	if err := CheckTopicName(e.Name); err != nil {
		return err
	}
	switch {
	case e.TopicID.IsZero():
		return errors.New("topic id is zero")
	case len(e.Partitions) == 0:
		return errors.New("no partitions")
	}
	if _, ok := b.topics.get([]byte(e.Name)); ok {
		return errors.New("the topic exists")
	}
	if other, ok := b.collisions.get([]byte(unify(e.Name))); ok {
		return fmt.Errorf("the name collides with %q", other)
	}
	if b.topicByID(e.TopicID) != nil {
		return fmt.Errorf("topic id %s is in use", e.TopicID)
	}
	if _, ok := b.tombstones.get(idIndex(e.TopicID)); ok {
		return fmt.Errorf("topic id %s was a deleted topic's", e.TopicID)
	}
	if err := checkStrings(e.Configs); err != nil {
		return err
	}
	for i := range e.Partitions {
		if err := b.checkNewPartition(&e.Partitions[i]); err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
	}
	t := &Topic{Name: e.Name, ID: e.TopicID, Internal: e.Internal, CreatedMs: e.TimestampMs,
		Partitions: make([]*Partition, 0, len(e.Partitions))}
	t.hash = t.entity().hash()
	b.exchange(Hash{}, t.hash)
	if b.created == nil {
		b.created = make(map[uuid.UUID]bool)
	}
	b.created[t.ID] = true
	b.putTopic(t)
	if canCollide(t.Name) {
		b.collisions.put([]byte(unify(t.Name)), t.Name)
	}
	for i := range e.Partitions {
		b.setPartition(t, int32(i), newPartition(&e.Partitions[i]))
	}
	b.setConfig(Resource{ResourceTopic, e.Name}, maps.Clone(e.Configs))
	return nil
}

func (e *PartitionsAdded) apply(b *Batch) error {
	t, err := b.checkTopic(e.Name, e.TopicID)
	if err != nil {
		return err
	}
	if int(e.First) != len(t.Partitions) || len(e.Partitions) == 0 {
		return fmt.Errorf("%d partitions from %d on do not follow the topic's %d", len(e.Partitions), e.First, len(t.Partitions))
	}
	for i := range e.Partitions {
		if err := b.checkNewPartition(&e.Partitions[i]); err != nil {
			return fmt.Errorf("partition %d: %w", int(e.First)+i, err)
		}
	}
	t = b.own(t, len(e.Partitions))
	for i := range e.Partitions {
		b.setPartition(t, e.First+int32(i), newPartition(&e.Partitions[i]))
	}
	return nil
}

func (e *TopicDeleted) apply(b *Batch) error {
	t, err := b.checkTopic(e.Name, e.TopicID)
	if err != nil {
		return err
	}
	b.setConfig(Resource{ResourceTopic, t.Name}, nil)
	b.topics.remove([]byte(t.Name))
	b.topicIDs.remove(idIndex(t.ID))
	if canCollide(t.Name) {
		b.collisions.remove([]byte(unify(t.Name)))
	}
	delete(b.owned, t.ID)
	b.deleted = append(b.deleted, t)
	b.exchange(t.hash, Hash{})
	for _, p := range t.Partitions {
		b.exchange(p.hash, Hash{})
	}
	b.next.partitionCount -= len(t.Partitions)
	tomb := &Tombstone{ID: t.ID, Name: t.Name, DeletedMs: e.TimestampMs}
	tomb.hash = tomb.entity().hash()
	b.exchange(Hash{}, tomb.hash)
	b.tombstones.put(idIndex(t.ID), tomb)
	return nil
}

func (e *TombstonesPurged) apply(b *Batch) error {
	seen := make(map[uuid.UUID]bool, len(e.TopicIDs))
	for _, id := range e.TopicIDs {
		if _, ok := b.tombstones.get(idIndex(id)); !ok || seen[id] {
			return fmt.Errorf("topic id %s has no tombstone, or stands twice in the list", id)
		}
		seen[id] = true
	}
	for _, id := range e.TopicIDs {
		tomb, _ := b.tombstones.get(idIndex(id))
		b.exchange(tomb.hash, Hash{})
		b.tombstones.remove(idIndex(id))
	}
	return nil
}

// checkTopic finds the topic that an event means by name and id.
func (b *Batch) checkTopic(name string, id uuid.UUID) (*Topic, error) {
	t := b.topicByID(id)
	if t == nil {
		return nil, fmt.Errorf("no topic with id %s", id)
	}
	if t.Name != name {
		return nil, fmt.Errorf("topic id %s is that of %q", id, t.Name)
	}
	return t, nil
}

// checkStrings refuses bytes that JSON cannot carry: what comes back from the log would not be what went in.
func checkStrings(m map[string]string) error {
	for k, v := range m {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("setting %q is not UTF-8", k)
		}
	}
	return nil
}
