package group

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of the stored formats: those that Kafka 4.3 writes and its tools print. An offset with an expiry of its own is version 1.
const (
	offsetKeyVersion       = 1
	groupKeyVersion        = 2
	offsetValueVersion     = 3
	offsetValueWithExpiry  = 1
	groupValueVersion      = 3
	maxStoredValueVersion  = 3
	recordOverheadEstimate = 12 // lengths, deltas and attributes of a record in its batch
)

// record is one key and value of __consumer_offsets; a nil value is a tombstone.
type record struct{ key, value []byte }

func (r record) size() int { return len(r.key) + len(r.value) + recordOverheadEstimate }

// offset is a committed offset as it is kept and stored.
type offset struct {
	offset      int64
	leaderEpoch int32
	metadata    string
	commitMs    int64 // wall clock
	expireMs    int64 // -1: by offsets.retention.minutes
}

func offsetKey(group, topic string, partition int32) []byte {
	k := kmsg.OffsetCommitKey{Version: offsetKeyVersion, Group: group, Topic: topic, Partition: partition}
	return k.AppendTo(make([]byte, 0, 10+len(group)+len(topic)))
}

func (o *offset) encode() []byte {
	v := kmsg.OffsetCommitValue{Version: offsetValueVersion, Offset: o.offset, LeaderEpoch: o.leaderEpoch, Metadata: o.metadata,
		CommitTimestamp: o.commitMs, ExpireTimestamp: o.expireMs}
	if o.expireMs >= 0 {
		v.Version = offsetValueWithExpiry
	}
	return v.AppendTo(make([]byte, 0, 32+len(o.metadata)))
}

func groupKey(group string) []byte {
	k := kmsg.GroupMetadataKey{Version: groupKeyVersion, Group: group}
	return k.AppendTo(make([]byte, 0, 4+len(group)))
}

// encodeGroup is the stored form of a group with the given assignments (of members that have one).
func encodeGroup(g *group, assignments map[string][]byte) []byte {
	v := kmsg.GroupMetadataValue{Version: groupValueVersion, ProtocolType: g.protocolType, Generation: g.generation,
		CurrentStateTimestamp: g.sinceMs}
	if len(g.members) > 0 {
		v.Protocol, v.Leader = &g.protocol, &g.leader
	}
	for _, m := range g.ordered() {
		member := kmsg.GroupMetadataValueMember{MemberID: m.id, ClientID: m.client.ID, ClientHost: m.client.Host,
			RebalanceTimeoutMillis: millis(m.rebalanceTimeout), SessionTimeoutMillis: millis(m.sessionTimeout),
			Subscription: m.metadata(g.protocol), Assignment: assignments[m.id]}
		if m.instanceID != "" {
			member.InstanceID = &m.instanceID
		}
		v.Members = append(v.Members, member)
	}
	return v.AppendTo(nil)
}

func millis(d time.Duration) int32 { return int32(min(d.Milliseconds(), 1<<31-1)) }

// stored is a decoded record: one of offset and group is set, both nil for a tombstone.
type stored struct {
	kind      storedKind
	groupID   string
	topic     string
	partition int32
	offset    *offset
	group     *kmsg.GroupMetadataValue
}

type storedKind int8

const (
	storedOther  storedKind = iota // a kind of record that this version does not know: skipped, as Kafka does
	storedOffset                   // key versions 0 and 1
	storedGroup                    // key version 2
)

// decodeRecord reads a record of __consumer_offsets. It copies what it keeps. Kinds that are not known are no error; a known kind that
// cannot be read is ErrCorruptRecord.
func decodeRecord(key, value []byte) (stored, error) {
	if len(key) < 2 {
		return stored{}, fmt.Errorf("decode group record key of %d bytes: %w", len(key), ErrCorruptRecord)
	}
	switch version := int16(binary.BigEndian.Uint16(key)); version {
	case 0, offsetKeyVersion:
		return decodeOffset(key, value)
	case groupKeyVersion:
		return decodeGroup(key, value)
	default:
		return stored{}, nil
	}
}

func decodeOffset(key, value []byte) (stored, error) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return stored{}, fmt.Errorf("decode offset key: %w (%w)", ErrCorruptRecord, err)
	}
	s := stored{kind: storedOffset, groupID: k.Group, topic: k.Topic, partition: k.Partition}
	if value == nil {
		return s, nil
	}
	var v kmsg.OffsetCommitValue
	if err := checkVersion(value); err != nil {
		return stored{}, fmt.Errorf("decode offset of group %q: %w", k.Group, err)
	}
	if err := v.ReadFrom(value); err != nil {
		return stored{}, fmt.Errorf("decode offset of group %q: %w (%w)", k.Group, ErrCorruptRecord, err)
	}
	s.offset = &offset{offset: v.Offset, leaderEpoch: -1, metadata: v.Metadata, commitMs: v.CommitTimestamp, expireMs: -1}
	if v.Version >= 3 {
		s.offset.leaderEpoch = v.LeaderEpoch
	}
	if v.Version == offsetValueWithExpiry {
		s.offset.expireMs = max(v.ExpireTimestamp, -1)
	}
	return s, nil
}

func decodeGroup(key, value []byte) (stored, error) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return stored{}, fmt.Errorf("decode group key: %w (%w)", ErrCorruptRecord, err)
	}
	s := stored{kind: storedGroup, groupID: k.Group}
	if value == nil {
		return s, nil
	}
	if err := checkVersion(value); err != nil {
		return stored{}, fmt.Errorf("decode metadata of group %q: %w", k.Group, err)
	}
	var v kmsg.GroupMetadataValue
	if err := v.ReadFrom(value); err != nil {
		return stored{}, fmt.Errorf("decode metadata of group %q: %w (%w)", k.Group, ErrCorruptRecord, err)
	}
	for i := range v.Members { // they would keep the whole batch alive
		m := &v.Members[i]
		m.Subscription, m.Assignment = append([]byte{}, m.Subscription...), append([]byte{}, m.Assignment...)
	}
	s.group = &v
	return s, nil
}

// checkVersion refuses values newer than what is written here: their tagged fields are not bounded by kmsg's decoder.
func checkVersion(value []byte) error {
	if len(value) < 2 {
		return fmt.Errorf("value of %d bytes: %w", len(value), ErrCorruptRecord)
	}
	if v := int16(binary.BigEndian.Uint16(value)); v < 0 || v > maxStoredValueVersion {
		return fmt.Errorf("value version %d: %w", v, ErrCorruptRecord)
	}
	return nil
}

// subscribedTopics reads the topics of a consumer's protocol metadata; all versions begin like version 0.
func subscribedTopics(metadata []byte, into map[string]struct{}) bool {
	b := metadata
	if len(b) < 6 {
		return false
	}
	b = b[2:]
	count := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	if count < 0 {
		return false
	}
	for range count {
		if len(b) < 2 {
			return false
		}
		n := int(int16(binary.BigEndian.Uint16(b)))
		b = b[2:]
		if n < 0 || len(b) < n {
			return false
		}
		into[string(b[:n])] = struct{}{}
		b = b[n:]
	}
	return true
}
