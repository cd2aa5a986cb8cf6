package group

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// loader builds a machine from the records of its partition, in order.
type loader struct {
	m       *machine
	members map[string]*kmsg.GroupMetadataValue // the last stored form of each group
}

func newLoader(m *machine) *loader {
	return &loader{m: m, members: map[string]*kmsg.GroupMetadataValue{}}
}

// add takes in one record.
func (l *loader) add(key, value []byte) error {
	s, err := decodeRecord(key, value)
	if err != nil {
		return err
	}
	m := l.m
	m.grown.records++
	m.grown.bytes += int64(record{key, value}.size())
	if s.kind == storedOther {
		return nil
	}
	g := m.groups[s.groupID]
	if g == nil {
		if value == nil {
			return nil
		}
		g = m.open(s.groupID)
	}
	switch {
	case s.kind == storedOffset && s.offset != nil:
		m.setOffset(g, s.topic, s.partition, *s.offset)
	case s.kind == storedOffset:
		m.dropOffset(g, s.topic, s.partition)
	case s.group != nil:
		m.setStored(g, bytes.Clone(value))
		l.members[g.id] = s.group
	default:
		m.setStored(g, nil)
		delete(l.members, g.id)
	}
	if g.stored == nil && len(g.offsets) == 0 {
		m.forget(g)
	}
	return nil
}

// finish makes the groups live: their members' sessions begin now.
func (l *loader) finish() *machine {
	for id, v := range l.members {
		l.restore(l.m.groups[id], v)
	}
	return l.m
}

// restore fills a group from its stored form. Only generations that got their assignment and empty groups are ever stored.
func (l *loader) restore(g *group, v *kmsg.GroupMetadataValue) {
	m := l.m
	g.generation, g.protocolType = v.Generation, v.ProtocolType
	if v.Version >= 2 {
		g.sinceMs = v.CurrentStateTimestamp
	}
	if len(v.Members) == 0 || v.Protocol == nil {
		g.refreshSubscribed()
		return
	}
	g.state, g.protocol = Stable, *v.Protocol
	for i := range v.Members {
		s := &v.Members[i]
		mem := &member{id: s.MemberID, client: Client{ID: s.ClientID, Host: s.ClientHost}, assignment: s.Assignment,
			protocols: []Protocol{{Name: g.protocol, Metadata: s.Subscription}}, sessionTimeout: storedTimeout(s.SessionTimeoutMillis)}
		mem.rebalanceTimeout = mem.sessionTimeout
		if v.Version >= 1 {
			mem.rebalanceTimeout = storedTimeout(s.RebalanceTimeoutMillis)
		}
		if s.InstanceID != nil {
			mem.instanceID = *s.InstanceID
		}
		if g.members[mem.id] != nil || (mem.instanceID != "" && g.static[mem.instanceID] != "") {
			m.log.Warn("stored group names a member twice", "group", g.id, "member", mem.id)
			continue
		}
		g.add(mem, v.ProtocolType)
		m.watch(g, mem)
		m.recost(mem)
		m.touch(mem)
	}
	if v.Leader != nil && g.members[*v.Leader] != nil {
		g.leader = *v.Leader
	}
	g.refreshSubscribed()
}

func storedTimeout(ms int32) time.Duration { return time.Duration(max(ms, 0)) * time.Millisecond }

// shrink begins a rebalance of groups that are above group.max.size, which may have been lowered since they were stored.
func (m *machine) shrink() {
	for _, g := range m.groups {
		if g.state == Stable && len(g.members) > m.cfg.MaxGroupSize {
			m.prepare(g, "group is above its maximum size after loading")
		}
	}
}
