package metaclient

import (
	"fmt"
	"slices"
	"strings"
)

// This file says why nothing is to spare where nothing is missing: it is the topics' own settings.

// asked is min.insync.replicas of a topic as it is set, which may be above the replicas, and how many replicas its partitions have.
type asked struct {
	topic         string
	min, replicas int
}

// strict are the topics with partitions of several replicas all of which acks=all waits for: with one away it is refused.
func (f *facts) strict() (topics []asked) {
	for i := range f.partitions {
		p := &f.partitions[i]
		n, known := f.minISR[p.topic]
		if known && len(p.replicas) > 1 && n >= len(p.replicas) && (len(topics) == 0 || topics[len(topics)-1].topic != p.topic) {
			topics = append(topics, asked{p.topic, n, len(p.replicas)})
		}
	}
	return topics
}

// single are the topics with a partition of one replica in a cluster of several nodes.
func (f *facts) single() (topics []string) {
	for i := range f.partitions {
		if p := &f.partitions[i]; len(p.replicas) == 1 && len(f.nodes) > 1 && (len(topics) == 0 || topics[len(topics)-1] != p.topic) {
			topics = append(topics, p.topic)
		}
	}
	return topics
}

// noteSpare tells of topics whose settings leave nothing to spare, where that is all that is to be told of them.
func (s *Status) noteSpare(f *facts) {
	if strict := f.strict(); len(strict) > 0 {
		names := make([]string, len(strict))
		for i, a := range strict {
			names[i] = fmt.Sprintf("%s (%d of %s)", a.topic, a.min, plural(a.replicas, "replica"))
		}
		s.add(Healthy, "min.insync.replicas leaves no replica to spare, acks=all is refused while one is away: "+some(names), lowerMinISR(strict[0]))
	}
	if single := f.single(); len(single) > 0 {
		s.add(Healthy, plural(len(single), "topic")+" with partitions of 1 replica, which are offline while its node is away: "+some(single),
			"make it anew with more: chronikctl topic create TOPIC -r 3")
	}
}

// lowerMinISR is how to get a replica to spare.
func lowerMinISR(a asked) string {
	return fmt.Sprintf("set it lower, with any admin client: kafka-configs.sh --alter --entity-type topics --entity-name %s --add-config min.insync.replicas=%d", a.topic, a.replicas-1)
}

// nextUnderMin is what to do about partitions with fewer live replicas than min.insync.replicas: bring back the nodes that are away, or, where
// it is the setting that asks for all, lower it.
func (f *facts) nextUnderMin(partitions []PartitionStatus) string {
	next := "chronikctl partition status --under-min-isr"
	var down []int32
	under := map[string]bool{}
	for i := range partitions {
		if p := &partitions[i]; p.UnderMinISR && !p.Offline {
			under[p.Topic] = true
			for _, id := range p.Replicas {
				if f.node(id).State != NodeUp && !slices.Contains(down, id) {
					down = append(down, id)
				}
			}
		}
	}
	slices.Sort(down)
	if len(down) > 0 {
		next = f.remedy(down[0])
	}
	for _, a := range f.strict() {
		if under[a.topic] {
			return next + fmt.Sprintf("\nmin.insync.replicas of %s asks for %d of %s; %s", a.topic, a.min, plural(a.replicas, "replica"), lowerMinISR(a))
		}
	}
	return next
}

// some names the first few, and how many more there are.
func some(names []string) string {
	const shown = 3
	list := strings.Join(names[:min(len(names), shown)], ", ")
	if more := len(names) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
