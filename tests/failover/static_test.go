package failover

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// staticMembers: a static member that is restarted takes its place again without a rebalance, also at a coordinator that was not there when
// it left, and who has its old id is fenced by every later one.
func staticMembers(t *testing.T, c *rig) {
	const topic, parts = "static", 4
	c.topic(t, topic, parts)
	w := c.write(t, topic, parts, 20*time.Millisecond)
	offsets := NewOffsets("g-static")
	one, two := c.join(t, "one", topic, "instance-1", offsets), c.join(t, "two", topic, "instance-2", offsets)
	c.stable(t, offsets.group, 2)
	committing(t, 3, one, two)
	stop := c.watch(t, offsets)
	before := two.identity()
	oldID, generation := one.kafka.GroupMetadata()
	one.stop() // a static member does not leave
	c.whole(t, topic, groupsTopic)
	victim := c.coordinator(t, offsets.group)
	c.kill(victim)
	one = c.join(t, "one", topic, "instance-1", offsets)
	committing(t, 3, one, two)
	time.Sleep(3 * beat)
	newID, now := one.kafka.GroupMetadata()
	if now != generation || newID == oldID {
		t.Errorf("the restarted member was %s in generation %d, is %s in generation %d", oldID, generation, newID, now)
	}
	if after := two.identity(); after != before {
		t.Errorf("the other member was %s, is %s", before, after)
	}
	c.restart(t, victim)
	c.whole(t, topic, groupsTopic)
	victim = c.coordinator(t, offsets.group)
	c.kill(victim)
	committing(t, 3, one, two)
	fenced(t, c, offsets.group, "instance-1", oldID, generation)
	if id, now := one.kafka.GroupMetadata(); id != newID || now != generation {
		t.Errorf("the member was %s in generation %d, is %s in generation %d", newID, generation, id, now)
	}
	if after := two.identity(); after != before {
		t.Errorf("the other member was %s, is %s", before, after)
	}
	c.restart(t, victim)
	stop()
	w.check(t, c, topic, parts)
}

// fenced checks that a member id that was replaced cannot commit or stay alive.
func fenced(t *testing.T, c *rig, group, instance, id string, generation int32) {
	t.Helper()
	until(t, "somebody answers for the group", func(ctx context.Context) bool {
		k := c.connect()
		defer k.Close()
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = group, id, &instance, generation
		resp, err := req.RequestWith(ctx, k)
		if err != nil || resp.ErrorCode == 0 { // while it is loading a heartbeat is fine
			return false
		}
		if e := kerr.ErrorForCode(resp.ErrorCode); e != kerr.FencedInstanceID {
			t.Errorf("heartbeat under an id that was replaced: %v", e)
		}
		return true
	})
}
