package controller

import (
	"slices"

	"github.com/chronik-io/chronik/internal/metadata"
)

// inService reports whether a broker may be made a leader.
func inService(im *metadata.Image, id int32) bool {
	b := im.Broker(id)
	return b != nil && !b.Fenced && !b.Stopping
}

// transition is one partition on its way through a decision of the controller.
type transition struct {
	im     *metadata.Image // brokers as they are after what the decision is about
	topic  *metadata.Topic
	n      int32
	old    *metadata.Partition
	min    int
	leader int32
	isr    []int32
	elr    []int32
}

// transitions are the partitions of an image that match, each ready to be changed.
func transitions(im *metadata.Image, match func(p *metadata.Partition) bool) []*transition {
	var found []*transition
	for t := range im.Topics() {
		for n, p := range t.Partitions {
			if match(p) {
				found = append(found, &transition{im: im, topic: t, n: int32(n), old: p, min: MinISR(im, t.Name, len(p.Replicas)), leader: p.Leader,
					isr: p.ISR, elr: p.ELR})
			}
		}
	}
	return found
}

func without(ids []int32, id int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(x int32) bool { return x == id })
}

// drop takes a broker that has gone out of the ISR. It stays eligible while too few are left to acknowledge anything. With a minimum of
// one the last member stays: it may have acknowledged records alone.
func (x *transition) drop(id int32) {
	if slices.Contains(x.isr, id) {
		isr := without(x.isr, id)
		if len(isr) == 0 && x.min == 1 {
			isr = []int32{id}
		}
		x.elr = nextELR(x.isr, x.elr, isr, x.min)
		x.isr = isr
	}
	if len(x.isr) >= x.min {
		x.elr = nil
	}
}

// lose takes a broker whose data is gone out of ISR and ELR.
func (x *transition) lose(id int32) {
	isr := without(x.isr, id)
	x.elr = without(nextELR(x.isr, x.elr, isr, x.min), id)
	x.isr = isr
}

// elect finds a leader if there is none that can lead; gone cannot. The order is that of the replicas. Eligible leader replicas lead only
// when the ISR is empty: while it is not, its members may have more.
func (x *transition) elect(gone int32) {
	may := func(id int32) bool { return id != gone && inService(x.im, id) }
	keeps := x.leader != metadata.NoLeader && x.leader != gone && slices.Contains(x.isr, x.leader)
	if keeps && !x.im.Broker(x.leader).Fenced {
		return
	}
	from := x.isr
	if len(x.isr) == 0 {
		from = x.elr
	}
	for _, id := range x.old.Replicas {
		if !may(id) || !slices.Contains(from, id) {
			continue
		}
		x.leader = id
		if len(x.isr) == 0 {
			x.isr, x.elr = []int32{id}, without(x.elr, id)
			if len(x.isr) >= x.min {
				x.elr = nil
			}
		}
		return
	}
	if !keeps { // one that has registered and is not in service yet goes on to wait for itself
		x.leader = metadata.NoLeader
	}
}

// event is the change in one event, nil for none.
func (x *transition) event() metadata.Event {
	if x.leader != x.old.Leader {
		return &metadata.SetLeader{Name: x.topic.Name, TopicID: x.topic.ID, Partition: x.n, Leader: x.leader, ISR: x.isr, ELR: x.elr,
			LeaderEpoch: x.old.LeaderEpoch + 1, PartitionEpoch: x.old.PartitionEpoch + 1}
	}
	if !slices.Equal(x.isr, x.old.ISR) || !slices.Equal(x.elr, x.old.ELR) {
		return &metadata.UpdateIsr{Name: x.topic.Name, TopicID: x.topic.ID, Partition: x.n, ISR: x.isr, ELR: x.elr, BrokerEpochs: brokerEpochs(x.im, x.isr),
			LeaderEpoch: x.old.LeaderEpoch, PartitionEpoch: x.old.PartitionEpoch + 1}
	}
	return nil
}

// events are those of many partitions, new leaders first: they are what clients wait for.
func events(xs []*transition) []metadata.Event {
	var leaders, rest []metadata.Event
	for _, x := range xs {
		switch ev := x.event().(type) {
		case *metadata.SetLeader:
			leaders = append(leaders, ev)
		case *metadata.UpdateIsr:
			rest = append(rest, ev)
		}
	}
	return append(leaders, rest...)
}

// DecideFence takes a broker out of service, out of the ISR of all partitions and out of their leadership. A broker that is fenced already
// may still be in an ISR, as one that comes back is until it is in service: then it leaves that.
func DecideFence(im *metadata.Image, id int32, epoch int64) ([]metadata.Event, error) {
	b, err := incarnation(im, id, epoch)
	if err != nil {
		return nil, err
	}
	var out []metadata.Event
	if !b.Fenced {
		out = append(out, &metadata.BrokerFenced{BrokerID: id, BrokerEpoch: epoch})
	}
	xs := transitions(im, func(p *metadata.Partition) bool { return p.Leader == id || p.InISR(id) })
	for _, x := range xs {
		x.drop(id)
		x.elect(id)
	}
	return append(out, events(xs)...), nil
}

// DecideUnfence puts a broker into service; it leads again what waits for it.
func DecideUnfence(im *metadata.Image, id int32, epoch int64) ([]metadata.Event, error) {
	b, err := incarnation(im, id, epoch)
	if err != nil {
		return nil, err
	}
	var out []metadata.Event
	if b.Fenced {
		out = append(out, &metadata.BrokerUnfenced{BrokerID: id, BrokerEpoch: epoch})
	}
	after, err := following(im, out)
	if err != nil {
		return nil, err
	}
	return append(out, comes(after, id)...), nil
}

// comes are the elections of partitions without a leader that can lead and which this broker, now in service, may lead.
func comes(im *metadata.Image, id int32) []metadata.Event {
	xs := transitions(im, func(p *metadata.Partition) bool {
		return p.InISR(id) || len(p.ISR) == 0 && p.InELR(id)
	})
	for _, x := range xs {
		x.elect(metadata.NoLeader)
	}
	return events(xs)
}

// DecideRegistration makes an incarnation of a broker known under this epoch, which is above the one before.
//
// With the disk it had before, the broker stays in the ISRs and ELRs it is in: it has what it acknowledged, or says so before it takes
// part. What it led gets a new leader epoch, and another leader if the broker is registered without service and another member of the ISR
// can lead. With another disk it leaves all ISRs and ELRs first; only a fenced broker can have changed its disk.
func DecideRegistration(im *metadata.Image, r *Registration, epoch int64) ([]metadata.Event, error) {
	old := im.Broker(r.BrokerID)
	if old != nil && old.Incarnation == r.Incarnation {
		return registered(im, r), nil
	}
	var out []metadata.Event
	if old != nil && old.DiskID != r.DiskID {
		if !old.Fenced {
			return nil, refuse(ErrDuplicateBroker, "Another broker is registered with that broker id, with disk %s.", old.DiskID)
		}
		xs := transitions(im, func(p *metadata.Partition) bool { return p.InISR(r.BrokerID) || p.InELR(r.BrokerID) })
		for _, x := range xs {
			x.lose(r.BrokerID)
			x.elect(r.BrokerID)
		}
		out = events(xs)
	}
	out = append(out, &metadata.BrokerRegistered{BrokerID: r.BrokerID, BrokerEpoch: epoch, Incarnation: r.Incarnation, DiskID: r.DiskID,
		Endpoints: r.Endpoints, Rack: r.Rack, Fenced: r.Fenced})
	after, err := following(im, out)
	if err != nil {
		return nil, err
	}
	return append(out, registered(after, r)...), nil
}

// registered are the elections that follow from a registration which the image shows.
func registered(im *metadata.Image, r *Registration) []metadata.Event {
	if b := im.Broker(r.BrokerID); !b.Fenced {
		return comes(im, r.BrokerID)
	}
	xs := transitions(im, func(p *metadata.Partition) bool { return p.Leader == r.BrokerID })
	for _, x := range xs {
		x.elect(metadata.NoLeader)
	}
	return events(xs)
}

// DecideResign prepares the end of a broker's process: others lead what they can, and where enough remain the broker leaves the ISR, so
// that nothing waits for it when it is gone. What nobody else may lead stays with it.
func DecideResign(im *metadata.Image, id int32, epoch int64) ([]metadata.Event, error) {
	b, err := incarnation(im, id, epoch)
	if err != nil {
		return nil, err
	}
	var out []metadata.Event
	if !b.Stopping {
		out = append(out, &metadata.BrokerStopping{BrokerID: id, BrokerEpoch: epoch})
	}
	xs := transitions(im, func(p *metadata.Partition) bool { return p.InISR(id) })
	for _, x := range xs {
		if x.leader == id {
			i := slices.IndexFunc(x.old.Replicas, func(o int32) bool { return o != id && x.old.InISR(o) && inService(im, o) })
			if i < 0 {
				continue
			}
			x.leader = x.old.Replicas[i]
		}
		if x.leader != metadata.NoLeader && len(x.isr) > x.min {
			x.drop(id)
		}
	}
	return append(out, events(xs)...), nil
}

// DecideRebalance gives partitions back to their preferred leader, at most so many: the first replica, if it is in service and in sync and
// the caller calls it settled. Partitions that are being reassigned are left alone.
func DecideRebalance(im *metadata.Image, settled func(broker int32) bool, most int) []metadata.Event {
	xs := transitions(im, func(p *metadata.Partition) bool {
		first := p.Replicas[0]
		return p.Leader != first && p.Leader != metadata.NoLeader && p.InISR(first) && len(p.Adding)+len(p.Removing) == 0 &&
			inService(im, first) && settled(first)
	})
	xs = xs[:min(len(xs), most)]
	for _, x := range xs {
		x.leader = x.old.Replicas[0]
	}
	return events(xs)
}

// following is the image after the events.
func following(im *metadata.Image, evs []metadata.Event) (*metadata.Image, error) {
	if len(evs) == 0 {
		return im, nil
	}
	b := metadata.NewBatch(im)
	for i, ev := range evs {
		if err := b.Apply(im.Offset()+1+int64(i), ev); err != nil {
			return nil, err
		}
	}
	next, _ := b.Done()
	return next, nil
}
