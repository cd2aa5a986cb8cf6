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

// Run forgets deleted topics in time, while this node is the controller, until ctx is done.
func (c *Controller) Run(ctx context.Context) error {
	tick := time.NewTicker(purgeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, err := c.purgeOld(ctx)
		switch {
		case errors.Is(err, metalog.ErrNotController), errors.Is(err, context.Canceled):
		case err != nil:
			c.logger.Warn("deleted topics could not be forgotten", "err", err)
		case n > 0:
			c.logger.Info("deleted topics forgotten", "topics", n)
		}
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
