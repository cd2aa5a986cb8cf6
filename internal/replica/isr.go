package replica

import (
	"context"
	"errors"
	"time"

	"github.com/chronik-io/chronik/internal/controller"
)

const (
	// isrEvery is how often the ISRs of what this node leads are looked at; a follower that has caught up is not made to wait for it.
	isrEvery = 100 * time.Millisecond
	// isrTimeout bounds one call of the controller, after which its outcome is unknown.
	isrTimeout = 2 * time.Second
	// isrBatch bounds the proposals of one call.
	isrBatch = 2000
	// ownGap is a time between two looks from which on the silence of followers may be this process's own.
	ownGap = 200 * time.Millisecond
)

func (s *Set) kickISR() { poke(s.isr) }

func (s *Set) since() int64 { return time.Since(s.started).Milliseconds() }

// runISR proposes changes of ISRs, one call at a time.
func (s *Set) runISR(ctx context.Context) {
	if s.o.ChangeISR == nil {
		return
	}
	t := time.NewTicker(isrEvery)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-s.isr:
		}
		gap := time.Since(last)
		if gap < ownGap {
			gap = 0
		}
		s.changeISRs(ctx, gap.Milliseconds())
		last = time.Now() // the time of the call is no gap: acks came in meanwhile
	}
}

type proposalOf struct {
	r *Replica
	p *Proposal
}

func (s *Set) changeISRs(ctx context.Context, gapMs int64) {
	now := s.nowMs()
	var all []proposalOf
	for _, r := range s.All() {
		if p := r.tick(now, gapMs); p != nil {
			all = append(all, proposalOf{r, p})
		}
	}
	for len(all) > 0 {
		n := min(len(all), isrBatch)
		s.propose(ctx, all[:n])
		all = all[n:]
	}
}

func (s *Set) propose(ctx context.Context, some []proposalOf) {
	changes := make([]controller.IsrChange, len(some))
	for i, x := range some {
		changes[i] = controller.IsrChange{TopicID: x.r.id.Topic, Partition: x.r.id.Partition, LeaderEpoch: x.p.LeaderEpoch,
			PartitionEpoch: x.p.PartitionEpoch, ISR: x.p.ISR, BrokerEpochs: x.p.BrokerEpochs, Lost: x.p.Lost, Resign: x.p.Resign}
	}
	ctx, cancel := context.WithTimeout(ctx, isrTimeout)
	defer cancel()
	results, err := s.o.ChangeISR(ctx, changes)
	if err == nil && len(results) != len(some) {
		err = errors.New("not one outcome for each change")
	}
	if err != nil {
		s.log.Debug("ISR changes: outcome unknown", "changes", len(some), "err", err)
	}
	for i, x := range some {
		if err == nil && results[i] != nil && definite(results[i]) {
			s.log.Debug("ISR change refused", "partition", x.r.id.String(), "isr", x.p.ISR, "err", results[i])
			x.r.refusedISR(x.p)
		}
	}
}

// definite reports whether a refusal ends a proposal. One because of a stale epoch does not: the metadata shows what became of it.
func definite(err error) bool {
	return errors.Is(err, controller.ErrIneligibleReplica) || errors.Is(err, controller.ErrInvalidRequest)
}
