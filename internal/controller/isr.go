package controller

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
)

// IsrChange is the ISR that the leader of a partition proposes. It is a compare-and-set on the leader epoch, the partition epoch and the
// incarnations of the members, all of them as they were when the leader measured; a retry repeats them verbatim.
type IsrChange struct {
	TopicID                                uuid.UUID
	Partition, LeaderEpoch, PartitionEpoch int32
	ISR                                    []int32
	// BrokerEpochs are those of ISR's members, in its order.
	BrokerEpochs []int64
	// Lost are brokers that lack acknowledged records: they do not become, or stay, eligible leader replicas.
	Lost []int32 `json:",omitempty"`
	// Resign: the leader's own log is damaged. It leaves the ISR, and a member that is in service leads, in one event.
	Resign bool `json:",omitempty"`
}

// MinISR is how many in-sync replicas a partition of the topic needs before a record counts as acknowledged: min.insync.replicas of the
// topic or else of the cluster, but never more than the partition has replicas. It follows from the image alone, so that the controller
// and every leader have the same number.
func MinISR(im *metadata.Image, topic string, replicas int) int {
	v, ok := im.Config(metadata.ResourceTopic, topic)[config.MinInsyncReplicas]
	if !ok {
		v = im.Config(metadata.ResourceBroker, "")[config.MinInsyncReplicas]
	}
	n, err := strconv.Atoi(v) // "" where nobody has set one
	if err != nil || n < 1 {
		n = 1
	}
	return min(n, max(replicas, 1))
}

// DecideIsr decides on an ISR that broker from, in its incarnation fromEpoch, proposes as the leader; minISR is MinISR of the partition.
//
// Without an error the event makes the change. An error refuses it, and the refusal is definite as soon as everything the image shows is
// committed: no copy of this proposal, however late it arrives, will be accepted. Where that does not follow from the epochs, because a
// member is out of service and may come back in the same incarnation, an event comes with the error. It leaves the ISR as it is and
// raises the partition epoch, and must be committed for the refusal to hold.
//
// metalog.ErrNotController: the proposal knows more than the image, whose owner cannot be the controller. Nothing is decided.
func DecideIsr(im *metadata.Image, from int32, fromEpoch int64, c *IsrChange, minISR int) (metadata.Event, error) {
	t, p, err := proposedPartition(im, c)
	if err != nil {
		return nil, err
	}
	if err := checkProposer(im, from, fromEpoch, p, c); err != nil {
		return nil, err
	}
	if c.Resign {
		return decideResign(im, t, p, from, c, minISR)
	}
	out := int32(-1)
	for i, id := range c.ISR {
		b := im.Broker(id)
		switch {
		case b == nil || b.Epoch < c.BrokerEpochs[i]:
			return nil, fmt.Errorf("change ISR: broker %d is not known with epoch %d: %w", id, c.BrokerEpochs[i], metalog.ErrNotController)
		case b.Epoch > c.BrokerEpochs[i]:
			return nil, refuse(ErrIneligibleReplica, "Broker %d has epoch %d; it was measured with epoch %d.", id, b.Epoch, c.BrokerEpochs[i])
		case p.InISR(id): // a broker that comes back may be in the ISR before it is in service: it has left nothing out
		case b.Stopping:
			return nil, refuse(ErrIneligibleReplica, "Broker %d is stopping.", id)
		case b.Fenced:
			out = id
		}
	}
	ev := &metadata.UpdateIsr{Name: t.Name, TopicID: t.ID, Partition: c.Partition, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch + 1}
	if out >= 0 {
		ev.ISR, ev.ELR, ev.BrokerEpochs = p.ISR, p.ELR, brokerEpochs(im, p.ISR)
		return ev, refuse(ErrIneligibleReplica, "Broker %d is fenced.", out)
	}
	ev.ISR, ev.ELR, ev.BrokerEpochs = c.ISR, withoutAll(nextELR(p.ISR, p.ELR, c.ISR, minISR), c.Lost), c.BrokerEpochs
	return ev, nil
}

// decideResign makes another member of the ISR the leader. Who resigns has damaged data: it comes into neither ISR nor ELR. A refusal
// because nobody is in service is not definite: the proposal holds until somebody is, or the partition changes.
func decideResign(im *metadata.Image, t *metadata.Topic, p *metadata.Partition, from int32, c *IsrChange, minISR int) (metadata.Event, error) {
	leader := metadata.NoLeader
	for i, id := range c.ISR {
		b := im.Broker(id)
		switch {
		case !p.InISR(id):
			return nil, refuse(ErrInvalidRequest, "Broker %d is not in the ISR %v.", id, p.ISR)
		case b == nil || b.Epoch < c.BrokerEpochs[i]:
			return nil, fmt.Errorf("resign: broker %d is not known with epoch %d: %w", id, c.BrokerEpochs[i], metalog.ErrNotController)
		case b.Epoch > c.BrokerEpochs[i]:
			return nil, refuse(ErrIneligibleReplica, "Broker %d has epoch %d; it was measured with epoch %d.", id, b.Epoch, c.BrokerEpochs[i])
		}
	}
	for _, id := range p.Replicas {
		if slices.Contains(c.ISR, id) && inService(im, id) {
			leader = id
			break
		}
	}
	if leader == metadata.NoLeader {
		return nil, refuse(ErrEligibleLeadersNotUp, "None of %v can lead instead of broker %d.", c.ISR, from)
	}
	elr := withoutAll(nextELR(p.ISR, p.ELR, c.ISR, minISR), append([]int32{from}, c.Lost...))
	return &metadata.SetLeader{Name: t.Name, TopicID: t.ID, Partition: c.Partition, Leader: leader, ISR: c.ISR, ELR: elr,
		LeaderEpoch: p.LeaderEpoch + 1, PartitionEpoch: p.PartitionEpoch + 1}, nil
}

// withoutAll is ids without those in out; nil if nothing is left. ids is changed.
func withoutAll(ids, out []int32) []int32 {
	ids = slices.DeleteFunc(ids, func(id int32) bool { return slices.Contains(out, id) })
	if len(ids) == 0 {
		return nil
	}
	return ids
}

// proposedPartition finds the partition and holds what can be said of the proposal without the image.
func proposedPartition(im *metadata.Image, c *IsrChange) (*metadata.Topic, *metadata.Partition, error) {
	t, p := im.Partition(c.TopicID, c.Partition)
	switch {
	case t == nil && im.Tombstone(c.TopicID) != nil:
		return nil, nil, refuse(ErrUnknownTopicID, "Topic %s is deleted.", c.TopicID)
	case p == nil:
		return nil, nil, fmt.Errorf("change ISR: partition %s-%d is not known: %w", c.TopicID, c.Partition, metalog.ErrNotController)
	case len(c.BrokerEpochs) != len(c.ISR):
		return nil, nil, refuse(ErrInvalidRequest, "There are %d broker epochs for an ISR of %d.", len(c.BrokerEpochs), len(c.ISR))
	}
	return t, p, nil
}

// checkProposer compares the epochs, and refuses an ISR that this leader could never have.
func checkProposer(im *metadata.Image, from int32, fromEpoch int64, p *metadata.Partition, c *IsrChange) error {
	b := im.Broker(from)
	switch {
	case c.LeaderEpoch > p.LeaderEpoch || c.LeaderEpoch == p.LeaderEpoch && c.PartitionEpoch > p.PartitionEpoch || b == nil || b.Epoch < fromEpoch:
		return fmt.Errorf("change ISR: the proposal is ahead of the image: %w", metalog.ErrNotController)
	case b.Epoch > fromEpoch:
		return refuse(ErrStaleBrokerEpoch, "Broker %d has epoch %d, not %d.", from, b.Epoch, fromEpoch)
	case c.LeaderEpoch < p.LeaderEpoch:
		return refuse(ErrStaleLeaderEpoch, "The leader epoch is %d, not %d.", p.LeaderEpoch, c.LeaderEpoch)
	case from != p.Leader:
		return refuse(ErrStaleLeaderEpoch, "Broker %d does not lead in leader epoch %d.", from, p.LeaderEpoch)
	case c.PartitionEpoch < p.PartitionEpoch:
		return refuse(ErrStalePartitionEpoch, "The partition epoch is %d, not %d.", p.PartitionEpoch, c.PartitionEpoch)
	case slices.Contains(c.ISR, from) == c.Resign:
		return refuse(ErrInvalidRequest, "The ISR %v of leader %d; it resigns: %t.", c.ISR, from, c.Resign)
	}
	for _, id := range c.Lost {
		if slices.Contains(c.ISR, id) {
			return refuse(ErrInvalidRequest, "Broker %d lacks records and stands in the ISR %v.", id, c.ISR)
		}
	}
	for i, id := range c.ISR {
		if !p.HasReplica(id) || slices.Contains(c.ISR[:i], id) {
			return refuse(ErrInvalidRequest, "Broker %d is no replica, or stands twice in the ISR %v.", id, c.ISR)
		}
	}
	return nil
}

// nextELR are the eligible leader replicas after the ISR became isr. While it is smaller than minISR nothing is acknowledged, so who
// leaves it still has every acknowledged record; from minISR on records are acknowledged without them.
func nextELR(oldISR, oldELR, isr []int32, minISR int) []int32 {
	if len(isr) >= minISR {
		return nil
	}
	elr := slices.DeleteFunc(slices.Clone(oldELR), func(id int32) bool { return slices.Contains(isr, id) })
	for _, id := range oldISR {
		if !slices.Contains(isr, id) && !slices.Contains(elr, id) {
			elr = append(elr, id)
		}
	}
	return elr
}

// brokerEpochs are the incarnations of the brokers as the image has them.
func brokerEpochs(im *metadata.Image, ids []int32) []int64 {
	epochs := make([]int64, len(ids))
	for i, id := range ids {
		if b := im.Broker(id); b != nil {
			epochs[i] = b.Epoch
		}
	}
	return epochs
}

// ChangeIsr does what leaders propose, those of broker from in its incarnation fromEpoch, as one proposal. The results are in the order of
// changes: nil is done, a *Refusal is a definite no: it is returned only after everything it rests on is committed. With an error as the
// second result nothing is known of any change, unless it is metalog.ErrNotController: then none of them was done by this call.
func (c *Controller) ChangeIsr(ctx context.Context, from int32, fromEpoch int64, changes []IsrChange) ([]error, error) {
	var results []error
	err := c.propose(ctx, "change ISR", func(d *draft) error {
		results = make([]error, len(changes))
		for i := range changes {
			ch := &changes[i]
			minISR := 1
			if t, p := d.image().Partition(ch.TopicID, ch.Partition); p != nil {
				minISR = MinISR(d.image(), t.Name, len(p.Replicas))
			}
			ev, err := DecideIsr(d.image(), from, fromEpoch, ch, minISR)
			if err != nil && !isRefusal(err) {
				return err
			}
			results[i] = err
			if ev != nil {
				if err := d.add(ev); err != nil {
					return err
				}
			}
		}
		return nil // without an event too the log waits until what the image shows is committed
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}
