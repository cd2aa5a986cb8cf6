package failover

import (
	"context"
	"testing"
	"time"
)

// leaderKilled: an idempotent producer does not notice that the leaders of its partitions die: every value is there once, in order. Some of
// its requests are in flight at each kill, so what it sends again is sometimes a duplicate, and sometimes not.
func leaderKilled(t *testing.T, c *rig) {
	const topic, parts = "written", 3
	c.topic(t, topic, parts)
	w := c.write(t, topic, parts, 2*time.Millisecond)
	for n := range kills(t, 4) {
		from := w.acked.Load()
		until(t, "records are acknowledged", func(context.Context) bool { return w.acked.Load() > from+100 })
		c.whole(t, topic)
		victim := c.leader(t, topic, int32(n%parts))
		c.kill(victim)
		from = w.acked.Load()
		took := until(t, "records are acknowledged by the next leader", func(context.Context) bool { return w.acked.Load() > from+100 })
		t.Logf("kill %d of node %d: 100 records more after %v", n, victim, took)
		c.restart(t, victim)
	}
	c.whole(t, topic)
	w.check(t, c, topic, parts)
}
