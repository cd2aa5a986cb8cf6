package metaclient

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chronik-io/chronik/internal/chronikapi"
)

// lagTolerated is how far a node's metadata may be behind without being worth a word: entries arrive while we ask.
const lagTolerated = 1000

// judge turns facts into a status with reasons. It is pure.
func judge(f *facts) *Status {
	s := &Status{ClusterID: f.clusterID, Controller: f.controller, Quorum: f.quorum, Findings: []Finding{}, HashOffset: -1}
	s.Counts.Topics, s.Counts.Partitions = f.topics, len(f.partitions)
	if f.quorum != nil {
		for id, end := range f.voterEnds {
			if n := f.node(id); n.State == NodeMissing && n.Address == "" && end >= 0 {
				n.State = NodeUp // a voter that is no broker (Kafka's separate controllers) is known by the log alone
			}
		}
		if f.quorum.Leader >= 0 {
			s.Controller = f.quorum.Leader
		}
	}
	var offline, under, underMin, damaged, repairing []partitionName
	broken := f.damaged()
	cause := map[int32]bool{} // the nodes without which partitions are offline
	tolerates := -1
	for i := range f.partitions {
		p := f.judgePartition(&f.partitions[i])
		name := partitionName{fmt.Sprintf("%s-%d", p.Topic, p.Partition), p.Internal}
		if p.Damaged = broken[name.name]; p.Damaged == nil {
			p.Damaged = []int32{}
		}
		s.Partitions = append(s.Partitions, p)
		switch {
		case slices.Contains(p.Damaged, p.Leader):
			damaged = append(damaged, name)
		case len(p.Damaged) > 0:
			repairing = append(repairing, name)
		}
		s.Counts.Replicas += len(p.Replicas)
		for _, id := range p.Replicas {
			f.node(id).Replicas++
		}
		if p.Leader >= 0 {
			f.node(p.Leader).Leaders++
		}
		switch {
		case p.Offline:
			s.Counts.Offline++
			offline = append(offline, name)
			for _, id := range p.Replicas {
				cause[id] = cause[id] || f.node(id).State != NodeUp
			}
		case p.UnderMinISR:
			s.Counts.UnderMinISR++
			underMin = append(underMin, name)
		}
		if p.UnderReplicated {
			s.Counts.UnderReplicated++
			under = append(under, name)
		}
		if p.AtMinISR {
			s.Counts.AtMinISR++
		}
		if p.MinISR >= 0 {
			spare := max(len(p.Live)-p.MinISR, 0)
			if tolerates < 0 || spare < tolerates {
				tolerates = spare
			}
		}
	}
	s.judgeNodes(f)
	s.judgeDisks(f)
	s.judgeHashes(f)
	s.judgeQuorum(f, &tolerates)
	s.Tolerates = tolerates
	addPartitionFinding(s, Unavailable, offline, "no live leader", "neither read nor written", "chronikctl partition status --offline")
	s.nameCause(f, len(offline) > 0, cause)
	addPartitionFinding(s, Unavailable, underMin, "fewer live replicas than min.insync.replicas", "acks=all is refused", f.nextUnderMin(s.Partitions))
	s.Counts.Damaged = len(damaged) + len(repairing)
	addPartitionFinding(s, Unavailable, damaged, "damaged data on its leader", "what is damaged cannot be read", "chronikctl partition verify says where; then docs/operations.md, Damage")
	addPartitionFinding(s, Degraded, repairing, "a damaged replica", "all are served", "it begins anew from its leader by itself; chronikctl partition status shows which")
	addPartitionFinding(s, Degraded, without(under, offline, underMin), "a replica that is not in sync", "all are served", s.catchUp(f))
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		s.Nodes = append(s.Nodes, *f.nodes[id])
	}
	slices.SortStableFunc(s.Findings, func(a, b Finding) int { return cmp.Compare(rank(a.Severity), rank(b.Severity)) })
	s.State = Healthy
	if len(s.Findings) > 0 {
		s.State = s.Findings[0].Severity
	}
	if s.State != Unavailable {
		s.noteSpare(f)
	}
	return s
}

// damaged are the nodes that have found their own replica of a partition damaged, by topic-partition.
func (f *facts) damaged() map[string][]int32 {
	by := map[string][]int32{}
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		if info := f.nodes[id].info; info != nil {
			for _, d := range info.Damaged {
				name := fmt.Sprintf("%s-%d", d.Topic, d.Partition)
				by[name] = append(by[name], id)
			}
		}
	}
	return by
}

// judgePartition says how a partition is: only replicas in sync whose node answers count.
func (f *facts) judgePartition(p *partitionFacts) PartitionStatus {
	out := PartitionStatus{Topic: p.topic, Partition: p.partition, Internal: p.internal, Leader: p.leader, LeaderEpoch: p.leaderEpoch, Replicas: p.replicas, ISR: p.isr, Live: []int32{}, MinISR: -1}
	for _, id := range p.isr {
		if f.node(id).State == NodeUp {
			out.Live = append(out.Live, id)
		}
	}
	if n, ok := f.minISR[p.topic]; ok {
		out.MinISR = min(n, len(p.replicas)) // as Kafka does for topics with fewer replicas
	}
	live := len(out.Live)
	out.Offline = p.leader < 0 || f.node(p.leader).State != NodeUp
	out.LeaderFull = !out.Offline && f.node(p.leader).full()
	out.UnderReplicated = live < len(p.replicas)
	out.UnderMinISR = out.MinISR >= 0 && live < out.MinISR
	out.AtMinISR = out.MinISR >= 0 && len(p.replicas) > out.MinISR && live == out.MinISR
	return out
}

func rank(s State) int {
	switch s {
	case Unavailable:
		return 0
	case Degraded:
		return 1
	}
	return 2
}

// judgeNodes says which nodes are away and gives each its role and lag.
func (s *Status) judgeNodes(f *facts) {
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		n := f.nodes[id]
		n.Role = role(f, s.Controller, id)
		if end, ok := f.voterEnds[id]; ok && end >= 0 && n.info == nil {
			n.MetadataOffset = end
		}
		if head := f.head(); head >= 0 && n.MetadataOffset >= 0 {
			n.MetadataLag = max(0, head-n.MetadataOffset)
			if n.MetadataLag > lagTolerated {
				s.add(Degraded, fmt.Sprintf("node %d is %d entries behind in the metadata log", id, n.MetadataLag), "chronikctl status --watch")
			}
		}
		if n.info != nil && n.info.FaultFrom >= 0 {
			s.add(Degraded, fmt.Sprintf("node %d has lost metadata entries from %d on: its vote does not count until it has them again", id, n.info.FaultFrom), "chronikctl status --watch")
		}
		if by := f.seenAs(id, chronikapi.PeerBanned); len(by) > 0 {
			s.add(Degraded, fmt.Sprintf("node %d is refused by %s for good: its disk was put back to an older state, or a copy of it has run elsewhere. Its vote does not count there", id, nodeNames(by)), f.remedy(id))
			continue
		}
		if n.State == NodeUp {
			continue
		}
		what := map[NodeState]string{
			NodeUnreachable: fmt.Sprintf("node %d at %s does not answer: %s", id, n.Address, n.Error),
			NodeFenced:      fmt.Sprintf("node %d is fenced: the controller has not heard from it", id),
			NodeMissing:     fmt.Sprintf("node %d holds replicas or a vote but is not registered", id),
		}[n.State]
		if by := f.seenAs(id, chronikapi.PeerEmpty); len(by) > 0 {
			what = fmt.Sprintf("node %d runs on an empty directory, as node %d sees it: that is not the disk which is a member of this cluster", id, by[0])
		}
		s.add(Degraded, what, f.remedy(id))
	}
}

// seenAs lists the nodes that answer and for which a node is in a state.
func (f *facts) seenAs(id int32, state string) (by []int32) {
	for _, other := range slices.Sorted(maps.Keys(f.nodes)) {
		if info := f.nodes[other].info; info != nil && slices.ContainsFunc(info.Peers, func(p chronikapi.Peer) bool { return p.NodeID == id && p.State == state }) {
			by = append(by, other)
		}
	}
	return by
}

// nodeNames is nodes in words.
func nodeNames(ids []int32) string {
	if len(ids) == 1 {
		return fmt.Sprintf("node %d", ids[0])
	}
	return "nodes " + list(ids)
}

// banned reports whether others refuse a node for good.
func (f *facts) banned(id int32) bool { return len(f.seenAs(id, chronikapi.PeerBanned)) > 0 }

// remedy is what to do about a node that is not up, or that is refused.
func (f *facts) remedy(id int32) string {
	switch {
	case f.banned(id):
		return "keep the other nodes running: nothing that is done on this one helps, and taking in a new disk is not built yet (docs/operations.md)"
	case len(f.seenAs(id, chronikapi.PeerEmpty)) > 0:
		return fmt.Sprintf("stop node %d, put its data directory back as it was, and start it again", id)
	}
	return fmt.Sprintf("start node %d again: chronik-server start --config FILE", id)
}

// nameCause replaces the advice of the finding about offline partitions, the newest one, by what brings them back, where that is known.
func (s *Status) nameCause(f *facts, offline bool, cause map[int32]bool) {
	var down []int32
	for id := range cause {
		if cause[id] {
			down = append(down, id)
		}
	}
	if !offline || len(down) == 0 {
		return
	}
	slices.Sort(down)
	next := f.remedy(down[0])
	if len(down) > 1 {
		next = fmt.Sprintf("bring back nodes %s, which have their replicas; begin with node %d", list(down), down[0])
	}
	s.Findings[len(s.Findings)-1].Next = next
}

// catchUp is what to do about replicas that are not in sync.
func (s *Status) catchUp(f *facts) string {
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		if f.node(id).State != NodeUp {
			if f.banned(id) {
				return f.remedy(id)
			}
			return "they catch up by themselves once the node is back; chronikctl partition status shows which"
		}
	}
	return "they catch up by themselves; chronikctl partition status shows which"
}

// list is ids in words.
func list(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = fmt.Sprint(id)
	}
	return strings.Join(words, ", ")
}

// head is the end of the committed metadata log as far as anybody says, -1 if nobody does.
func (f *facts) head() int64 {
	head := int64(-1)
	if f.quorum != nil {
		head = f.quorum.HighWatermark
	}
	for _, n := range f.nodes {
		if n.info != nil {
			head = max(head, n.info.Commit)
		}
	}
	return head
}

// judgeHashes compares what must be equal: the hash of one entry on all nodes, and of images at the same offset.
func (s *Status) judgeHashes(f *facts) {
	entries, images := map[string][]int32{}, map[int64]map[string][]int32{}
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		n := f.nodes[id]
		if n.EntryHash != "" {
			entries[n.EntryHash] = append(entries[n.EntryHash], id)
			s.HashOffset = n.HashOffset
		}
		if n.ImageHash != "" {
			if images[n.ImageOffset] == nil {
				images[n.ImageOffset] = map[string][]int32{}
			}
			images[n.ImageOffset][n.ImageHash] = append(images[n.ImageOffset][n.ImageHash], id)
		}
	}
	if len(entries) > 1 {
		s.HashesDiffer = true
		s.add(Unavailable, fmt.Sprintf("nodes do not agree on the metadata log at offset %d: %s", s.HashOffset, groups(entries)), "chronikctl metadata verify")
	}
	for _, offset := range slices.Sorted(maps.Keys(images)) {
		if len(images[offset]) > 1 {
			s.HashesDiffer = true
			s.add(Unavailable, fmt.Sprintf("nodes drew different conclusions from the metadata log up to offset %d: %s", offset, groups(images[offset])), "chronikctl metadata verify")
		}
	}
}

// groups lists which nodes have which hash.
func groups(byHash map[string][]int32) string {
	var parts []string
	for _, h := range slices.Sorted(maps.Keys(byHash)) {
		parts = append(parts, fmt.Sprintf("%.8s on %v", h, byHash[h]))
	}
	return strings.Join(parts, ", ")
}

func role(f *facts, controller, id int32) string {
	if f.quorum == nil {
		if id == controller {
			return "controller"
		}
		return "broker"
	}
	switch {
	case id == controller:
		return "controller"
	case slices.Contains(f.quorum.Voters, id):
		return "voter"
	}
	return "observer"
}

// judgeQuorum checks the voters and lowers the failures tolerated to what they allow.
func (s *Status) judgeQuorum(f *facts, tolerates *int) {
	if s.Controller < 0 {
		s.add(Unavailable, "there is no controller: topics, settings and leaders cannot change", "chronikctl status --watch")
	}
	if f.quorum == nil || len(f.quorum.Voters) == 0 {
		return
	}
	live, answer := 0, "answer"
	var down []int32
	for _, id := range f.quorum.Voters {
		switch {
		case f.banned(id):
			answer = "count"
		case f.node(id).State == NodeUp:
			live++
		default:
			down = append(down, id)
		}
	}
	majority := len(f.quorum.Voters)/2 + 1
	spare := live - majority
	if spare < 0 {
		next := fmt.Sprintf("bring back %d of nodes %s; a majority is enough", -spare, list(down))
		if len(down) < -spare {
			next = "see docs/operations.md: without a majority of the disks there is no way to go on"
		}
		s.add(Unavailable, fmt.Sprintf("only %d of %d voters %s: metadata cannot change", live, len(f.quorum.Voters), answer), next)
	}
	if spare = max(spare, 0); *tolerates < 0 || spare < *tolerates {
		*tolerates = spare
	}
}

func (s *Status) add(severity State, text, next string) {
	s.Findings = append(s.Findings, Finding{severity, text, next})
}

type partitionName struct {
	name     string
	internal bool
}

// addPartitionFinding names some of the partitions, the users' own first.
func addPartitionFinding(s *Status, severity State, names []partitionName, what, effect, next string) {
	if len(names) == 0 {
		return
	}
	sorted := slices.Clone(names)
	slices.SortStableFunc(sorted, func(a, b partitionName) int {
		switch {
		case a.internal == b.internal:
			return 0
		case b.internal:
			return -1
		}
		return 1
	})
	named := make([]string, len(sorted))
	for i, n := range sorted {
		named[i] = n.name
	}
	noun := "partitions have"
	if len(names) == 1 {
		noun = "partition has"
	}
	s.add(severity, fmt.Sprintf("%d %s %s, %s: %s", len(names), noun, what, effect, some(named)), next)
}

func without(names []partitionName, others ...[]partitionName) []partitionName {
	drop := map[partitionName]bool{}
	for _, o := range others {
		for _, n := range o {
			drop[n] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(n partitionName) bool { return drop[n] })
}
