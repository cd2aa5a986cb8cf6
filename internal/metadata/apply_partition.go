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
	if err := b.checkElection(e, p); err != nil {
		return err
	}
	if e.Unclean {
		p.UncleanEpoch = e.LeaderEpoch
	}
	p.Leader, p.LeaderEpoch = e.Leader, e.LeaderEpoch
	p.ISR, p.ELR = slices.Clone(e.ISR), slices.Clone(e.ELR)
	if err := p.check(); err != nil {
		return err
	}
	b.setPartition(t, e.Partition, p)
	return nil
}

// checkElection holds what a leader must be, and that nobody comes into the ISR or ELR with it who might lack records.
func (b *Batch) checkElection(e *SetLeader, p *Partition) error {
	if e.Leader != NoLeader {
		if broker := b.broker(e.Leader); broker == nil || broker.Fenced {
			return fmt.Errorf("leader %d is not in service", e.Leader)
		}
	}
	if e.Unclean {
		if e.Leader == NoLeader || len(e.ISR) != 1 || len(e.ELR) != 0 {
			return fmt.Errorf("an unclean election leaves the leader %d alone in the ISR, not %v with ELR %v", e.Leader, e.ISR, e.ELR)
		}
		return nil
	}
	if e.Leader != NoLeader && !p.InISR(e.Leader) {
		if !p.InELR(e.Leader) {
			return fmt.Errorf("leader %d is neither in the ISR %v nor in the ELR %v, and the election is not marked as unclean", e.Leader, p.ISR, p.ELR)
		}
		for _, id := range p.ISR { // in one event the last member may leave and an eligible replica follow it
			if broker := b.broker(id); broker != nil && !broker.Fenced || slices.Contains(e.ISR, id) {
				return fmt.Errorf("leader %d is of the ELR, and %d is in the ISR", e.Leader, id)
			}
		}
	}
	for _, id := range e.ISR {
		if !p.InISR(id) && id != e.Leader {
			return fmt.Errorf("broker %d comes into the ISR by an election", id)
		}
	}
	return checkELR(e.ELR, p)
}

// checkELR refuses an eligible leader replica that was neither in the ISR nor eligible before.
func checkELR(elr []int32, before *Partition) error {
	for _, id := range elr {
		if !before.InISR(id) && !before.InELR(id) {
			return fmt.Errorf("broker %d comes into the ELR and was not in the ISR %v", id, before.ISR)
		}
	}
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
		} else if !p.InISR(id) && (broker.Fenced || broker.Stopping) {
			return fmt.Errorf("broker %d is fenced or stopping and cannot join the ISR", id)
		}
	}
	if err := checkELR(e.ELR, p); err != nil {
		return err
	}
	p.ISR, p.ELR = slices.Clone(e.ISR), slices.Clone(e.ELR)
	if err := p.check(); err != nil {
		return err
	}
	b.setPartition(t, e.Partition, p)
	return nil
}
