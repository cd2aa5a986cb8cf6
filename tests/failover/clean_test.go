package failover

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// cleanedLog: what the cleaner of group state has cut away is not missed by the next leader of the partition, whether or not it had heard of
// the new log start, nor by one that was away meanwhile.
func cleanedLog(t *testing.T, c *rig) {
	const topic, parts = "many", 100
	c.topic(t, topic, parts)
	group := "g-cleaned"
	c.whole(t, topic)
	offsets := NewOffsets(group)
	next := int64(1)
	commit := func() {
		t.Helper()
		until(t, "a commit is acknowledged", func(ctx context.Context) bool {
			all := kadm.Offsets{}
			for p := range int32(parts) {
				all.Add(kadm.Offset{Topic: topic, Partition: p, At: next, LeaderEpoch: -1, Metadata: strings.Repeat("m", 4000)})
			}
			return c.ask(func(k *kadm.Client) bool {
				resp, err := k.CommitOffsets(ctx, group, all)
				return err == nil && resp.Ok()
			})
		})
		for p := range int32(parts) {
			offsets.Acked(topic, p, next)
		}
		next++
	}
	commit()
	c.whole(t, topic, groupsTopic)
	away := int32(0)
	from := c.logStart(t, group)
	for n := range kills(t, 2) {
		for range 200 { // each is 400 KiB, and it is cleaned when 8 MiB are there to go
			commit()
			if at := c.logStart(t, group); at > from {
				t.Logf("log start of the group's partition is %d", at)
				from = at
				break
			}
		}
		if from == 0 {
			t.Fatal("the log of the group's partition is never cleaned")
		}
		if n%2 == 1 { // a follower that was away while the log was cleaned comes back, and leads
			c.restart(t, away)
			c.whole(t, topic, groupsTopic)
		}
		victim := c.coordinator(t, group)
		c.kill(victim)
		until(t, "the next coordinator tells offsets", func(ctx context.Context) bool {
			return c.ask(func(k *kadm.Client) bool { return offsets.Look(ctx, k) == nil })
		})
		stillThere(t, offsets)
		if away = victim; n%2 == 1 {
			c.restart(t, victim)
			c.whole(t, topic, groupsTopic)
			away = 0
		}
		from = c.logStart(t, group)
	}
	if away != 0 {
		c.restart(t, away)
	}
	c.whole(t, topic, groupsTopic)
}

// logStart is where the group's partition begins.
func (c *rig) logStart(t *testing.T, group string) (start int64) {
	t.Helper()
	until(t, "the log start is told", func(ctx context.Context) bool {
		listed, err := c.admin.ListStartOffsets(ctx, groupsTopic)
		if err != nil {
			return false
		}
		o, ok := listed.Lookup(groupsTopic, partitionOf(group))
		start = o.Offset
		return ok && o.Err == nil
	})
	return start
}

// partitionOf is the partition of the topic of groups that Kafka chooses, of 50.
func partitionOf(group string) int32 {
	var hash int32
	for _, r := range group {
		hash = 31*hash + r
	}
	return (hash & 0x7fffffff) % 50
}
