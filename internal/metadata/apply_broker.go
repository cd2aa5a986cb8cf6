package metadata

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

func (e *BrokerRegistered) apply(b *Batch) error {
	if e.BrokerID < 0 || e.BrokerEpoch < 0 {
		return fmt.Errorf("broker id %d or epoch %d is negative", e.BrokerID, e.BrokerEpoch)
	}
	if e.DiskID.IsZero() || e.Incarnation.IsZero() {
		return errors.New("no disk id or no incarnation")
	}
	if !utf8.ValidString(e.Rack) {
		return errors.New("the rack is not UTF-8")
	}
	for i, ep := range e.Endpoints {
		if ep.Host == "" || !utf8.ValidString(ep.Host) || !utf8.ValidString(ep.Listener) || ep.Port < 1 || ep.Port > math.MaxUint16 {
			return fmt.Errorf("endpoint %+v is no address", ep)
		}
		if slices.ContainsFunc(e.Endpoints[:i], func(o Endpoint) bool { return o.Listener == ep.Listener }) {
			return fmt.Errorf("listener %q stands there twice", ep.Listener)
		}
	}
	if old := b.broker(e.BrokerID); old != nil && e.BrokerEpoch <= old.Epoch {
		return fmt.Errorf("broker epoch %d is not above %d", e.BrokerEpoch, old.Epoch)
	}
	if old := b.broker(e.BrokerID); old != nil && old.DiskID != e.DiskID {
		if err := b.checkLeft(e.BrokerID); err != nil {
			return err
		}
	}
	if err := b.renewLeaderships(e.BrokerID); err != nil {
		return err
	}
	b.setBroker(e.BrokerID, &Broker{ID: e.BrokerID, Epoch: e.BrokerEpoch, Incarnation: e.Incarnation, DiskID: e.DiskID,
		Endpoints: slices.Clone(e.Endpoints), Rack: e.Rack, Fenced: e.Fenced})
	return nil
}

// checkLeft refuses while the broker is in an ISR or ELR: what it had there is gone with its disk.
func (b *Batch) checkLeft(id int32) error {
	it := b.topics.root().Iterator()
	for _, t, ok := it.Next(); ok; _, t, ok = it.Next() {
		for n, p := range t.Partitions {
			if p.InISR(id) || p.InELR(id) {
				return fmt.Errorf("the disk is another one, and the broker is in the ISR or ELR of %s-%d", t.Name, n)
			}
		}
	}
	return nil
}

// renewLeaderships begins a new leader epoch of each partition that the broker leads.
func (b *Batch) renewLeaderships(id int32) error {
	var led []partitionID
	it := b.topics.root().Iterator()
	for _, t, ok := it.Next(); ok; _, t, ok = it.Next() {
		for n, p := range t.Partitions {
			if p.Leader != id {
				continue
			}
			if p.LeaderEpoch == math.MaxInt32 || p.PartitionEpoch == math.MaxInt32 {
				return fmt.Errorf("the epochs of partition %s-%d are used up", t.Name, n)
			}
			led = append(led, partitionID{t.ID, int32(n)})
		}
	}
	for _, l := range led { // written after the walk: own changes the tree that is being walked
		t := b.topicByID(l.topic)
		p := t.Partitions[l.partition].clone()
		p.LeaderEpoch++
		p.PartitionEpoch++
		b.setPartition(t, l.partition, p)
	}
	return nil
}

func (e *BrokerFenced) apply(b *Batch) error   { return b.fence(e.BrokerID, e.BrokerEpoch, true) }
func (e *BrokerUnfenced) apply(b *Batch) error { return b.fence(e.BrokerID, e.BrokerEpoch, false) }

func (b *Batch) fence(id int32, epoch int64, fenced bool) error {
	old, err := b.incarnation(id, epoch)
	if err != nil {
		return err
	}
	if old.Fenced == fenced {
		return fmt.Errorf("fenced is %t already", fenced)
	}
	next := *old
	next.Fenced = fenced
	b.setBroker(id, &next)
	return nil
}

func (e *BrokerStopping) apply(b *Batch) error {
	old, err := b.incarnation(e.BrokerID, e.BrokerEpoch)
	if err != nil {
		return err
	}
	next := *old
	next.Stopping = true
	b.setBroker(e.BrokerID, &next)
	return nil
}

func (b *Batch) incarnation(id int32, epoch int64) (*Broker, error) {
	v := b.broker(id)
	if v == nil {
		return nil, errors.New("the broker is not registered")
	}
	if v.Epoch != epoch {
		return nil, fmt.Errorf("broker epoch %d is not the current %d", epoch, v.Epoch)
	}
	return v, nil
}

func (e *BrokerUnregistered) apply(b *Batch) error {
	if _, err := b.incarnation(e.BrokerID, e.BrokerEpoch); err != nil {
		return err
	}
	it := b.topics.root().Iterator()
	for _, t, ok := it.Next(); ok; _, t, ok = it.Next() {
		for n, p := range t.Partitions {
			if p.HasReplica(e.BrokerID) {
				return fmt.Errorf("the broker holds a replica of %s-%d", t.Name, n)
			}
		}
	}
	b.setBroker(e.BrokerID, nil)
	return nil
}

func (e *ProducerIDsAllocated) apply(b *Batch) error {
	if _, err := b.incarnation(e.BrokerID, e.BrokerEpoch); err != nil {
		return err
	}
	old := b.next.producerIDs
	if e.First != old.Next || e.Next <= e.First {
		return fmt.Errorf("producer ids [%d, %d) do not follow %d", e.First, e.Next, old.Next)
	}
	cur := &producerIDs{Next: e.Next}
	cur.hash = cur.entity().hash()
	b.exchange(old.hash, cur.hash)
	b.next.producerIDs, b.producerIDs = cur, true
	return nil
}
