package failover

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const quickly = 15 * time.Second // the longest that consumption may stand still; unloaded it is under a second

// coordinatorKilled: members that keep sending heartbeats are not disturbed when their coordinator dies, nor when the next one does.
func coordinatorKilled(t *testing.T, c *rig) {
	const topic, parts = "consumed", 6
	c.topic(t, topic, parts)
	w := c.write(t, topic, parts, 20*time.Millisecond)
	offsets := NewOffsets("g-moves")
	members := []*member{c.join(t, "a", topic, "", offsets), c.join(t, "b", topic, "", offsets)}
	c.stable(t, offsets.group, len(members))
	committing(t, 3, members...)
	stop := c.watch(t, offsets)
	before := identities(members)
	for n := range kills(t, 3) {
		c.whole(t, topic, groupsTopic)
		victim := c.coordinator(t, offsets.group)
		for _, m := range members {
			m.takeGap()
		}
		c.kill(victim)
		committing(t, 5, members...)
		for _, m := range members {
			gap := m.takeGap()
			t.Logf("kill %d of node %d: %s did not commit for %v", n, victim, m.name, gap)
			if gap > quickly {
				t.Errorf("%s did not commit for %v", m.name, gap)
			}
		}
		if next := c.coordinator(t, offsets.group); next == victim {
			t.Errorf("node %d is dead and said to be the coordinator", victim)
		}
		before = undisturbed(t, before, members)
		c.restart(t, victim)
	}
	stop()
	w.check(t, c, topic, parts)
}

// killedInRebalance: a coordinator that dies while members join leaves a group that comes together at the next one.
func killedInRebalance(t *testing.T, c *rig) {
	const topic, parts = "rebalanced", 6
	c.topic(t, topic, parts)
	w := c.write(t, topic, parts, 20*time.Millisecond)
	offsets := NewOffsets("g-rebalances")
	members := []*member{c.join(t, "a", topic, "", offsets), c.join(t, "b", topic, "", offsets)}
	c.stable(t, offsets.group, len(members))
	committing(t, 3, members...)
	stop := c.watch(t, offsets)
	c.whole(t, topic, groupsTopic)
	members = append(members, c.join(t, "c", topic, "", offsets))
	until(t, "the group rebalances", func(ctx context.Context) bool {
		return c.ask(func(k *kadm.Client) bool {
			d, err := k.DescribeGroups(ctx, offsets.group)
			return err == nil && d[offsets.group].Err == nil && d[offsets.group].State != "Stable"
		})
	})
	first := c.coordinator(t, offsets.group)
	c.kill(first)
	c.stable(t, offsets.group, len(members))
	committing(t, 3, members...)
	c.restart(t, first)
	c.whole(t, topic, groupsTopic)
	before := identities(members)
	second := c.coordinator(t, offsets.group)
	c.kill(second)
	committing(t, 3, members...)
	undisturbed(t, before, members)
	c.restart(t, second)
	stop()
	w.check(t, c, topic, parts)
}

// allKilled: with all nodes gone and back, the same members go on in the same generation where they were.
func allKilled(t *testing.T, c *rig) {
	const topic, parts = "all", 6
	c.topic(t, topic, parts)
	w := c.write(t, topic, parts, 20*time.Millisecond)
	offsets := NewOffsets("g-all")
	members := []*member{c.join(t, "a", topic, "", offsets), c.join(t, "b", topic, "", offsets)}
	c.stable(t, offsets.group, len(members))
	committing(t, 3, members...)
	stop := c.watch(t, offsets)
	before := identities(members)
	for _, node := range c.Nodes {
		node.Kill()
	}
	errs := make(chan error, nodes)
	for _, node := range c.Nodes {
		go func() { errs <- node.TryRestart() }()
	}
	for range c.Nodes {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	committing(t, 3, members...)
	undisturbed(t, before, members)
	stop()
	w.check(t, c, topic, parts)
}
