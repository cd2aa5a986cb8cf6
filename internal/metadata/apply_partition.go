package metadata

import (
	"errors"
	"fmt"
	"slices"

	"github.com/chronik-io/chronik/internal/uuid"
)

func newPartition(s *PartitionState) *Partition {
	return &Partition{Replicas: slices.Clone(s.Replicas), ISR: slices.Clone(s.ISR), Leader: s.Leader}
}

// checkNewPartition also demands that the replicas are brokers of the cluster.
func (b *Batch) checkNewPartition(s *PartitionState) error {
	p := Partition{Replicas: s.Replicas, ISR: s.ISR, Leader: s.Leader}
	if err := p.check(); err != nil {
		return err
	}
	return b.checkBrokers(s.Replicas)
}

func (b *Batch) checkBrokers(ids []int32) error {
	for _, id := range ids {
		if b.broker(id) == nil {
			return fmt.Errorf("broker %d is not registered", id)
		}
	}
	return nil
}

// check holds what is true of every partition; see the package's invariants.
func (p *Partition) check() error {
	if len(p.Replicas) == 0 {
		return errors.New("no replicas")
	}
	if err := distinct("replicas", p.Replicas); err != nil {
		return err
	}
	subsets := [...]struct {
		name string
		ids  []int32
	}{{"ISR", p.ISR}, {"ELR", p.ELR}, {"adding replicas", p.Adding}, {"removing replicas", p.Removing}}
	for _, s := range subsets {
		if err := distinct(s.name, s.ids); err != nil {
			return err
		}
		for _, id := range s.ids {
			if !p.HasReplica(id) {
				return fmt.Errorf("%s %v: %d is not one of the replicas %v", s.name, s.ids, id, p.Replicas)
			}
		}
	}
	for _, id := range p.ELR {
		if p.InISR(id) {
			return fmt.Errorf("ELR %v and ISR %v overlap", p.ELR, p.ISR)
		}
	}
	if p.Leader != NoLeader && !p.InISR(p.Leader) {
		return fmt.Errorf("leader %d is not in the ISR %v", p.Leader, p.ISR)
	}
	return nil
}

func distinct(name string, ids []int32) error {
	for i, id := range ids {
		if id < 0 || slices.Contains(ids[:i], id) {
			return fmt.Errorf("%s %v: %d is negative or stands there twice", name, ids, id)
		}
	}
	return nil
}

// changing finds the partition and a copy of it with the next partition epoch.
func (b *Batch) changing(name string, id uuid.UUID, n, epoch int32) (*Topic, *Partition, error) {
	t, err := b.checkTopic(name, id)
	if err != nil {
		return nil, nil, err
	}
	p := t.Partition(n)
	if p == nil {
		return nil, nil, fmt.Errorf("the topic has %d partitions", len(t.Partitions))
	}
	if epoch <= 0 || epoch-1 != p.PartitionEpoch {
		return nil, nil, fmt.Errorf("partition epoch %d does not follow %d", epoch, p.PartitionEpoch)
	}
	c := p.clone()
	c.PartitionEpoch = epoch
	return t, c, nil
}

func (e *AssignPartition) apply(b *Batch) error {
	t, p, err := b.changing(e.Name, e.TopicID, e.Partition, e.PartitionEpoch)
	if err != nil {
		return err
	}
	p.Replicas, p.Adding, p.Removing = slices.Clone(e.Replicas), slices.Clone(e.Adding), slices.Clone(e.Removing)
	if err := errors.Join(p.check(), b.checkBrokers(e.Replicas)); err != nil {
		return err
	}
	b.setPartition(t, e.Partition, p)
	return nil
}

func (e *SetLeader) apply(b *Batch) error {
	t, p, err := b.changing(e.Name, e.TopicID, e.Partition, e.PartitionEpoch)
	if err != nil {
		return err
	}
	if e.LeaderEpoch <= p.LeaderEpoch {
		return fmt.Errorf("leader epoch %d is not above %d", e.LeaderEpoch, p.LeaderEpoch)
	}
	if e.Leader != NoLeader && !e.Unclean && !p.InISR(e.Leader) && !slices.Contains(p.ELR, e.Leader) {
		return fmt.Errorf("leader %d is neither in the ISR %v nor in the ELR %v, and the election is not marked as unclean", e.Leader, p.ISR, p.ELR)
	}
	p.Leader, p.LeaderEpoch = e.Leader, e.LeaderEpoch
	p.ISR, p.ELR = slices.Clone(e.ISR), slices.Clone(e.ELR)
	if err := p.check(); err != nil {
		return err
	}
	b.setPartition(t, e.Partition, p)
	return nil
}

func (e *UpdateIsr) apply(b *Batch) error {
	t, p, err := b.changing(e.Name, e.TopicID, e.Partition, e.PartitionEpoch)
	if err != nil {
		return err
	}
	if e.LeaderEpoch != p.LeaderEpoch {
		return fmt.Errorf("leader epoch %d is not the partition's %d", e.LeaderEpoch, p.LeaderEpoch)
	}
	if len(e.BrokerEpochs) != len(e.ISR) {
		return fmt.Errorf("%d broker epochs for an ISR of %d", len(e.BrokerEpochs), len(e.ISR))
	}
	for i, id := range e.ISR {
		if broker := b.broker(id); broker == nil || broker.Epoch != e.BrokerEpochs[i] {
			return fmt.Errorf("ISR member %d is not registered with broker epoch %d", id, e.BrokerEpochs[i])
		}
	}
	p.ISR, p.ELR = slices.Clone(e.ISR), slices.Clone(e.ELR)
	if err := p.check(); err != nil {
		return err
	}
	b.setPartition(t, e.Partition, p)
	return nil
}
