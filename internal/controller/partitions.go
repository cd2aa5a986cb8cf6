package controller

import (
	"context"
	"slices"

	"github.com/chronik-io/chronik/internal/metadata"
)

// NewPartitions asks for more partitions of a topic: Count is how many it shall have. Assignments are the replicas of the new ones; nil
// lets the cluster choose.
type NewPartitions struct {
	Topic       string
	Count       int32
	Assignments [][]int32
}

// ItemResult is what became of one item of a request; its name is the item's.
type ItemResult struct {
	Name string
	Err  error
}

// CreatePartitions adds partitions to topics, as one proposal. The results are one for each different topic, in the request's order.
func (c *Controller) CreatePartitions(ctx context.Context, topics []NewPartitions, validateOnly bool) ([]ItemResult, error) {
	var results []ItemResult
	err := c.propose(ctx, "create partitions", func(d *draft) error {
		results = make([]ItemResult, 0, len(topics))
		times := make(map[string]int, len(topics))
		for i := range topics {
			times[topics[i].Topic]++
		}
		for i := range topics {
			t := &topics[i]
			if times[t.Topic] == 0 {
				continue
			}
			r := ItemResult{Name: t.Topic}
			if times[t.Topic] > 1 {
				r.Err = refuse(ErrInvalidRequest, "Duplicate topic in request.")
			} else {
				r.Err = c.addPartitions(d, t)
			}
			times[t.Topic] = 0
			results = append(results, r)
		}
		if validateOnly {
			d.events = nil
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (c *Controller) addPartitions(d *draft, n *NewPartitions) error {
	t := d.image().Topic(n.Topic)
	if t != nil && t.Internal || n.Topic == metadata.MetadataTopic {
		return refuse(ErrInvalidRequest, "The partitions of internal topic %s are fixed.", n.Topic)
	}
	if t == nil {
		return ErrUnknownTopic
	}
	have := len(t.Partitions)
	switch {
	case int(n.Count) == have:
		return refuse(ErrInvalidPartitions, "Topic already has %d partition(s).", have)
	case int(n.Count) < have:
		return refuse(ErrInvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Name, have, n.Count)
	}
	more := int(n.Count) - have
	if total := d.image().PartitionCount() + more; int(n.Count) > c.limits.PartitionsPerTopic || total > c.limits.Partitions {
		return c.refuseTooMany(int(n.Count), total)
	}
	replicas := len(t.Partitions[0].Replicas)
	var parts []metadata.PartitionState
	var err error
	if n.Assignments == nil {
		parts, err = place(d.image(), more, replicas)
	} else {
		parts, err = assignedPartitions(d.image(), n.Assignments, int32(have), more, replicas)
	}
	if err != nil {
		return err
	}
	return d.add(&metadata.PartitionsAdded{Name: t.Name, TopicID: t.ID, First: int32(have), Partitions: parts})
}

func assignedPartitions(im *metadata.Image, lists [][]int32, first int32, more, replicas int) ([]metadata.PartitionState, error) {
	if len(lists) != more {
		return nil, refuse(ErrInvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", more, len(lists))
	}
	parts := make([]metadata.PartitionState, len(lists))
	for i, l := range lists {
		p, err := manualPartition(im, first+int32(i), l, replicas)
		if err != nil {
			return nil, err
		}
		parts[i] = p
	}
	return parts, nil
}

// manualPartition checks the replicas that a user gave to one partition. want is the number of replicas the topic's partitions have.
func manualPartition(im *metadata.Image, n int32, replicas []int32, want int) (metadata.PartitionState, error) {
	if len(replicas) == 0 {
		return metadata.PartitionState{}, refuse(ErrInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	for i, id := range replicas {
		if id < 0 || im.Broker(id) == nil {
			return metadata.PartitionState{}, refuse(ErrInvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if slices.Contains(replicas[:i], id) {
			return metadata.PartitionState{}, refuse(ErrInvalidReplicaAssignment,
				"The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if len(replicas) != want {
		return metadata.PartitionState{}, refuse(ErrInvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), "+
			"but this is not consistent with previous partitions, which have %d replica(s).", len(replicas), want)
	}
	p := newPartition(im, slices.Clone(replicas))
	if p.Leader == metadata.NoLeader {
		return metadata.PartitionState{}, refuse(ErrInvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", n)
	}
	return p, nil
}
