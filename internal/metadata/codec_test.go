package metadata

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/chronik-io/chronik/internal/uuid"
)

var (
	idA = uuid.UUID{15: 0xa}
	idB = uuid.UUID{15: 0xb}
)

// samples has one event of each type with every field set.
func samples() []Event {
	voters := []Voter{{1, idA}, {2, idB}}
	states := []PartitionState{{Replicas: []int32{1, 2}, ISR: []int32{1}, Leader: 1}}
	return []Event{
		&ClusterFounded{ClusterID: "c", MetadataVersion: 1, Features: map[string]int16{"f": 2, "a": 1}, Founders: voters, TimestampMs: 5},
		&VotersChanged{Voters: voters},
		&BrokerRegistered{BrokerID: 1, BrokerEpoch: 2, Incarnation: idA, DiskID: idB, Endpoints: []Endpoint{{"kafka", "h", 1}}, Rack: "r", Fenced: true},
		&BrokerFenced{1, 2}, &BrokerUnfenced{1, 2}, &BrokerStopping{1, 2}, &BrokerUnregistered{1, 2},
		&TopicCreated{Name: "t", TopicID: idA, Internal: true, TimestampMs: 3, Partitions: states, Configs: map[string]string{"b": "\"\\\x01é", "a": ""}},
		&TopicDeleted{"t", idA, 4},
		&TombstonesPurged{[]uuid.UUID{idA, idB}},
		&PartitionsAdded{"t", idA, 1, states},
		&AssignPartition{"t", idA, 0, []int32{1, 2}, []int32{2}, []int32{1}, 7},
		&SetLeader{"t", idA, 0, 1, []int32{1}, []int32{2}, 5, 6, true},
		&UpdateIsr{"t", idA, 0, []int32{1}, []int32{2}, []int64{9}, 5, 6},
		&ConfigChanged{ResourceTopic, "t", map[string]string{"k": "v"}, []string{"x"}},
		&ProducerIDsAllocated{1, 2, 0, 1000},
	}
}

func TestEventRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for _, ev := range samples() {
		seen[ev.Type()] = true
		b := AppendEvent(nil, ev)
		back, err := DecodeEvent(b)
		if err != nil {
			t.Errorf("%s: %v", b, err)
			continue
		}
		if !reflect.DeepEqual(back, ev) {
			t.Errorf("%s came back as %+v", b, back)
		}
	}
	for name := range eventTypes {
		if !seen[name] {
			t.Errorf("no sample of %s", name)
		}
	}
}

// TestEventText pins the bytes in the log: what is written today must be readable by every later version.
func TestEventText(t *testing.T) {
	tests := []struct {
		ev        Event
		key, text string
	}{
		{&TopicDeleted{"orders", idA, 4}, "topic/orders",
			`{"type":"TopicDeleted","v":1,"name":"orders","topicId":"AAAAAAAAAAAAAAAAAAAACg","timestampMs":4}`},
		{&SetLeader{"t", idA, 3, 1, []int32{1}, nil, 5, 6, false}, "partition/t/3",
			`{"type":"SetLeader","v":1,"name":"t","topicId":"AAAAAAAAAAAAAAAAAAAACg","partition":3,"leader":1,"isr":[1],"elr":[],"leaderEpoch":5,"partitionEpoch":6,"unclean":false}`},
		{&ConfigChanged{ResourceBroker, "", map[string]string{"b": "2", "a": "1"}, nil}, "config/broker/<default>",
			`{"type":"ConfigChanged","v":1,"resource":"broker","name":"","set":{"a":"1","b":"2"},"remove":[]}`},
	}
	for _, tt := range tests {
		if got := string(AppendEvent(nil, tt.ev)); got != tt.text {
			t.Errorf("got  %s\nwant %s", got, tt.text)
		}
		if got := tt.ev.Key(); got != tt.key {
			t.Errorf("key %q, want %q", got, tt.key)
		}
	}
}

// The time of an entry stands in its front, changes nothing about the event, and need not be there.
func TestEventTime(t *testing.T) {
	ev := &BrokerFenced{1, 2}
	plain, timed := AppendEvent(nil, ev), AppendEventAt(nil, ev, 1767366245123)
	if want := `{"type":"BrokerFenced","v":1,"at":1767366245123,"brokerId":1,"brokerEpoch":2}`; string(timed) != want {
		t.Errorf("written as %s, not %s", timed, want)
	}
	for text, want := range map[string]int64{string(plain): 0, string(timed): 1767366245123} {
		got, at, err := DecodeEventAt([]byte(text))
		if err != nil || at != want || string(AppendEvent(nil, got)) != string(plain) {
			t.Errorf("%s: %v at %d, %v", text, got, at, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(AppendEvent(nil, &BrokerFenced{1, 2}))
	tests := []struct {
		name, text string
		want       error
	}{
		{"unknown type", strings.Replace(good, "BrokerFenced", "BrokerFrozen", 1), ErrUnknownEvent},
		{"later version", strings.Replace(good, `"v":1`, `"v":2`, 1), ErrUnknownEvent},
		{"version 0", strings.Replace(good, `"v":1`, `"v":0`, 1), ErrUnknownEvent},
		{"time without digits", strings.Replace(good, `"v":1`, `"v":1,"at":`, 1), ErrMalformed},
		{"time too large", strings.Replace(good, `"v":1`, `"v":1,"at":99999999999999999999`, 1), ErrMalformed},
		{"time elsewhere", strings.Replace(good, "}", `,"at":1}`, 1), ErrMalformed},
		{"no version", strings.Replace(good, `"v":1,`, ``, 1), ErrMalformed},
		{"unknown field", strings.Replace(good, "}", `,"more":1}`, 1), ErrMalformed},
		{"wrong type", strings.Replace(good, `"brokerId":1`, `"brokerId":"x"`, 1), ErrMalformed},
		{"too large", strings.Replace(good, `"brokerId":1`, `"brokerId":4294967296`, 1), ErrMalformed},
		{"cut", good[:len(good)-1], ErrMalformed},
		{"bytes behind", good + "{}", ErrMalformed},
		{"empty", "", ErrMalformed},
		{"type not first", `{"v":1,"type":"BrokerFenced"}`, ErrMalformed},
	}
	for _, tt := range tests {
		if ev, err := DecodeEvent([]byte(tt.text)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, %v; want %v", tt.name, ev, err, tt.want)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	for _, ev := range samples() {
		f.Add(AppendEvent(nil, ev))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := DecodeEvent(b)
		if err != nil {
			return
		}
		text := AppendEvent(nil, ev)
		again, err := DecodeEvent(text)
		if err != nil {
			t.Fatalf("%s, written as %s: %v", b, text, err)
		}
		if s := string(AppendEvent(nil, again)); s != string(text) {
			t.Fatalf("%s is written as %s and then as %s", b, text, s)
		}
		_, _, _ = Apply(Empty(), Entry{0, ev}) // must not panic on anything that can stand in a log
	})
}
