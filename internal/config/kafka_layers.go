package config

import (
	"slices"
	"strconv"
)

// ValueSource says where the value of a Kafka setting comes from. The numbers are those of Kafka's DescribeConfigs.
type ValueSource int8

// The sources, strongest first.
const (
	SourceTopic         ValueSource = 1 // set for the topic
	SourceBroker        ValueSource = 2 // set for this broker at run time
	SourceBrokerDefault ValueSource = 3 // set for all brokers at run time
	SourceStatic        ValueSource = 4 // given to this broker at its start
	SourceDefault       ValueSource = 5
)

// Layers are the places a value may come from; nil maps have nothing. Values in them are normalized.
type Layers struct {
	Topic   map[string]string
	Broker  map[string]string
	Default map[string]string
	Static  map[string]string
	// Auto are defaults that follow from the cluster, such as its size; they stand in for the table's.
	Auto map[string]string
}

// Value is one value of a setting and its source; Text is nil for null.
type Value struct {
	Name   string
	Text   *string
	Source ValueSource
}

// TopicValues are the values of a topic's setting, the one that holds first: the topic's own, then those of the broker's settings in
// their own names and units, and the default last unless it is null. It is empty only for a default that has no broker setting.
func TopicValues(s *Setting, l Layers) []Value {
	var values []Value
	if v, ok := l.Topic[s.Name]; ok {
		values = append(values, Value{s.Name, &v, SourceTopic})
	}
	return append(values, brokerValues(s.Synonyms, l)...)
}

// BrokerValues are the values of a broker's setting, the one that holds first. It is empty where the value is null.
func BrokerValues(s *Setting, l Layers) []Value {
	if len(s.Synonyms) > 0 {
		return brokerValues(s.Synonyms, l)
	}
	return brokerValues([]Synonym{{s.Name, 1}}, l)
}

// brokerValues goes through the sources, and within one through the names. Of the defaults Kafka shows that of the first name only.
func brokerValues(names []Synonym, l Layers) []Value {
	var values []Value
	for _, layer := range [...]struct {
		values map[string]string
		source ValueSource
	}{{l.Broker, SourceBroker}, {l.Default, SourceBrokerDefault}, {l.Static, SourceStatic}} {
		for _, n := range names {
			if v, ok := layer.values[n.Name]; ok {
				values = append(values, Value{n.Name, &v, layer.source})
			}
		}
	}
	if len(names) > 0 {
		if v := defaultOf(names[0].Name, l); v != nil {
			values = append(values, Value{names[0].Name, v, SourceDefault})
		}
	}
	return values
}

func defaultOf(broker string, l Layers) *string {
	if v, ok := l.Auto[broker]; ok {
		return &v
	}
	if s := BrokerSetting(broker); s != nil {
		return s.Default
	}
	return nil
}

// first is the value that holds, without listing the others; nil for none.
func first(names []Synonym, l *Layers) (*string, Synonym, ValueSource) {
	for _, layer := range [...]struct {
		values map[string]string
		source ValueSource
	}{{l.Broker, SourceBroker}, {l.Default, SourceBrokerDefault}, {l.Static, SourceStatic}} {
		if len(layer.values) == 0 {
			continue
		}
		for _, n := range names {
			if v, ok := layer.values[n.Name]; ok {
				return &v, n, layer.source
			}
		}
	}
	if len(names) == 0 {
		return nil, Synonym{}, SourceDefault
	}
	if v, ok := l.Auto[names[0].Name]; ok {
		return &v, names[0], SourceDefault
	}
	return nil, Synonym{}, SourceDefault
}

// Topic is the value that holds for a topic, in the topic setting's unit, and its source. The string is never nil.
func Topic(s *Setting, l Layers) (*string, ValueSource) {
	if v, ok := l.Topic[s.Name]; ok {
		return &v, SourceTopic
	}
	v, from, source := first(s.Synonyms, &l)
	switch {
	case v == nil:
		return s.Default, SourceDefault // every topic setting has one
	case from.Scale == 1:
		return v, source
	}
	n, err := strconv.ParseInt(*v, 10, 64)
	if err != nil { // values in the layers are normalized
		return s.Default, SourceDefault
	}
	if n > 0 {
		n *= from.Scale // an INT times at most 3,600,000
	}
	scaled := strconv.FormatInt(n, 10)
	return &scaled, source
}

// Broker is the value that holds for a broker's setting itself, nil for null, and its source.
func Broker(s *Setting, l Layers) (*string, ValueSource) {
	if v, _, source := first([]Synonym{{s.Name, 1}}, &l); v != nil {
		return v, source
	}
	return s.Default, SourceDefault
}

// TopicString is the value that holds for a topic; "" for a name that is no topic setting.
func TopicString(name string, l Layers) string {
	s := TopicSetting(name)
	if s == nil {
		return ""
	}
	v, _ := Topic(s, l)
	return *v
}

// TopicInt is the number that holds for a topic; 0 for a name that is no number.
func TopicInt(name string, l Layers) int64 {
	n, _ := strconv.ParseInt(TopicString(name, l), 10, 64)
	return n
}

// TopicBool is the boolean that holds for a topic.
func TopicBool(name string, l Layers) bool { return TopicString(name, l) == "true" }

// TopicList is the list that holds for a topic.
func TopicList(name string, l Layers) []string { return SplitList(TopicString(name, l)) }

// Compacts reports whether the topic's cleanup policy includes compaction.
func Compacts(l Layers) bool { return slices.Contains(TopicList(CleanupPolicy, l), "compact") }

// BrokerString is the value of a broker's setting; "" for null.
func BrokerString(name string, l Layers) string {
	s := BrokerSetting(name)
	if s == nil {
		return ""
	}
	if v, _ := Broker(s, l); v != nil {
		return *v
	}
	return ""
}

// BrokerInt is the number of a broker's setting; 0 for null.
func BrokerInt(name string, l Layers) int64 {
	n, _ := strconv.ParseInt(BrokerString(name, l), 10, 64)
	return n
}

// BrokerBool is the boolean of a broker's setting.
func BrokerBool(name string, l Layers) bool { return BrokerString(name, l) == "true" }
