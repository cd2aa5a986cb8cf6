package metaclient

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/chronik-io/chronik/internal/cli"
	"github.com/chronik-io/chronik/internal/logdir"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/uuid"
)

// stoppedNode is the data directory of a node that does not run.
type stoppedNode struct {
	dir  string
	node int32
	logs map[partitionKey]*logdir.Log
	im   *metadata.Image
}

type partitionKey struct {
	topic uuid.UUID
	index int32
}

// CheckDirectories compares the logs in the data directories of nodes that do not run, of the topics named or of all: what stands on each
// disk, read by the nodes' own recovery code. Replicas in sync must be equal as far as all of them reach; what one has beyond that is not
// committed. A single directory is compared with nothing, but read and verified as a whole. A *vfs.LockedError says that a node runs.
func CheckDirectories(dirs []string, topics ...string) (*ReplicaReport, error) {
	r := &ReplicaReport{Source: strings.Join(dirs, ", "), Verdict: Equal, Partitions: []PartitionCheck{}, Notes: []string{}}
	var nodes []stoppedNode
	var newest *metadata.Image
	cluster := ""
	for _, dir := range dirs {
		if err := requireDataDirectory(dir); err != nil {
			return nil, err
		}
		if _, _, err := logdir.Identify(dir); err != nil {
			return nil, err
		}
		replay, err := ReadDirectory(dir, -1)
		if err != nil {
			return nil, err
		}
		n := stoppedNode{dir: dir, im: replay.Image, logs: map[partitionKey]*logdir.Log{}}
		held, err := logdir.Read(dir, func(topic uuid.UUID, _ int32) bool { return chosen(n.im, topic, topics) })
		if err != nil {
			return nil, err
		}
		if cluster != "" && cluster != held.ClusterID {
			return nil, cli.Failf("%s is of cluster %s, and %s of %s", dirs[0], cluster, dir, held.ClusterID)
		}
		cluster, n.node = held.ClusterID, held.NodeID
		for _, other := range nodes {
			if other.node == n.node {
				return nil, cli.Failf("%s and %s are both of node %d", other.dir, dir, n.node)
			}
		}
		if held.Torn {
			r.Notes = append(r.Notes, fmt.Sprintf("node %d: the last write was cut short; nothing in it was acknowledged, and the next start removes it", n.node))
		}
		for i := range held.Logs {
			n.logs[partitionKey{held.Logs[i].Topic, held.Logs[i].Partition}] = &held.Logs[i]
		}
		if newest == nil || n.im.Offset() > newest.Offset() {
			newest = n.im
		}
		nodes = append(nodes, n)
	}
	for _, name := range topics {
		if newest.Topic(name) == nil {
			return nil, cli.Failf("topic %s does not exist in these directories", name)
		}
	}
	for t := range newest.Topics() {
		if chosen(newest, t.ID, topics) {
			for i := range t.Partitions {
				r.Partitions = append(r.Partitions, checkStopped(nodes, t, int32(i)))
			}
		}
	}
	r.sum()
	return r, nil
}

// chosen reports whether a topic is to be compared: one of those named, or any that exists.
func chosen(im *metadata.Image, topic uuid.UUID, names []string) bool {
	t := im.TopicByID(topic)
	return len(names) == 0 || t != nil && slices.Contains(names, t.Name)
}

// checkStopped compares the logs of one partition.
func checkStopped(nodes []stoppedNode, t *metadata.Topic, index int32) PartitionCheck {
	p := t.Partition(index)
	out := PartitionCheck{Topic: t.Name, TopicID: t.ID.String(), Partition: index, Leader: p.Leader, From: -1, To: -1}
	var logs []*logdir.Log
	for _, n := range nodes {
		if !p.HasReplica(n.node) {
			continue
		}
		c := ReplicaCheck{Node: n.node, Directory: n.dir, InSync: p.InISR(n.node), LeaderEpoch: -1, StartOffset: -1, EndOffset: -1, HighWatermark: -1, ComparedTo: -1, DiffersAt: -1, Verdict: Equal}
		l := n.logs[partitionKey{t.ID, index}]
		switch {
		case l == nil && c.InSync:
			c.Verdict, c.Detail = Short, "it is in sync, and its directory has nothing of the partition"
		case l == nil:
			c.Verdict, c.Detail = Unchecked, "its directory has nothing of the partition"
		case l.Err != nil:
			c.Verdict, c.Detail = Damaged, l.Err.Error()
		}
		if l != nil {
			c.LeaderEpoch, c.StartOffset, c.EndOffset, c.HighWatermark = l.LeaderEpoch, l.Start, l.End, l.Committed
		}
		out.Replicas = append(out.Replicas, c)
		logs = append(logs, l)
	}
	compareStopped(&out, logs)
	return out
}

// compareStopped compares all that can be read with the first of them, in sync if there is one. logs are those of out.Replicas.
func compareStopped(out *PartitionCheck, logs []*logdir.Log) {
	first := -1
	end, committed := int64(-1), int64(-1)
	for i := range out.Replicas {
		r := &out.Replicas[i]
		if r.Verdict != Equal {
			continue
		}
		out.From, committed = max(out.From, r.StartOffset), max(committed, r.HighWatermark)
		if first < 0 || r.InSync && !out.Replicas[first].InSync {
			first = i
		}
		if r.InSync && (end < 0 || r.EndOffset < end) {
			end = r.EndOffset
		}
	}
	if first < 0 {
		return
	}
	if end < 0 {
		end = committed // nobody in sync is here
	}
	for i := range out.Replicas {
		r := &out.Replicas[i]
		if r.Verdict != Equal {
			continue
		}
		r.ComparedTo = max(min(end, r.EndOffset), out.From)
		if !r.InSync {
			r.ComparedTo = max(min(r.EndOffset, logs[first].End), out.From)
		}
		compareLog(r, logs[i], logs[first], out, first, committed)
		out.To = max(out.To, r.ComparedTo)
	}
}

// compareLog compares one log with the first one from out.From up to r.ComparedTo. A replica that is not in sync may have records that were
// never committed: from there on it is not compared.
func compareLog(r *ReplicaCheck, mine, first *logdir.Log, out *PartitionCheck, firstIndex int, committed int64) {
	own := within(mine.Batches, out.From, r.ComparedTo)
	place := firstOther(within(first.Batches, out.From, r.ComparedTo), own)
	if place >= 0 && !r.InSync && place >= r.HighWatermark {
		at, _ := slices.BinarySearchFunc(own, place, func(b logdir.Batch, at int64) int { return cmp.Compare(b.Last, at) })
		r.ComparedTo = out.From
		if at > 0 {
			r.ComparedTo = own[at-1].Last + 1
		}
		r.Detail = fmt.Sprintf("its records from %d on are others: it was not in sync, and cuts them when it starts", r.ComparedTo)
		own, place = own[:at], -1
	}
	for _, b := range own {
		r.crc = b.Extend(r.crc)
	}
	r.Batches = int64(len(own))
	if place < 0 {
		return
	}
	r.Verdict, r.DiffersAt = Differs, place
	r.Detail = fmt.Sprintf("not as on node %d, first in the batch that ends at offset %d", out.Replicas[firstIndex].Node, place)
	if place >= committed {
		r.Detail += fmt.Sprintf("; the directories know of records below %d that they are committed: a replica that has just lost the lead cuts what is above when it starts", committed)
	}
}

// within are the batches that lie wholly in [from, to).
func within(batches []logdir.Batch, from, to int64) []logdir.Batch {
	i, _ := slices.BinarySearchFunc(batches, from, func(b logdir.Batch, at int64) int { return cmp.Compare(b.Base, at) })
	j, _ := slices.BinarySearchFunc(batches, to, func(b logdir.Batch, at int64) int { return cmp.Compare(b.Last+1, at+1) })
	return batches[i:max(i, j)]
}

// firstOther is the last offset of the first batch in which two logs differ, -1 if they are equal.
func firstOther(a, b []logdir.Batch) int64 {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return b[i].Last
		case i >= len(b):
			return a[i].Last
		case a[i] != b[i]:
			return min(a[i].Last, b[i].Last)
		}
	}
	return -1
}
