package controller

import (
	"context"
	"math"
	"slices"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

// Registration is what a broker says of itself when it starts.
type Registration struct {
	BrokerID    int32
	Incarnation uuid.UUID
	DiskID      uuid.UUID
	Endpoints   []metadata.Endpoint
	Rack        string
	// Fenced registers the broker without service yet, for one that has to catch up.
	Fenced bool
}

// RegisterBroker makes an incarnation of a broker known and returns its broker epoch. Its leaderships get new leader epochs. Registering
// the same incarnation again changes nothing. A broker that is in service under another disk is ErrDuplicateBroker.
//
// With the first broker of a cluster, min.insync.replicas of its start becomes the default of all brokers, as in Kafka: what is safe
// must not depend on which broker leads.
func (c *Controller) RegisterBroker(ctx context.Context, r Registration) (epoch int64, err error) {
	err = c.propose(ctx, "register broker", func(d *draft) error {
		if old := d.image().Broker(r.BrokerID); old != nil {
			if old.Incarnation == r.Incarnation {
				epoch = old.Epoch
				return nil
			}
			if old.DiskID != r.DiskID && !old.Fenced {
				return refuse(ErrDuplicateBroker, "Another broker is registered with that broker id, with disk %s.", old.DiskID)
			}
		}
		first := d.image().BrokerCount() == 0
		epoch = d.image().Offset() + 1
		if old := d.image().Broker(r.BrokerID); old != nil {
			epoch = max(epoch, old.Epoch+1)
		}
		events := []metadata.Event{&metadata.BrokerRegistered{BrokerID: r.BrokerID, BrokerEpoch: epoch, Incarnation: r.Incarnation,
			DiskID: r.DiskID, Endpoints: r.Endpoints, Rack: r.Rack, Fenced: r.Fenced}}
		if v, ok := c.static[config.MinInsyncReplicas]; ok && first && len(d.image().Config(metadata.ResourceBroker, "")) == 0 {
			events = append(events, &metadata.ConfigChanged{Resource: metadata.ResourceBroker,
				Set: map[string]string{config.MinInsyncReplicas: v}})
		}
		if err := d.add(events...); err != nil {
			return err
		}
		if r.Fenced { // what it led is led by others from now on, where there are others that may
			moved := slices.DeleteFunc(elections(d.image(), r.BrokerID, true), func(ev metadata.Event) bool {
				return ev.(*metadata.SetLeader).Leader == metadata.NoLeader
			})
			return d.add(moved...)
		}
		return d.add(elections(d.image(), r.BrokerID, false)...) // what waited for this broker is led by it again
	})
	return epoch, err
}

// UnregisterBroker forgets a broker that holds no replica.
func (c *Controller) UnregisterBroker(ctx context.Context, id int32) error {
	return c.propose(ctx, "unregister broker", func(d *draft) error {
		b := d.image().Broker(id)
		if b == nil {
			return refuse(ErrUnknownBroker, "Broker ID %d is not currently registered", id)
		}
		for t := range d.image().Topics() {
			if slices.ContainsFunc(t.Partitions, func(p *metadata.Partition) bool { return p.HasReplica(id) }) {
				return refuse(ErrBrokerHoldsReplicas, "Broker %d holds replicas of topic %s; move them first.", id, t.Name)
			}
		}
		return d.add(&metadata.BrokerUnregistered{BrokerID: id, BrokerEpoch: b.Epoch})
	})
}

// UnfenceBroker puts a broker into service; one that is in service stays so.
func (c *Controller) UnfenceBroker(ctx context.Context, id int32, epoch int64) error {
	return c.propose(ctx, "unfence broker", func(d *draft) error {
		b, err := incarnation(d.image(), id, epoch)
		if err != nil || !b.Fenced {
			return err
		}
		events := []metadata.Event{&metadata.BrokerUnfenced{BrokerID: id, BrokerEpoch: epoch}}
		return d.add(append(events, elections(d.image(), id, false)...)...)
	})
}

// FenceBroker takes a broker out of service: what it led is led by another in-sync replica from the same commit on, or by nobody.
func (c *Controller) FenceBroker(ctx context.Context, id int32, epoch int64) error {
	return c.propose(ctx, "fence broker", func(d *draft) error {
		b, err := incarnation(d.image(), id, epoch)
		if err != nil || b.Fenced {
			return err
		}
		events := []metadata.Event{&metadata.BrokerFenced{BrokerID: id, BrokerEpoch: epoch}}
		return d.add(append(events, elections(d.image(), id, true)...)...)
	})
}

func incarnation(im *metadata.Image, id int32, epoch int64) (*metadata.Broker, error) {
	b := im.Broker(id)
	if b == nil {
		return nil, refuse(ErrUnknownBroker, "Broker ID %d is not currently registered", id)
	}
	if b.Epoch != epoch {
		return nil, refuse(ErrStaleBrokerEpoch, "Broker %d has epoch %d, not %d.", id, b.Epoch, epoch)
	}
	return b, nil
}

// elections are the changes of leaders that follow from a broker's going (all that it leads) or coming (what nobody leads and it may).
func elections(im *metadata.Image, id int32, goes bool) []metadata.Event {
	live := func(r int32) bool {
		b := im.Broker(r)
		return b != nil && !b.Fenced && (!goes || r != id) || r == id && !goes
	}
	var events []metadata.Event
	for t := range im.Topics() {
		for n, p := range t.Partitions {
			if goes && p.Leader != id || !goes && (p.Leader != metadata.NoLeader || !p.HasReplica(id)) {
				continue
			}
			ev := &metadata.SetLeader{Name: t.Name, TopicID: t.ID, Partition: int32(n), Leader: metadata.NoLeader, ISR: p.ISR, ELR: p.ELR,
				LeaderEpoch: p.LeaderEpoch + 1, PartitionEpoch: p.PartitionEpoch + 1}
			for _, r := range p.Replicas { // in the order of preference
				if live(r) && p.InISR(r) {
					ev.Leader = r
					break
				}
			}
			if goes && ev.Leader != metadata.NoLeader { // the last member stays in the ISR: it has every acknowledged record
				ev.ISR = slices.DeleteFunc(slices.Clone(p.ISR), func(r int32) bool { return r == id })
			}
			if goes || ev.Leader != metadata.NoLeader {
				events = append(events, ev)
			}
		}
	}
	return events
}

// AllocateProducerIDs gives a block of producer ids [first, next) to an incarnation of a broker. No id is ever given out twice.
func (c *Controller) AllocateProducerIDs(ctx context.Context, broker int32, epoch int64, count int) (first, next int64, err error) {
	err = c.propose(ctx, "allocate producer ids", func(d *draft) error {
		if _, err := incarnation(d.image(), broker, epoch); err != nil {
			return err
		}
		first = d.image().NextProducerID()
		if count < 1 || first > math.MaxInt64-int64(count) {
			return refuse(ErrProducerIDsExhausted, "No %d producer ids are left after %d.", count, first)
		}
		next = first + int64(count)
		return d.add(&metadata.ProducerIDsAllocated{BrokerID: broker, BrokerEpoch: epoch, First: first, Next: next})
	})
	return first, next, err
}
