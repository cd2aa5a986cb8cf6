package config

import (
	"bufio"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTablesAreSound(t *testing.T) {
	for name, table := range map[string][]Setting{"topic": topicSettings, "broker": brokerSettings} {
		if !slices.IsSortedFunc(table, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("the %s table is not sorted, so that settings are not found", name)
		}
		for i := range table {
			s := &table[i]
			if i > 0 && table[i-1].Name == s.Name {
				t.Errorf("%s stands twice in the %s table", s.Name, name)
			}
			if s.Default == nil && name == "topic" {
				t.Errorf("topic setting %s has no default", s.Name)
			}
			if s.Default != nil && !s.Derived {
				if v, err := s.Normalize(*s.Default); err != nil || v != *s.Default {
					t.Errorf("the default of %s is not one of its values: %q, %v", s.Name, v, err)
				}
			}
			if s.Doc == "" || s.Type == 0 {
				t.Errorf("%s has no documentation or no type", s.Name)
			}
			for _, syn := range s.Synonyms {
				if BrokerSetting(syn.Name) == nil {
					t.Errorf("%s has the unknown synonym %s", s.Name, syn.Name)
				}
			}
		}
	}
}

// TestTopicDefaultsAreKafkas compares every topic setting with what a broker of Kafka 4.3.1 says.
func TestTopicDefaultsAreKafkas(t *testing.T) {
	f, err := os.Open("../../tests/conformance/golden/topic-configs.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line := regexp.MustCompile(`^  (\S+)=(\S*) sensitive=false synonyms=\{(.*)\}$`)
	seen := 0
	for sc := bufio.NewScanner(f); sc.Scan(); {
		m := line.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		seen++
		s := TopicSetting(m[1])
		if s == nil {
			t.Errorf("Kafka's %s is not in the table", m[1])
			continue
		}
		if m[1] == MinInsyncReplicas { // set on the broker of the recording
			continue
		}
		value, source := Topic(s, Layers{})
		if *value != m[2] || source != SourceDefault {
			t.Errorf("%s is %q, Kafka's is %q", m[1], *value, m[2])
		}
		var synonyms []string
		for _, v := range TopicValues(s, Layers{}) {
			synonyms = append(synonyms, "DEFAULT_CONFIG:"+v.Name+"="+*v.Text)
		}
		if got := strings.Join(synonyms, ", "); got != m[3] {
			t.Errorf("%s comes from %q, in Kafka from %q", m[1], got, m[3])
		}
	}
	if seen != len(topicSettings) {
		t.Errorf("Kafka has %d topic settings, the table %d", seen, len(topicSettings))
	}
}

// TestBrokerSettingsAreKafkas: every setting that is offered exists in Kafka, with the same default.
func TestBrokerSettingsAreKafkas(t *testing.T) {
	text, err := os.ReadFile("../../tests/conformance/golden/broker-configs.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i := range brokerSettings {
		s := &brokerSettings[i]
		m := regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(s.Name) + `=(\S*) .*synonyms=\{(.*)\}$`).FindSubmatch(text)
		if m == nil {
			t.Errorf("Kafka has no %s", s.Name)
			continue
		}
		if s.Derived || s.Default == nil {
			continue
		}
		want := string(m[1])
		if d := regexp.MustCompile(`DEFAULT_CONFIG:` + regexp.QuoteMeta(s.Name) + `=([^,}]*)`).FindSubmatch(m[2]); d != nil {
			want = string(d[1])
		}
		if *s.Default != want && s.Name != "log.flush.interval.ms" {
			t.Errorf("%s is %q by default, Kafka's %q", s.Name, *s.Default, want)
		}
	}
}

// TestBrokerTypesAreKafkas: a type that clients see is Kafka's, and what can be changed at run time here can be in Kafka.
func TestBrokerTypesAreKafkas(t *testing.T) {
	text, err := os.ReadFile("../../tests/conformance/golden/probe-1node.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i := range brokerSettings {
		s := &brokerSettings[i]
		m := regexp.MustCompile(`Configs Name=` + regexp.QuoteMeta(s.Name) + `( ReadOnly=true)? ConfigType=(\S+)`).FindSubmatch(text)
		if m == nil {
			t.Errorf("Kafka has no %s", s.Name)
			continue
		}
		if string(m[2]) != s.Type.String() || !s.ReadOnly && len(m[1]) > 0 {
			t.Errorf("%s is %s, read-only %t; in Kafka %s%s", s.Name, s.Type, s.ReadOnly, m[2], m[1])
		}
	}
}

func TestNormalize(t *testing.T) {
	const refused = "refused"
	tests := []struct{ name, value, want string }{
		{RetentionMs, " 5 ", "5"}, {RetentionMs, "+5", "5"}, {RetentionMs, "-1", "-1"}, {RetentionMs, "-5", refused}, {RetentionMs, "", refused},
		{RetentionMs, "abc", refused}, {RetentionMs, "1e3", refused}, {RetentionBytes, "9223372036854775807", "9223372036854775807"},
		{RetentionBytes, "9223372036854775808", refused}, {MaxMessageBytes, "2147483648", refused}, {MaxMessageBytes, "-1", refused},
		{SegmentBytes, "13", refused}, {SegmentBytes, "1048576", "1048576"}, {MinInsyncReplicas, "0", refused},
		{CleanupPolicy, "delete , compact", "delete,compact"}, {CleanupPolicy, "shred", refused}, {CleanupPolicy, "", refused},
		{CompressionType, "rar", refused}, {CompressionType, "zstd", "zstd"}, {MessageTimestampType, "Never", refused},
		{UncleanLeaderElection, "TRUE", "true"}, {UncleanLeaderElection, "maybe", refused}, {"min.cleanable.dirty.ratio", "0.3", "0.3"},
		{"min.cleanable.dirty.ratio", "1.5", refused}, {"min.cleanable.dirty.ratio", "NaN", refused}, {"compression.gzip.level", "0", refused},
		{"compression.gzip.level", "-1", "-1"}, {"compression.gzip.level", "10", refused}, {"compression.zstd.level", "23", refused},
		{"leader.replication.throttled.replicas", "*", "*"}, {"leader.replication.throttled.replicas", "0:1, 1:2", "0:1,1:2"},
		{"leader.replication.throttled.replicas", "0", refused}, {"remote.storage.enable", "true", refused}, {"remote.storage.enable", "false", "false"},
		{"message.format.version", "2.0", refused}, {"no.such", "1", refused}, {CompressionType, "gz\xffip", refused},
	}
	for _, tt := range tests {
		got, err := NormalizeTopic(tt.name, tt.value)
		if err != nil {
			got = refused
			if !errors.Is(err, ErrInvalidValue) && !errors.Is(err, ErrUnknownSetting) {
				t.Errorf("%s=%q: %v", tt.name, tt.value, err)
			}
		}
		if got != tt.want {
			t.Errorf("%s=%q: got %q, want %q (%v)", tt.name, tt.value, got, tt.want, err)
		}
	}
}

func TestBrokerChecks(t *testing.T) {
	tests := []struct {
		name, value     string
		static, dynamic error
	}{
		{"num.partitions", "4", nil, ErrReadOnly},
		{"num.partitions", "0", ErrInvalidValue, ErrReadOnly},
		{"log.retention.ms", "5", nil, nil},
		{"node.id", "5", ErrInvalidValue, ErrReadOnly},
		{"ssl.keystore.location", "x", ErrUnknownSetting, ErrUnknownSetting},
		{"log.cleanup.policy", "compact", ErrInvalidValue, ErrInvalidValue},
		{"replica.selector.class", "x", ErrInvalidValue, ErrReadOnly},
		{"replica.selector.class", RackAwareSelector, nil, ErrReadOnly},
		{"replica.selector.class", "RackAwareReplicaSelector", nil, ErrReadOnly},
		{"offsets.topic.replication.factor", "40000", ErrInvalidValue, ErrReadOnly},
	}
	for _, tt := range tests {
		if _, err := NormalizeBroker(tt.name, tt.value); !errors.Is(err, tt.static) || tt.static == nil && err != nil {
			t.Errorf("%s=%s in the file: %v, want %v", tt.name, tt.value, err, tt.static)
		}
		if _, err := NormalizeDynamicBroker(tt.name, tt.value); !errors.Is(err, tt.dynamic) || tt.dynamic == nil && err != nil {
			t.Errorf("%s=%s at run time: %v, want %v", tt.name, tt.value, err, tt.dynamic)
		}
	}
}

// TestLayers takes layers away one by one: each time the next one holds, in its own name and unit.
func TestLayers(t *testing.T) {
	l := Layers{
		Topic:   map[string]string{RetentionMs: "1"},
		Broker:  map[string]string{"log.retention.ms": "2"},
		Default: map[string]string{"log.retention.ms": "3"},
		Static:  map[string]string{"log.retention.minutes": "4", "log.retention.hours": "5"},
	}
	s := TopicSetting(RetentionMs)
	step := func(value string, source ValueSource, synonyms int) {
		t.Helper()
		v, from := Topic(s, l)
		if *v != value || from != source || len(TopicValues(s, l)) != synonyms {
			t.Errorf("got %s from %d with %d values, want %s from %d with %d", *v, from, len(TopicValues(s, l)), value, source, synonyms)
		}
	}
	step("1", SourceTopic, 5)
	l.Topic = nil
	step("2", SourceBroker, 4)
	l.Broker = nil
	step("3", SourceBrokerDefault, 3)
	l.Default = nil
	step("240000", SourceStatic, 2)
	delete(l.Static, "log.retention.minutes")
	step("18000000", SourceStatic, 1)
	l.Static["log.retention.hours"] = "-1"
	step("-1", SourceStatic, 1)
	l.Static = nil
	step("604800000", SourceDefault, 0)

	l.Auto = map[string]string{DefaultReplicationFactor: "3"}
	if BrokerInt(DefaultReplicationFactor, l) != 3 || BrokerInt(NumPartitions, l) != 1 || BrokerString(BrokerRack, l) != "" || !BrokerBool(AutoCreateTopics, l) {
		t.Error("broker defaults are wrong")
	}
}
