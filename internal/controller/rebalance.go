package controller

import (
	"context"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
)

// Leaders go back to the first replica soon, but not to a broker that comes and goes, and not all at once: each move costs the clients of
// the partition a look at the metadata.
const (
	rebalanceEvery = 10 * time.Second
	settledAfter   = 30 * time.Second // in service, in one incarnation
	rebalanceMost  = 500              // partitions in one round
)

// settling remembers since when each broker has been in service, as far as this process has seen. It belongs to Run.
type settling struct {
	since map[int32]inServiceSince // bound: registered brokers
}

type inServiceSince struct {
	epoch int64
	at    time.Time
}

// look takes in an image.
func (s *settling) look(im *metadata.Image, now time.Time) {
	next := make(map[int32]inServiceSince, im.BrokerCount())
	for b := range im.Brokers() {
		if !inService(im, b.ID) {
			continue
		}
		if was, ok := s.since[b.ID]; ok && was.epoch == b.Epoch {
			next[b.ID] = was
		} else {
			next[b.ID] = inServiceSince{b.Epoch, now}
		}
	}
	s.since = next
}

// settled reports whether the broker has been in service for long enough.
func (s *settling) settled(id int32, now time.Time) bool {
	was, ok := s.since[id]
	return ok && now.Sub(was.at) >= settledAfter
}

// rebalance is one round; it returns how many leaders it has moved.
func (c *Controller) rebalance(ctx context.Context, back *settling) (moved int, err error) {
	now, im := c.now(), c.log.Image()
	back.look(im, now)
	settled := func(id int32) bool { return back.settled(id, now) }
	if !config.BrokerBool(config.AutoLeaderRebalance, c.layers(im, "")) || len(DecideRebalance(im, settled, 1)) == 0 {
		return 0, nil
	}
	err = c.propose(ctx, "rebalance leaders", func(d *draft) error {
		evs := DecideRebalance(d.image(), settled, rebalanceMost)
		moved = len(evs)
		return d.add(evs...)
	})
	return moved, err
}
