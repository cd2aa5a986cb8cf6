package controller

import (
	"context"
	"math"
	"slices"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
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

// RegisterBroker makes an incarnation of a broker known and returns its broker epoch; DecideRegistration says what follows. Registering the
// same incarnation again changes nothing. A broker that is in service under another disk is ErrDuplicateBroker.
//
// min.insync.replicas of the cluster becomes a setting of all brokers, as in Kafka: what is safe must not depend on which broker leads. It
// is the one that the first broker's controller was started with, or else two as soon as the cluster is one of three.
func (c *Controller) RegisterBroker(ctx context.Context, r Registration) (epoch int64, err error) {
	err = c.proposeParts(ctx, "register broker", func(im *metadata.Image) ([]metadata.Event, error) {
		epoch = im.Offset() + 1
		if old := im.Broker(r.BrokerID); old != nil {
			epoch = max(epoch, old.Epoch+1)
			if old.Incarnation == r.Incarnation {
				epoch = old.Epoch
			}
		}
		evs, err := DecideRegistration(im, &r, epoch)
		if err != nil {
			return nil, err
		}
		return append(evs, c.firstMinISR(im, r.BrokerID)...), nil
	})
	return epoch, err
}

// firstMinISR sets min.insync.replicas for the cluster when a broker comes and nobody has set it.
func (c *Controller) firstMinISR(im *metadata.Image, coming int32) []metadata.Event {
	if _, set := im.Config(metadata.ResourceBroker, "")[config.MinInsyncReplicas]; set {
		return nil
	}
	brokers := max(im.BrokerCount(), len(im.Cluster().Founders))
	if im.Broker(coming) == nil {
		brokers = max(brokers, im.BrokerCount()+1)
	}
	v, given := c.static[config.MinInsyncReplicas]
	switch {
	case given && im.BrokerCount() == 0:
	case brokers >= 3:
		v = "2"
	default:
		return nil
	}
	ev := &metadata.ConfigChanged{Resource: metadata.ResourceBroker, Set: map[string]string{config.MinInsyncReplicas: v}}
	if checkMinISR(im, ev) != nil {
		return nil // with the next registration, when every partition has a member of its ISR again
	}
	return []metadata.Event{ev}
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

// UnfenceBroker puts a broker into service; see DecideUnfence.
func (c *Controller) UnfenceBroker(ctx context.Context, id int32, epoch int64) error {
	return c.proposeParts(ctx, "unfence broker", func(im *metadata.Image) ([]metadata.Event, error) { return DecideUnfence(im, id, epoch) })
}

// FenceBroker takes a broker out of service: what it led is led by another in-sync replica from the same commit on, or by nobody; see
// DecideFence.
func (c *Controller) FenceBroker(ctx context.Context, id int32, epoch int64) error {
	return c.proposeParts(ctx, "fence broker", func(im *metadata.Image) ([]metadata.Event, error) { return DecideFence(im, id, epoch) })
}

// ResignBroker moves leaderships away from a broker that is about to end; see DecideResign.
func (c *Controller) ResignBroker(ctx context.Context, id int32, epoch int64) error {
	return c.proposeParts(ctx, "resign broker", func(im *metadata.Image) ([]metadata.Event, error) { return DecideResign(im, id, epoch) })
}

// proposeParts commits what decide wants, in as few proposals as the log takes: nearly always one. decide is asked again after each, with
// what was committed done, and must then want the rest.
func (c *Controller) proposeParts(ctx context.Context, what string, decide func(im *metadata.Image) ([]metadata.Event, error)) error {
	for {
		more := false
		err := c.propose(ctx, what, func(d *draft) error {
			evs, err := decide(d.image())
			if err != nil {
				return err
			}
			n := fitting(evs)
			more = n < len(evs)
			return d.add(evs[:n]...)
		})
		if err != nil || !more {
			return err
		}
	}
}

// fitting is how many of the events, from the first on, one proposal holds; some room is left for headers.
func fitting(evs []metadata.Event) int {
	const perEntry = 64
	var scratch []byte
	size := 0
	for i, ev := range evs {
		scratch = metadata.AppendEvent(scratch[:0], ev)
		if size += len(scratch) + perEntry; size > metalog.MaxGroupBytes-metalog.MaxGroupBytes/8 && i > 0 {
			return i
		}
	}
	return len(evs)
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
