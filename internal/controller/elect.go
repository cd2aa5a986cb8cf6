package controller

import (
	"context"
	"slices"

	"github.com/chronik-io/chronik/internal/metadata"
)

// Election is the kind of a leader election.
type Election int8

// The kinds, with Kafka's numbers. A preferred election makes the first replica the leader if it is in sync; an unclean one makes some
// live replica the leader where there is none, at the price of the records it lacks.
const (
	ElectPreferred Election = 0
	ElectUnclean   Election = 1
)

// TopicPartition names one partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// ElectionResult is what became of one partition.
type ElectionResult struct {
	TopicPartition
	Err error
}

// ElectLeaders elects leaders, as one proposal. Nil partitions means all that need it; then partitions that need none are not in the
// results.
func (c *Controller) ElectLeaders(ctx context.Context, kind Election, partitions []TopicPartition) ([]ElectionResult, error) {
	var results []ElectionResult
	err := c.propose(ctx, "elect leaders", func(d *draft) error {
		results = results[:0]
		if partitions == nil {
			for t := range d.image().Topics() {
				for n := range t.Partitions {
					r := ElectionResult{TopicPartition: TopicPartition{t.Name, int32(n)}}
					if r.Err = c.elect(d, kind, r.TopicPartition); r.Err == nil || !isNotNeeded(r.Err) {
						results = append(results, r)
					}
				}
			}
			return nil
		}
		for _, p := range partitions {
			results = append(results, ElectionResult{p, c.elect(d, kind, p)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func isNotNeeded(err error) bool {
	r, ok := err.(*Refusal)
	return ok && r.Reason == ErrElectionNotNeeded
}

func (c *Controller) elect(d *draft, kind Election, tp TopicPartition) error {
	if kind != ElectPreferred && kind != ElectUnclean {
		return refuse(ErrInvalidRequest, "Unknown election type %d", kind)
	}
	t := d.image().Topic(tp.Topic)
	if t == nil {
		return refuse(ErrUnknownTopic, "No such topic as %s", tp.Topic)
	}
	p := t.Partition(tp.Partition)
	if p == nil {
		return refuse(ErrUnknownTopic, "No such partition as %s-%d", tp.Topic, tp.Partition)
	}
	leader, unclean, err := choose(d.image(), kind, p)
	if err != nil {
		return err
	}
	ev := &metadata.SetLeader{Name: t.Name, TopicID: t.ID, Partition: tp.Partition, Leader: leader, ISR: p.ISR, ELR: p.ELR,
		LeaderEpoch: p.LeaderEpoch + 1, PartitionEpoch: p.PartitionEpoch + 1, Unclean: unclean}
	switch {
	case unclean: // what the others have beyond the new leader is lost: they start again from it
		ev.ISR, ev.ELR = []int32{leader}, nil
	case !p.InISR(leader):
		ev.ISR = append(slices.Clone(p.ISR), leader)
		ev.ELR = slices.DeleteFunc(slices.Clone(p.ELR), func(id int32) bool { return id == leader })
	}
	return d.add(ev)
}

// choose finds the leader that an election would make, or says why it makes none.
func choose(im *metadata.Image, kind Election, p *metadata.Partition) (leader int32, unclean bool, err error) {
	live := func(id int32) bool { return inService(im, id) }
	if kind == ElectPreferred {
		preferred := p.Replicas[0]
		switch {
		case p.Leader == preferred:
			return 0, false, refuse(ErrElectionNotNeeded, "Leader election not needed for topic partition.")
		case !live(preferred) || !p.InISR(preferred):
			return 0, false, refuse(ErrPreferredLeaderNotUp, "The preferred leader was not available.")
		}
		return preferred, false, nil
	}
	if p.Leader != metadata.NoLeader {
		return 0, false, refuse(ErrElectionNotNeeded, "Leader election not needed for topic partition.")
	}
	from := p.ISR
	if len(from) == 0 {
		from = p.ELR
	}
	if i := slices.IndexFunc(from, live); i >= 0 {
		return from[i], false, nil
	}
	for _, from := range [...][]int32{p.ELR, p.Replicas} { // the ELR first: it has all that was acknowledged before the ISR's members went on
		if i := slices.IndexFunc(from, live); i >= 0 {
			return from[i], true, nil
		}
	}
	return 0, false, refuse(ErrEligibleLeadersNotUp, "Eligible topic partition leaders are not available.")
}
