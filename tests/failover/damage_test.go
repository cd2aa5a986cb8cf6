package failover

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/testcluster"
	"github.com/chronik-io/chronik/internal/vfs"
)

const (
	damagedTopic = "damaged"
	bulk         = 64 << 10 // bytes of a record
	leastWAL     = 256 << 20
)

// TestDamage flips bits in segments of a follower and of a leader while their process is stopped. The cluster finds the damage, has the
// replica begin anew from the others, and gives a client every acknowledged record.
func TestDamage(t *testing.T) {
	c := &rig{Cluster: testcluster.StartCluster(t, nodes, testcluster.Options{Config: fmt.Sprintf("wal_max_bytes = %d\n", leastWAL)})}
	c.admin = kadm.NewClient(c.client(t))
	c.topic(t, damagedTopic, 1)
	d := &damage{rig: c, t: t, client: c.client(t, kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(kgo.NoCompression()))}
	d.produce(leastWAL * 3 / 4 / bulk) // the WAL keeps half of its size: the rest is in segments only
	c.whole(t, damagedTopic)

	leader := c.leader(t, damagedTopic, 0)
	follower := leader%nodes + 1
	d.flipStopped(follower)
	d.produce(20)
	d.repaired(follower)

	c.whole(t, damagedTopic)
	leader = d.preferred()
	d.lead()
	d.flipStopped(leader)
	c.whole(t, damagedTopic)
	d.lead()
	t.Logf("leader is %d, damaged is %d", c.leader(t, damagedTopic, 0), leader)
	d.readAll() // with the damaged log's node as the leader, unless it was found already
	d.repaired(leader)
	for line := range strings.Lines(c.Nodes[leader-1].Log()) {
		if strings.Contains(line, "damaged") {
			t.Log(strings.TrimSpace(line))
		}
	}
	d.produce(20)
	d.readAll()
	d.verify()
}

type damage struct {
	*rig
	t      *testing.T
	client *kgo.Client
	acked  int // records, with their numbers as offsets
}

func bulkValue(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%015d ", n), bulk/16) }

// produce appends records, all of which are acknowledged, one after the other in order.
func (d *damage) produce(n int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*mostPatience)
	defer cancel()
	for n > 0 {
		var some []*kgo.Record
		for range min(n, 64) {
			some = append(some, &kgo.Record{Topic: damagedTopic, Value: bulkValue(d.acked + len(some))})
		}
		for _, r := range d.client.ProduceSync(ctx, some...) {
			if r.Err != nil || r.Record.Offset != int64(d.acked) {
				d.t.Fatalf("record %d at offset %d: %v", d.acked, r.Record.Offset, r.Err)
			}
			d.acked++
		}
		n -= len(some)
	}
}

// preferred is the node that leads when all are there.
func (d *damage) preferred() (node int32) {
	d.t.Helper()
	until(d.t, "the replicas are known", func(ctx context.Context) bool {
		p, ok := d.partitions(ctx, damagedTopic)[0]
		if ok {
			node = p.Replicas[0]
		}
		return ok
	})
	return node
}

// lead makes the preferred leader lead.
func (d *damage) lead() {
	ctx, cancel := context.WithTimeout(context.Background(), mostPatience)
	defer cancel()
	results, err := d.admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, kadm.TopicsSet{damagedTopic: {0: {}}})
	d.t.Logf("election: %+v %v", results, err)
}

// flipStopped stops a node, flips a bit of a record that only a segment has, and starts it again.
func (d *damage) flipStopped(node int32) {
	d.t.Helper()
	s := d.Nodes[node-1]
	if err := s.Stop(); err != nil {
		d.t.Fatal(err)
	}
	in, err := partition.Inspect(vfs.OS, s.Dir)
	if err != nil {
		d.t.Fatal(err)
	}
	i := slices.IndexFunc(in.Logs, func(l partition.Inspected) bool { return l.End >= int64(d.acked) })
	if i < 0 || in.Logs[i].SegmentEnd < 4 {
		d.t.Fatalf("node %d has nothing in segments only: %+v", node, in.Logs)
	}
	files, err := filepath.Glob(filepath.Join(s.Dir, "topics", in.Logs[i].ID.Topic.String(), "0", "*.log"))
	files = slices.DeleteFunc(files, func(name string) bool { info, err := os.Stat(name); return err != nil || info.Size() < 2*bulk })
	if err != nil || len(files) == 0 {
		d.t.Fatalf("node %d has no segments: %v", node, err)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, bulk+bulk/2)
	b[0] ^= 1
	if err == nil {
		_, err = f.WriteAt(b, bulk+bulk/2)
	}
	if err != nil || f.Close() != nil {
		d.t.Fatal(err)
	}
	s.Restart()
}

// repaired waits until a node has found the damage and its replica is in sync again.
func (d *damage) repaired(node int32) {
	d.t.Helper()
	until(d.t, fmt.Sprintf("node %d has repaired its replica", node), func(context.Context) bool {
		_, body, err := d.Nodes[node-1].Get("/metrics")
		return err == nil && strings.Contains(body, "\nchronik_replicas_repaired_total 1\n")
	})
	d.whole(d.t, damagedTopic)
}

// readAll reads what was acknowledged as a client that knows nothing.
func (d *damage) readAll() {
	d.t.Helper()
	k := d.connect(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{damagedTopic: {0: kgo.NewOffset().AtStart()}}))
	defer k.Close()
	ctx, cancel := context.WithTimeout(context.Background(), mostPatience)
	defer cancel()
	for next := 0; next < d.acked; {
		fetches := k.PollFetches(ctx)
		if ctx.Err() != nil {
			d.t.Fatalf("read %d of %d records: %v", next, d.acked, fetches.Errors())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != int64(next) || !bytes.Equal(r.Value, bulkValue(next)) {
				d.t.Fatalf("record %d is at offset %d, or not what was acknowledged", next, r.Offset)
			}
			next++
		})
	}
}

// verify compares the logs of all nodes, stopped, batch by batch.
func (d *damage) verify() {
	d.t.Helper()
	d.whole(d.t, damagedTopic)
	time.Sleep(time.Second) // high watermarks travel
	var first []partition.BatchSum
	for i, s := range d.Nodes {
		if err := s.Stop(); err != nil {
			d.t.Fatal(err)
		}
		in, err := partition.Inspect(vfs.OS, s.Dir)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, l := range in.Logs {
			if l.End < int64(d.acked) {
				continue
			}
			var sums []partition.BatchSum
			if err := l.Batches(func(b partition.BatchSum) error { sums = append(sums, b); return nil }); err != nil {
				d.t.Errorf("node %d: %v", i+1, err)
			}
			if i == 0 {
				first = sums
			} else if !slices.Equal(first, sums) {
				d.t.Errorf("node %d has %d batches, not the %d of node 1", i+1, len(sums), len(first))
			}
		}
	}
	if len(first) == 0 {
		d.t.Error("nothing was compared")
	}
}
