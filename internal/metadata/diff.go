package metadata

import (
	"cmp"
	"slices"
)

// Change is one entity that differs between two images. Before and After are its canonical JSON; nil where it does not exist.
type Change struct {
	Key           string
	Before, After []byte
}

// Diff lists the entities that differ, by key. Entities that the images share, as they do when one came from the other, cost a
// comparison of pointers only.
func Diff(a, b *Image) []Change {
	var d differ
	d.one(a.cluster.hash, b.cluster.hash, a.cluster.entity, b.cluster.entity)
	d.one(a.voters.hash, b.voters.hash, a.voters.entity, b.voters.entity)
	d.one(a.producerIDs.hash, b.producerIDs.hash, a.producerIDs.entity, b.producerIDs.entity)
	merge(slices.Collect(a.Brokers()), slices.Collect(b.Brokers()),
		func(x, y *Broker) int { return cmp.Compare(x.ID, y.ID) },
		func(x, y *Broker) { d.pair(entityOf(x), entityOf(y)) })
	merge(slices.Collect(walk(a.configs)), slices.Collect(walk(b.configs)),
		func(x, y *configResource) int { return cmp.Compare(x.Key(), y.Key()) },
		func(x, y *configResource) { d.pair(entityOf(x), entityOf(y)) })
	merge(slices.Collect(a.Tombstones()), slices.Collect(b.Tombstones()),
		func(x, y *Tombstone) int { return slices.Compare(x.ID[:], y.ID[:]) },
		func(x, y *Tombstone) { d.pair(entityOf(x), entityOf(y)) })
	merge(slices.Collect(a.Topics()), slices.Collect(b.Topics()),
		func(x, y *Topic) int { return cmp.Compare(x.Name, y.Name) }, d.topics)
	slices.SortFunc(d.changes, func(x, y Change) int { return cmp.Compare(x.Key, y.Key) })
	return d.changes
}

type differ struct{ changes []Change }

// one compares an entity that every image has; the zero hash stands for one that was never set.
func (d *differ) one(a, b Hash, before, after func() record) {
	if a == b {
		return
	}
	var x, y *record
	if (a != Hash{}) {
		r := before()
		x = &r
	}
	if (b != Hash{}) {
		r := after()
		y = &r
	}
	d.pair(x, y)
}

// pair adds what became of an entity; nil is one that does not exist.
func (d *differ) pair(x, y *record) {
	switch {
	case x == nil && y == nil:
	case x == nil:
		d.changes = append(d.changes, Change{Key: y.key, After: y.value})
	case y == nil:
		d.changes = append(d.changes, Change{Key: x.key, Before: x.value})
	case string(x.value) != string(y.value):
		d.changes = append(d.changes, Change{Key: x.key, Before: x.value, After: y.value})
	}
}

func (d *differ) topics(x, y *Topic) {
	d.pair(entityOf(x), entityOf(y))
	name, n := "", 0
	for _, t := range [...]*Topic{x, y} {
		if t != nil {
			name, n = t.Name, max(n, len(t.Partitions))
		}
	}
	for i := range int32(n) {
		before, after := partitionOf(x, i), partitionOf(y, i)
		if before == after {
			continue
		}
		d.pair(before.record(name, i), after.record(name, i))
	}
}

func partitionOf(t *Topic, n int32) *Partition {
	if t == nil {
		return nil
	}
	return t.Partition(n)
}

func (p *Partition) record(topic string, n int32) *record {
	if p == nil {
		return nil
	}
	r := p.entity(topic, n)
	return &r
}

func entityOf[T any, P interface {
	*T
	entity() record
}](v P) *record {
	if v == nil {
		return nil
	}
	r := v.entity()
	return &r
}

// merge walks two sorted lists together and reports what is not the same pointer in both.
func merge[T any](a, b []*T, order func(x, y *T) int, differs func(x, y *T)) {
	for len(a) > 0 || len(b) > 0 {
		c := 0
		switch {
		case len(a) == 0:
			c = 1
		case len(b) == 0:
			c = -1
		default:
			c = order(a[0], b[0])
		}
		switch {
		case c < 0:
			differs(a[0], nil)
			a = a[1:]
		case c > 0:
			differs(nil, b[0])
			b = b[1:]
		default:
			if a[0] != b[0] {
				differs(a[0], b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
}
