package metadata

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// minISRConfig is the setting whose change touches partitions; see ConfigChanged.
const minISRConfig = "min.insync.replicas"

func (e *ClusterFounded) apply(b *Batch) error {
	if b.next.cluster.ID != "" {
		return fmt.Errorf("the cluster is founded, as %q", b.next.cluster.ID)
	}
	if e.ClusterID == "" || !utf8.ValidString(e.ClusterID) {
		return errors.New("no cluster id")
	}
	for k := range e.Features {
		if !utf8.ValidString(k) {
			return fmt.Errorf("feature %q is not UTF-8", k)
		}
	}
	if err := checkVoters(e.Founders); err != nil {
		return err
	}
	c := &Cluster{ID: e.ClusterID, FoundedMs: e.TimestampMs, MetadataVersion: e.MetadataVersion,
		Features: maps.Clone(e.Features), Founders: sortVoters(e.Founders)}
	c.hash = c.entity().hash()
	b.exchange(b.next.cluster.hash, c.hash)
	b.next.cluster, b.cluster = c, true
	return nil
}

func checkVoters(voters []Voter) error {
	if len(voters) == 0 {
		return errors.New("no members")
	}
	for i, v := range voters {
		if v.NodeID < 0 || v.DiskID.IsZero() {
			return fmt.Errorf("member %d has no id or no disk id", v.NodeID)
		}
		if slices.ContainsFunc(voters[:i], func(o Voter) bool { return o.NodeID == v.NodeID || o.DiskID == v.DiskID }) {
			return fmt.Errorf("member %d stands there twice", v.NodeID)
		}
	}
	return nil
}

func (e *VotersChanged) apply(b *Batch) error {
	if err := checkVoters(e.Voters); err != nil {
		return err
	}
	old := b.next.voters
	came, went := 0, len(old.Voters)
	for _, v := range e.Voters {
		if slices.Contains(old.Voters, v) {
			went--
		} else {
			came++
		}
	}
	if len(old.Voters) > 0 && came+went > 1 {
		return fmt.Errorf("%d members come and %d go; one at a time", came, went)
	}
	cur := &voterSet{Voters: sortVoters(e.Voters)}
	cur.hash = cur.entity().hash()
	b.exchange(old.hash, cur.hash)
	b.next.voters, b.voters = cur, true
	return nil
}

func (e *ConfigChanged) apply(b *Batch) error {
	switch e.Resource {
	case ResourceTopic:
		if _, ok := b.topics.get([]byte(e.Name)); !ok {
			return errors.New("no such topic")
		}
	case ResourceBroker, ResourceGroup, ResourceClientMetrics:
		if !utf8.ValidString(e.Name) {
			return errors.New("the name is not UTF-8")
		}
	default:
		return fmt.Errorf("unknown resource type %q", e.Resource)
	}
	if err := checkStrings(e.Set); err != nil {
		return err
	}
	r := Resource{e.Resource, e.Name}
	next := maps.Clone(b.config(r))
	if next == nil {
		next = make(map[string]string, len(e.Set))
	}
	for _, k := range e.Remove {
		if _, both := e.Set[k]; both {
			return fmt.Errorf("setting %q is both set and removed", k)
		}
		delete(next, k)
	}
	maps.Copy(next, e.Set)
	if old := b.config(r); old[minISRConfig] != next[minISRConfig] {
		if err := b.clearELR(r); err != nil {
			return err
		}
	}
	b.setConfig(r, next)
	return nil
}

// clearELR empties the ELR of the partitions whose min.insync.replicas comes from the resource.
func (b *Batch) clearELR(r Resource) error {
	var touched []partitionID
	visit := func(t *Topic) error {
		for n, p := range t.Partitions {
			if len(p.ISR) == 0 {
				return fmt.Errorf("%s cannot change while the ISR of %s-%d is empty", minISRConfig, t.Name, n)
			}
			if len(p.ELR) > 0 {
				touched = append(touched, partitionID{t.ID, int32(n)})
			}
		}
		return nil
	}
	switch r.Type {
	case ResourceTopic:
		t, _ := b.topics.get([]byte(r.Name))
		if err := visit(t); err != nil {
			return err
		}
	case ResourceBroker:
		it := b.topics.root().Iterator()
		for _, t, ok := it.Next(); ok; _, t, ok = it.Next() {
			if _, own := b.config(Resource{ResourceTopic, t.Name})[minISRConfig]; own {
				continue
			}
			if err := visit(t); err != nil {
				return err
			}
		}
	}
	for _, id := range touched {
		t := b.topicByID(id.topic)
		p := t.Partitions[id.partition].clone()
		p.ELR = nil
		p.PartitionEpoch++
		b.setPartition(t, id.partition, p)
	}
	return nil
}
