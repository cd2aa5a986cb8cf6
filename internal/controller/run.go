package controller

import (
	"context"
	"errors"
	"time"

	"github.com/chronik-io/chronik/internal/metalog"
)

// How long the ids of deleted topics are remembered: longer than a node may be away and come back with their data. The only broker of a
// cluster drops the data in the moment of the deletion or in its next start, so there an hour is plenty, and a minute when there are
// more of them than half of what Limits allows.
const (
	purgeInterval     = time.Minute
	tombstoneAge      = 7 * 24 * time.Hour
	tombstoneAgeAlone = time.Hour
	tombstoneAgeShort = time.Minute
)

// Run forgets deleted topics in time and gives leaderships back to preferred leaders, while this node is the controller, until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	purge, rebalance := time.NewTicker(purgeInterval), time.NewTicker(rebalanceEvery)
	defer purge.Stop()
	defer rebalance.Stop()
	var back settling
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-purge.C:
			n, err := c.purgeOld(ctx)
			c.report(n, err, "deleted topics forgotten", "deleted topics could not be forgotten")
		case <-rebalance.C:
			n, err := c.rebalance(ctx, &back)
			c.report(n, err, "leaderships given back to preferred leaders", "leaderships could not be given back to preferred leaders")
		}
	}
}

// report logs one round of work on n things. That another node is the controller is not worth a line.
func (c *Controller) report(n int, err error, done, failed string) {
	switch {
	case errors.Is(err, metalog.ErrNotController), errors.Is(err, context.Canceled):
	case err != nil:
		c.logger.Warn(failed, "err", err)
	case n > 0:
		c.logger.Info(done, "count", n)
	}
}

// purgeOld purges what is old enough; see the constants above.
func (c *Controller) purgeOld(ctx context.Context) (int, error) {
	im := c.log.Image()
	age := tombstoneAge
	if im.BrokerCount() == 1 {
		age = tombstoneAgeAlone
		if im.TombstoneCount() > c.limits.Tombstones/2 {
			age = tombstoneAgeShort
		}
	}
	before := c.nowMs() - age.Milliseconds()
	for t := range im.Tombstones() {
		if t.DeletedMs < before {
			return c.PurgeTombstones(ctx, before)
		}
	}
	return 0, nil
}
