package controller

import (
	"maps"
	"testing"

	"github.com/chronik-io/chronik/internal/metadata"
)

func TestIncrementalAlterConfigs(t *testing.T) {
	c, log := cluster(t, 1, nil)
	mustCreate(t, c, topic("t", 1, 1, "retention.ms", "1000"))
	r := metadata.Resource{Type: metadata.ResourceTopic, Name: "t"}
	tests := []struct {
		name    string
		changes []ConfigChange
		err     error
		want    map[string]string
	}{
		{"set", []ConfigChange{{"segment.ms", OpSet, str("7000")}, {"retention.ms", OpSet, str("2000")}}, nil,
			map[string]string{"segment.ms": "7000", "retention.ms": "2000"}},
		{"append to a number", []ConfigChange{{"retention.ms", OpAppend, str("1")}}, ErrInvalidConfig, nil},
		{"append what is there", []ConfigChange{{"cleanup.policy", OpAppend, str("delete")}}, nil,
			map[string]string{"segment.ms": "7000", "retention.ms": "2000", "cleanup.policy": "delete"}},
		{"append compaction", []ConfigChange{{"cleanup.policy", OpAppend, str("compact")}}, ErrInvalidConfig, nil},
		{"subtract what is not there", []ConfigChange{{"cleanup.policy", OpSubtract, str("compact")}}, nil,
			map[string]string{"segment.ms": "7000", "retention.ms": "2000", "cleanup.policy": "delete"}},
		{"subtract all", []ConfigChange{{"cleanup.policy", OpSubtract, str("delete")}}, ErrInvalidConfig, nil},
		{"delete", []ConfigChange{{"retention.ms", OpDelete, nil}, {"cleanup.policy", OpDelete, nil}}, nil, map[string]string{"segment.ms": "7000"}},
		{"delete what is not set", []ConfigChange{{"retention.ms", OpDelete, nil}}, nil, map[string]string{"segment.ms": "7000"}},
		{"delete an unknown name", []ConfigChange{{"no.such", OpDelete, nil}}, nil, map[string]string{"segment.ms": "7000"}},
		{"set to null", []ConfigChange{{"segment.ms", OpSet, nil}}, ErrInvalidRequest, nil},
		{"unknown name", []ConfigChange{{"no.such", OpSet, str("1")}}, ErrInvalidConfig, nil},
		{"the same name twice", []ConfigChange{{"segment.ms", OpSet, str("1")}, {"segment.ms", OpSet, str("2")}}, ErrInvalidRequest, nil},
		{"good and bad", []ConfigChange{{"segment.ms", OpSet, str("9000")}, {"retention.ms", OpSet, str("x")}}, ErrInvalidConfig, nil},
		{"unknown operation", []ConfigChange{{"segment.ms", 9, str("1")}}, ErrInvalidRequest, nil},
		{"nothing", nil, nil, map[string]string{"segment.ms": "7000"}},
		{"throttles", []ConfigChange{{"leader.replication.throttled.replicas", OpAppend, str("0:1")}, {"leader.replication.throttled.replicas", OpDelete, nil}}, ErrInvalidRequest, nil},
	}
	for _, tt := range tests {
		before := log.Image().Config(r.Type, r.Name)
		for _, validate := range []bool{true, false} {
			results, err := c.IncrementalAlterConfigs(t.Context(), []ResourceChanges{{r, tt.changes}}, validate)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, tt.name, results[0], tt.err)
			want := tt.want
			if validate || tt.err != nil {
				want = before
			}
			if got := log.Image().Config(r.Type, r.Name); !maps.Equal(got, want) {
				t.Errorf("%s, validate %t: got %v, want %v", tt.name, validate, got, want)
			}
		}
	}
}

func TestAlterConfigsReplaces(t *testing.T) {
	c, log := cluster(t, 1, nil)
	mustCreate(t, c, topic("t", 1, 1, "retention.ms", "1000", "segment.ms", "5"))
	r := metadata.Resource{Type: metadata.ResourceTopic, Name: "t"}
	alter := func(values ...string) error {
		var changes []ConfigChange
		for i := 0; i+1 < len(values); i += 2 {
			changes = append(changes, ConfigChange{values[i], OpSet, &values[i+1]})
		}
		results, err := c.AlterConfigs(t.Context(), []ResourceChanges{{r, changes}}, false)
		if err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	expect(t, "replace", alter("retention.ms", "2000"), nil)
	if got := log.Image().Config(r.Type, r.Name); !maps.Equal(got, map[string]string{"retention.ms": "2000"}) {
		t.Errorf("got %v", got)
	}
	expect(t, "bad", alter("retention.ms", "-9"), ErrInvalidConfig)
	expect(t, "twice", alter("retention.ms", "1", "retention.ms", "2"), ErrInvalidRequest)
	expect(t, "nothing", alter(), nil)
	if got := log.Image().Config(r.Type, r.Name); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestResources(t *testing.T) {
	c, _ := cluster(t, 1, nil)
	mustCreate(t, c, topic("t", 1, 1))
	topicSet := []ConfigChange{{"retention.ms", OpSet, str("1000")}}
	brokerSet := []ConfigChange{{"log.retention.ms", OpSet, str("1000")}}
	tests := []struct {
		kind    metadata.ResourceType
		name    string
		changes []ConfigChange
		want    error
	}{
		{metadata.ResourceTopic, "never", topicSet, ErrUnknownTopic},
		{metadata.ResourceTopic, "", topicSet, ErrInvalidRequest},
		{metadata.ResourceBroker, "1", brokerSet, nil},
		{metadata.ResourceBroker, "", brokerSet, nil},
		{metadata.ResourceBroker, "01", brokerSet, ErrInvalidRequest},
		{metadata.ResourceBroker, "4711", brokerSet, ErrInvalidRequest},
		{metadata.ResourceBroker, "x", brokerSet, ErrInvalidRequest},
		{metadata.ResourceBroker, "1", []ConfigChange{{"broker.rack", OpSet, str("x")}}, ErrInvalidRequest},
		{metadata.ResourceBroker, "1", []ConfigChange{{"broker.rack", OpDelete, nil}}, ErrInvalidRequest},
		{metadata.ResourceBroker, "1", []ConfigChange{{"no.such", OpSet, str("x")}}, ErrInvalidConfig},
		{metadata.ResourceBroker, "1", []ConfigChange{{"no.such", OpDelete, nil}}, nil},
		{metadata.ResourceBroker, "", []ConfigChange{{"log.cleanup.policy", OpSet, str("compact")}}, ErrInvalidConfig},
		{"77", "x", topicSet, ErrInvalidRequest},
	}
	for _, tt := range tests {
		results, err := c.IncrementalAlterConfigs(t.Context(), []ResourceChanges{{metadata.Resource{Type: tt.kind, Name: tt.name}, tt.changes}}, false)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, string(tt.kind)+" "+tt.name, results[0], tt.want)
	}
	r := metadata.Resource{Type: metadata.ResourceTopic, Name: "t"}
	results, err := c.IncrementalAlterConfigs(t.Context(), []ResourceChanges{{r, topicSet}, {r, topicSet}}, false)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "twice", results[0], ErrInvalidRequest)
	expect(t, "twice", results[1], ErrInvalidRequest)
}
