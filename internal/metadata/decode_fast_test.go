package metadata

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// slow reads an event's fields as encoding/json does.
func slow(t *testing.T, name string, rest []byte) (Event, error) {
	t.Helper()
	return eventTypes[name].decode(append([]byte{'{'}, bytes.TrimPrefix(rest, []byte(","))...))
}

// rest is what stands after an event's version.
func rest(ev Event) []byte {
	return bytes.TrimPrefix(AppendEvent(nil, ev), []byte(`{"type":"`+ev.Type()+`","v":1`))
}

// Reading by hand gives what encoding/json gives, for every spelling it takes. Where it stands aside, encoding/json decides.
func TestFastReadsTheSame(t *testing.T) {
	fast := map[string]bool{}
	for _, ev := range append(samples(), numbered(7)) {
		got, ok := readFast(ev.Type(), rest(ev))
		if !ok {
			continue
		}
		fast[ev.Type()] = true
		if want, err := slow(t, ev.Type(), rest(ev)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: by hand %#v, by encoding/json %#v, %v", rest(ev), got, want, err)
		}
	}
	for _, name := range []string{"TopicCreated", "TopicDeleted", "SetLeader", "UpdateIsr", "ConfigChanged"} {
		if !fast[name] {
			t.Errorf("%s is not read by hand", name)
		}
	}
}

// Whatever is not spelled as this package writes it is left to encoding/json.
func TestFastStandsAside(t *testing.T) {
	good := string(rest(&SetLeader{"t", idA, 3, 1, []int32{1, 2}, nil, 5, 6, false}))
	if _, ok := readFast("SetLeader", []byte(good)); !ok {
		t.Fatalf("%s is not read by hand", good)
	}
	for _, change := range [][2]string{{`"t"`, `"\u0074"`}, {`"t"`, `"ä"`}, {`"t"`, "\"\x01\""}, {`"t"`, `"t`}, {`:3`, `: 3`}, {`:3`, `:03`}, {`:3`, `:-0`}, {`:3`, `:3.0`},
		{`:3`, `:3e0`}, {`:3`, `:2147483648`}, {`:3`, `:99999999999999999999`}, {`:3`, `:null`}, {`:3`, `:`}, {`[1,2]`, `[1,]`}, {`[1,2]`, `[1 ,2]`}, {`[1,2]`, `[1,2`},
		{`[1,2]`, `null`}, {`false`, `fals`}, {`false`, `"false"`}, {`"isr"`, `"ISR"`}, {`}`, `,"more":1}`}, {`}`, `}}`}, {`}`, ``}, {`,"name"`, `"name"`}} {
		text := strings.Replace(good, change[0], change[1], 1)
		if ev, ok := readFast("SetLeader", []byte(text)); ok {
			t.Errorf("%s is read by hand, as %#v", text, ev)
		}
	}
}

func FuzzFastReadsTheSame(f *testing.F) {
	for _, ev := range append(samples(), numbered(7)) {
		f.Add(ev.Type(), rest(ev))
	}
	f.Fuzz(func(t *testing.T, name string, b []byte) {
		got, ok := readFast(name, b)
		if !ok {
			return
		}
		if want, err := slow(t, name, b); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s %s: by hand %#v, by encoding/json %#v, %v", name, b, got, want, err)
		}
	})
}

// The records of a snapshot that are read by hand are the same, too.
func TestFastRecords(t *testing.T) {
	p := &Partition{Replicas: []int32{3, 1, 2}, ISR: []int32{1}, ELR: []int32{2}, Adding: []int32{3}, Leader: NoLeader, LeaderEpoch: 7, PartitionEpoch: 9}
	var want struct {
		Topic string `json:"topic"`
		N     int32  `json:"partition"`
		Partition
	}
	value := p.entity("orders", 4).value
	if err := strictUnmarshal(value, &want); err != nil {
		t.Fatal(err)
	}
	if topic, n, got, ok := fastPartition(value); !ok || topic != want.Topic || n != want.N || !reflect.DeepEqual(got, want.Partition) {
		t.Errorf("%s is read as %q %d %+v, %v", value, topic, n, got, ok)
	}
	topic := Topic{Name: "orders", ID: idA, Internal: true, CreatedMs: 12}
	if got, ok := fastTopic(topic.entity().value); !ok || !reflect.DeepEqual(got, topic) {
		t.Errorf("%s is read as %+v, %v", topic.entity().value, got, ok)
	}
	config := &configResource{Resource: Resource{ResourceTopic, "orders"}, values: map[string]string{"retention.ms": "1", "cleanup.policy": "delete"}}
	if r, values, ok := fastConfig(config.entity().value); !ok || r != config.Resource || !reflect.DeepEqual(values, config.values) {
		t.Errorf("%s is read as %v %v, %v", config.entity().value, r, values, ok)
	}
}
