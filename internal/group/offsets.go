package group

import (
	"maps"
	"slices"
	"strings"
)

// commit handles OffsetCommit. It is answered when the offsets are below the high watermark.
func (m *machine) commit(r *CommitRequest, rep *reply[[]error]) {
	g := m.groups[r.Group]
	if g == nil && r.Generation >= 0 {
		rep.answer(nil, ErrGroupNotFound)
		return
	}
	if g != nil {
		if err := g.checkCommit(r); err != nil {
			rep.answer(nil, err)
			return
		}
		if mem := g.members[r.MemberID]; mem != nil && (g.state == Stable || g.state == PreparingRebalance) {
			m.touch(mem) // a commit is a sign of life
		}
	}
	results, offsets, records := m.commitRecords(g, r)
	if len(records) == 0 {
		rep.answer(results, nil)
		return
	}
	isNew := g == nil
	if isNew {
		g = newGroup(strings.Clone(r.Group), m.nowMs())
	}
	err := m.write(g, records, func(err error) {
		if err != nil {
			rep.answer(nil, unavailable(err))
			return
		}
		rep.answer(results, nil)
	})
	if err != nil {
		rep.answer(nil, unavailable(err))
		return
	}
	if isNew {
		lastWrite := g.lastWrite
		g = m.open(g.id)
		g.lastWrite = lastWrite
	}
	for i, o := range r.Offsets {
		if results[i] == nil {
			m.setOffset(g, g.topicName(o.Topic), o.Partition, offsets[i])
		}
	}
}

// checkCommit tells whether the caller may commit: a member of the current generation that has its assignment, or anybody without
// one while the group has no members.
func (g *group) checkCommit(r *CommitRequest) error {
	if r.Generation < 0 && g.state == Empty {
		return nil
	}
	if r.Generation < 0 && r.MemberID == "" && r.InstanceID == "" {
		return ErrUnknownMember
	}
	if err := g.check(r.MemberID, r.InstanceID); err != nil {
		return err
	}
	if r.Generation != g.generation {
		return ErrIllegalGeneration
	}
	if g.state == CompletingRebalance { // it has joined the generation but knows no assignment of it
		return ErrRebalanceInProgress
	}
	return nil
}

// commitRecords makes the records of the offsets that can be stored.
func (m *machine) commitRecords(g *group, r *CommitRequest) (results []error, offsets []offset, records []record) {
	results, offsets = make([]error, len(r.Offsets)), make([]offset, len(r.Offsets))
	full := m.full()
	for i, o := range r.Offsets {
		switch {
		case len(o.Metadata) > m.cfg.OffsetMetadataMax:
			results[i] = ErrMetadataTooLarge
			continue
		case len(o.Topic) > maxStringBytes:
			results[i] = ErrInvalidRequest
			continue
		case full && !g.hasOffset(o.Topic, o.Partition):
			results[i] = ErrStateFull
			continue
		}
		offsets[i] = offset{offset: o.Offset, leaderEpoch: o.LeaderEpoch, metadata: strings.Clone(o.Metadata), commitMs: m.nowMs(), expireMs: -1}
		if r.Retention >= 0 {
			offsets[i].expireMs = m.nowMs() + r.Retention.Milliseconds()
		}
		records = append(records, record{offsetKey(r.Group, o.Topic, o.Partition), offsets[i].encode()})
	}
	return results, offsets, records
}

func (g *group) hasOffset(topic string, partition int32) bool {
	if g == nil {
		return false
	}
	_, ok := g.offsets[topic][partition]
	return ok
}

// topicName gives a copy of the name that can be kept.
func (g *group) topicName(topic string) string {
	if g.offsets[topic] != nil {
		return topic // the map keeps the key that it has
	}
	return strings.Clone(topic)
}

// fetch handles OffsetFetch. What it shows is durable when it is answered.
func (m *machine) fetch(group string, topics []TopicPartitions, rep *reply[[]TopicOffsets]) {
	g := m.groups[group]
	number := m.lastDelete
	if g != nil {
		number = g.lastWrite
	}
	result := g.committed(topics)
	m.afterWrite(number, func(err error) {
		if err != nil {
			rep.answer(nil, unavailable(err))
			return
		}
		rep.answer(result, nil)
	})
}

// committed looks up offsets; a nil group has none.
func (g *group) committed(topics []TopicPartitions) []TopicOffsets {
	result := []TopicOffsets{}
	if topics == nil {
		if g == nil {
			return result
		}
		for _, topic := range slices.Sorted(maps.Keys(g.offsets)) {
			t := TopicOffsets{Topic: topic}
			for _, partition := range slices.Sorted(maps.Keys(g.offsets[topic])) {
				t.Partitions = append(t.Partitions, g.committedOne(topic, partition))
			}
			result = append(result, t)
		}
		return result
	}
	for _, want := range topics {
		t := TopicOffsets{Topic: want.Topic, Partitions: make([]PartitionOffset, 0, len(want.Partitions))}
		for _, partition := range want.Partitions {
			t.Partitions = append(t.Partitions, g.committedOne(want.Topic, partition))
		}
		result = append(result, t)
	}
	return result
}

func (g *group) committedOne(topic string, partition int32) PartitionOffset {
	if g != nil {
		if o, ok := g.offsets[topic][partition]; ok {
			return PartitionOffset{Partition: partition, Offset: o.offset, LeaderEpoch: o.leaderEpoch, Metadata: o.metadata}
		}
	}
	return PartitionOffset{Partition: partition, Offset: -1, LeaderEpoch: -1}
}

// deleteOffsets handles OffsetDelete.
func (m *machine) deleteOffsets(group string, topics []TopicPartitions, rep *reply[[][]error]) {
	g := m.groups[group]
	switch {
	case g == nil:
		rep.answer(nil, ErrGroupNotFound)
		return
	case g.state != Empty && g.protocolType != consumerProtocol: // which topics its members use cannot be known
		rep.answer(nil, ErrGroupNotEmpty)
		return
	}
	results := make([][]error, len(topics))
	var records []record
	var gone []deletedOffset
	for i, t := range topics {
		results[i] = make([]error, len(t.Partitions))
		for j, partition := range t.Partitions {
			if g.subscribes(t.Topic) {
				results[i][j] = ErrSubscribed
			} else if g.hasOffset(t.Topic, partition) {
				records = append(records, record{offsetKey(g.id, t.Topic, partition), nil})
				gone = append(gone, deletedOffset{t.Topic, partition})
			}
		}
	}
	m.remove(g, records, gone, func(err error) {
		if err != nil {
			rep.answer(nil, unavailable(err))
			return
		}
		rep.answer(results, nil)
	})
}

type deletedOffset struct {
	topic     string
	partition int32
}

// remove appends tombstones, drops the offsets that they delete, and calls then when that is durable.
func (m *machine) remove(g *group, records []record, gone []deletedOffset, then func(error)) {
	if len(records) == 0 {
		m.afterWrite(g.lastWrite, then)
		return
	}
	if err := m.write(g, records, then); err != nil {
		then(err)
		return
	}
	for _, d := range gone {
		m.dropOffset(g, d.topic, d.partition)
	}
}

// deleteGroup handles DeleteGroups for one group.
func (m *machine) deleteGroup(group string, rep *reply[struct{}]) {
	g := m.groups[group]
	switch {
	case g == nil:
		rep.answer(struct{}{}, ErrGroupNotFound)
		return
	case g.state != Empty:
		rep.answer(struct{}{}, ErrGroupNotEmpty)
		return
	}
	m.deleteEmpty(g, func(err error) {
		if err != nil {
			err = unavailable(err)
		}
		rep.answer(struct{}{}, err)
	})
}

// deleteEmpty deletes a group without members, with all its offsets.
func (m *machine) deleteEmpty(g *group, then func(error)) {
	var records []record
	for topic, partitions := range g.offsets {
		for partition := range partitions {
			records = append(records, record{offsetKey(g.id, topic, partition), nil})
		}
	}
	if g.stored != nil {
		records = append(records, record{groupKey(g.id), nil})
	}
	if len(records) > 0 {
		if err := m.write(g, records, then); err != nil {
			then(err)
			return
		}
		m.lastDelete = g.lastWrite
		m.forget(g)
		return
	}
	m.forget(g)
	m.afterWrite(g.lastWrite, then)
}

// topicsDeleted drops the offsets of topics that are gone.
func (m *machine) topicsDeleted(topics []string) {
	for _, g := range m.groups {
		var records []record
		var gone []deletedOffset
		for _, topic := range topics {
			for partition := range g.offsets[topic] {
				records = append(records, record{offsetKey(g.id, topic, partition), nil})
				gone = append(gone, deletedOffset{topic, partition})
			}
		}
		if len(records) > 0 {
			m.remove(g, records, gone, func(err error) {
				if err != nil {
					m.log.Warn("cannot drop offsets of deleted topics", "group", g.id, "err", err)
				}
			})
		}
	}
}

// describe handles DescribeGroups for one group.
func (m *machine) describe(group string) (Description, error) {
	g := m.groups[group]
	if g == nil {
		return Description{Group: group, State: Dead}, ErrGroupNotFound
	}
	d := Description{Group: g.id, State: g.state, ProtocolType: g.protocolType}
	if g.state == Stable {
		d.Protocol = g.protocol
	}
	for _, mem := range g.ordered() {
		md := MemberDescription{MemberID: mem.id, InstanceID: mem.instanceID, Client: mem.client}
		if g.state == Stable {
			md.Metadata, md.Assignment = mem.metadata(g.protocol), mem.assignment
		}
		d.Members = append(d.Members, md)
	}
	return d, nil
}

// list handles ListGroups.
func (m *machine) list(into []Listing) []Listing {
	for _, g := range m.groups {
		into = append(into, Listing{Group: g.id, ProtocolType: g.protocolType, State: g.state})
	}
	return into
}
