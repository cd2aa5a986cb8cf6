package metadata

import (
	"math"

	"github.com/chronik-io/chronik/internal/uuid"
)

// The events and entities of which there are many are read by hand first: a member applies what the controller's many clients ask for,
// and every start replays it. What is read here is the spelling that AppendEvent and the entities write, field by field. Anything else,
// escapes and characters outside ASCII included, goes to encoding/json, which also words the errors: reading by hand never refuses.
type fieldReader struct {
	b    []byte
	open bool // a field stands before the next one
	bad  bool
}

// readFast reads the fields of an event, from the comma or name after its version or time to its closing brace. false means that the
// general reader must look at it.
func readFast(name string, rest []byte) (Event, bool) {
	r := fieldReader{b: rest, open: true}
	var ev Event
	switch name {
	case "TopicCreated":
		ev = r.topicCreated()
	case "TopicDeleted":
		ev = &TopicDeleted{Name: r.str("name"), TopicID: r.uuid("topicId"), TimestampMs: r.long("timestampMs")}
	case "SetLeader":
		ev = &SetLeader{Name: r.str("name"), TopicID: r.uuid("topicId"), Partition: r.int("partition"), Leader: r.int("leader"), ISR: r.ints("isr"),
			ELR: r.ints("elr"), LeaderEpoch: r.int("leaderEpoch"), PartitionEpoch: r.int("partitionEpoch"), Unclean: r.bool("unclean")}
	case "UpdateIsr":
		ev = &UpdateIsr{Name: r.str("name"), TopicID: r.uuid("topicId"), Partition: r.int("partition"), ISR: r.ints("isr"), ELR: r.ints("elr"),
			BrokerEpochs: r.longs("brokerEpochs"), LeaderEpoch: r.int("leaderEpoch"), PartitionEpoch: r.int("partitionEpoch")}
	case "ConfigChanged":
		ev = &ConfigChanged{Resource: ResourceType(r.str("resource")), Name: r.str("name"), Set: r.stringMap("set"), Remove: r.strings("remove")}
	default:
		return nil, false
	}
	return ev, r.end()
}

func (r *fieldReader) topicCreated() *TopicCreated {
	ev := &TopicCreated{Name: r.str("name"), TopicID: r.uuid("topicId"), Internal: r.bool("internal"), TimestampMs: r.long("timestampMs")}
	ev.Partitions = []PartitionState{}
	r.name("partitions")
	r.list(func() {
		r.skip('{')
		r.open = false
		ev.Partitions = append(ev.Partitions, PartitionState{Replicas: r.ints("replicas"), ISR: r.ints("isr"), Leader: r.int("leader")})
		r.skip('}')
	})
	r.open = true
	ev.Configs = r.stringMap("configs")
	return ev
}

// fastPartition reads the value of a partition's record.
func fastPartition(value []byte) (topic string, n int32, p Partition, ok bool) {
	r := fieldReader{b: value}
	r.skip('{')
	topic, n = r.str("topic"), r.int("partition")
	p = Partition{Replicas: r.ints("replicas"), ISR: r.ints("isr"), ELR: r.ints("elr"), Adding: r.ints("adding"), Removing: r.ints("removing"),
		Leader: r.int("leader"), LeaderEpoch: r.int("leaderEpoch"), PartitionEpoch: r.int("partitionEpoch")}
	return topic, n, p, r.end()
}

// fastTopic reads the value of a topic's record.
func fastTopic(value []byte) (t Topic, ok bool) {
	r := fieldReader{b: value}
	r.skip('{')
	t = Topic{Name: r.str("name"), ID: r.uuid("id"), Internal: r.bool("internal"), CreatedMs: r.long("createdMs")}
	return t, r.end()
}

// fastConfig reads the value of a record of settings.
func fastConfig(value []byte) (res Resource, values map[string]string, ok bool) {
	r := fieldReader{b: value}
	r.skip('{')
	res = Resource{ResourceType(r.str("resource")), r.str("name")}
	values = r.stringMap("values")
	return res, values, r.end()
}

// end reports whether all was read, and nothing stands behind the closing brace.
func (r *fieldReader) end() bool {
	r.skip('}')
	return !r.bad && len(r.b) == 0
}

// peek is the next byte; 0 at the end.
func (r *fieldReader) peek() byte {
	if r.bad || len(r.b) == 0 {
		return 0
	}
	return r.b[0]
}

func (r *fieldReader) skip(c byte) {
	if r.peek() != c {
		r.bad = true
		return
	}
	r.b = r.b[1:]
}

func (r *fieldReader) name(name string) {
	if r.open {
		r.skip(',')
	}
	r.open = true
	n := len(name)
	if r.bad || len(r.b) < n+3 || r.b[0] != '"' || string(r.b[1:n+1]) != name || r.b[n+1] != '"' || r.b[n+2] != ':' {
		r.bad = true
		return
	}
	r.b = r.b[n+3:]
}

// text reads a string without escapes. It is a part of what is read, not a copy.
func (r *fieldReader) text() []byte {
	r.skip('"')
	if r.bad {
		return nil
	}
	for i, c := range r.b {
		switch {
		case c == '"':
			s := r.b[:i]
			r.b = r.b[i+1:]
			return s
		case c < 0x20 || c >= 0x80 || c == '\\':
			r.bad = true
			return nil
		}
	}
	r.bad = true
	return nil
}

func (r *fieldReader) number() int64 {
	negative := r.peek() == '-'
	if negative {
		r.b = r.b[1:]
	}
	n, digits := int64(0), 0
	for digits < len(r.b) && r.b[digits] >= '0' && r.b[digits] <= '9' {
		n = n*10 + int64(r.b[digits]-'0')
		digits++
	}
	if digits == 0 || digits > 18 || r.b[0] == '0' && (digits > 1 || negative) {
		r.bad = true
		return 0
	}
	r.b = r.b[digits:]
	if negative {
		return -n
	}
	return n
}

func (r *fieldReader) small() int32 {
	n := r.number()
	if n < math.MinInt32 || n > math.MaxInt32 {
		r.bad = true
	}
	return int32(n)
}

// list calls one for each element of an array, which has to take it.
func (r *fieldReader) list(one func()) {
	r.skip('[')
	if r.peek() == ']' {
		r.skip(']')
		return
	}
	for !r.bad {
		one()
		if r.peek() == ']' {
			break
		}
		r.skip(',')
	}
	r.skip(']')
}

func (r *fieldReader) str(name string) string {
	r.name(name)
	return string(r.text())
}

func (r *fieldReader) long(name string) int64 {
	r.name(name)
	return r.number()
}

func (r *fieldReader) int(name string) int32 {
	r.name(name)
	return r.small()
}

func (r *fieldReader) bool(name string) bool {
	r.name(name)
	word := "false"
	if r.peek() == 't' {
		word = "true"
	}
	if r.bad || len(r.b) < len(word) || string(r.b[:len(word)]) != word {
		r.bad = true
		return false
	}
	r.b = r.b[len(word):]
	return word == "true"
}

func (r *fieldReader) uuid(name string) uuid.UUID {
	r.name(name)
	id, err := uuid.Parse(string(r.text()))
	r.bad = r.bad || err != nil
	return id
}

func (r *fieldReader) ints(name string) []int32 {
	r.name(name)
	list := []int32{}
	r.list(func() { list = append(list, r.small()) })
	return list
}

func (r *fieldReader) longs(name string) []int64 {
	r.name(name)
	list := []int64{}
	r.list(func() { list = append(list, r.number()) })
	return list
}

func (r *fieldReader) strings(name string) []string {
	r.name(name)
	list := []string{}
	r.list(func() { list = append(list, string(r.text())) })
	return list
}

func (r *fieldReader) stringMap(name string) map[string]string {
	r.name(name)
	m := map[string]string{}
	r.skip('{')
	if r.peek() == '}' {
		r.skip('}')
		return m
	}
	for !r.bad {
		key := string(r.text())
		r.skip(':')
		m[key] = string(r.text())
		if r.peek() == '}' {
			break
		}
		r.skip(',')
	}
	r.skip('}')
	return m
}
