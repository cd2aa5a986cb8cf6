package metadata

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/chronik-io/chronik/internal/uuid"
	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// PartitionChange is a partition that differs between two images. Old is nil for an added one.
type PartitionChange struct {
	Topic     *Topic
	Partition int32
	Old, New  *Partition
}

// Delta lists what differs between the image a batch began with and the one it ended with. Take deletions first: a topic that was
// deleted and made again under its name is in both lists, under two ids.
type Delta struct {
	// TopicsDeleted are the topics as they last were, those included that the same batch had created.
	TopicsDeleted []*Topic
	// TopicsCreated are the topics as they now are.
	TopicsCreated []*Topic
	// Partitions are the changed and added partitions of all other topics, by topic name and number.
	Partitions []PartitionChange
	// Configs are the resources whose settings changed, those of created and deleted topics included, by key.
	Configs []Resource
	// Brokers are the ids of brokers that came, went or changed, ascending.
	Brokers                      []int32
	Cluster, Voters, ProducerIDs bool
}

// Empty reports whether nothing differs.
func (d *Delta) Empty() bool {
	return len(d.TopicsDeleted)+len(d.TopicsCreated)+len(d.Partitions)+len(d.Configs)+len(d.Brokers) == 0 &&
		!d.Cluster && !d.Voters && !d.ProducerIDs
}

// Apply is the next image after one entry, in time that depends on the size of the change only. The image itself stays as it was.
// ErrInvalid means that the event is refused.
func Apply(im *Image, e Entry) (*Image, *Delta, error) {
	b := NewBatch(im)
	if err := b.Apply(e.Offset, e.Event); err != nil {
		return nil, nil, err
	}
	next, d := b.Done()
	return next, d, nil
}

// Batch applies many events to an image in one step, which saves the copies between them. After an error the events before the
// refused one are still in the batch, and the refused one is not.
type Batch struct {
	next        Image
	topics      table[*Topic]
	topicIDs    table[*Topic]
	collisions  table[string]
	tombstones  table[*Tombstone]
	brokers     table[*Broker]
	configs     table[*configResource]
	owned       map[uuid.UUID]*Topic // topics this batch has copied and may write to
	created     map[uuid.UUID]bool
	deleted     []*Topic
	oldParts    map[partitionID]*Partition
	configKeys  map[Resource]bool
	brokerIDs   map[int32]bool
	cluster     bool
	voters      bool
	producerIDs bool
	offset      int64 // of the event being applied
}

type partitionID struct {
	topic     uuid.UUID
	partition int32
}

// table is a tree with a transaction on it that begins at the first write.
type table[T any] struct {
	tree *iradix.Tree[T]
	txn  *iradix.Txn[T]
}

func (t *table[T]) get(k []byte) (T, bool) {
	if t.txn != nil {
		return t.txn.Get(k)
	}
	return t.tree.Get(k)
}

func (t *table[T]) put(k []byte, v T) {
	if t.txn == nil {
		t.txn = t.tree.Txn()
	}
	t.txn.Insert(k, v)
}

func (t *table[T]) remove(k []byte) {
	if t.txn == nil {
		t.txn = t.tree.Txn()
	}
	t.txn.Delete(k)
}

func (t *table[T]) commit() *iradix.Tree[T] {
	if t.txn != nil {
		t.tree, t.txn = t.txn.Commit(), nil
	}
	return t.tree
}

// root reads the table as it is now, written parts included.
func (t *table[T]) root() *iradix.Node[T] {
	if t.txn != nil {
		return t.txn.Root()
	}
	return t.tree.Root()
}

// NewBatch begins a batch on an image.
func NewBatch(im *Image) *Batch {
	return &Batch{
		next:       *im,
		topics:     table[*Topic]{tree: im.topics},
		topicIDs:   table[*Topic]{tree: im.topicIDs},
		collisions: table[string]{tree: im.collisions},
		tombstones: table[*Tombstone]{tree: im.tombstones},
		brokers:    table[*Broker]{tree: im.brokers},
		configs:    table[*configResource]{tree: im.configs},
	}
}

// Apply adds one event at its offset, which is above all before.
func (b *Batch) Apply(offset int64, ev Event) error {
	if offset <= b.next.offset {
		return fmt.Errorf("apply %s at offset %d: %w: the image is at %d", ev.Type(), offset, ErrInvalid, b.next.offset)
	}
	b.offset = offset
	if err := ev.apply(b); err != nil {
		return fmt.Errorf("apply %s %s at offset %d: %w: %w", ev.Type(), ev.Key(), offset, ErrInvalid, err)
	}
	b.next.offset = offset
	return nil
}

// Advance moves the offset for a log entry that is not an event.
func (b *Batch) Advance(offset int64) { b.next.offset = max(b.next.offset, offset) }

// Done ends the batch. It must not be used afterwards.
func (b *Batch) Done() (*Image, *Delta) {
	im := b.next
	im.topics, im.topicIDs, im.collisions = b.topics.commit(), b.topicIDs.commit(), b.collisions.commit()
	im.tombstones, im.brokers, im.configs = b.tombstones.commit(), b.brokers.commit(), b.configs.commit()
	d := &Delta{TopicsDeleted: b.deleted, Cluster: b.cluster, Voters: b.voters, ProducerIDs: b.producerIDs}
	for id := range b.created {
		if t, ok := im.topicIDs.Get(idIndex(id)); ok {
			d.TopicsCreated = append(d.TopicsCreated, t)
		}
	}
	byName := func(x, y *Topic) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), cmp.Compare(x.CreatedMs, y.CreatedMs))
	}
	slices.SortStableFunc(d.TopicsDeleted, byName)
	slices.SortFunc(d.TopicsCreated, byName)
	for id, old := range b.oldParts {
		if t, ok := im.topicIDs.Get(idIndex(id.topic)); ok && !b.created[id.topic] {
			d.Partitions = append(d.Partitions, PartitionChange{Topic: t, Partition: id.partition, Old: old, New: t.Partition(id.partition)})
		}
	}
	slices.SortFunc(d.Partitions, func(x, y PartitionChange) int {
		return cmp.Or(strings.Compare(x.Topic.Name, y.Topic.Name), cmp.Compare(x.Partition, y.Partition))
	})
	for r := range b.configKeys {
		d.Configs = append(d.Configs, r)
	}
	slices.SortFunc(d.Configs, func(x, y Resource) int { return strings.Compare(x.Key(), y.Key()) })
	for id := range b.brokerIDs {
		d.Brokers = append(d.Brokers, id)
	}
	slices.Sort(d.Brokers)
	return &im, d
}

// exchange replaces an entity's hash in the sum.
func (b *Batch) exchange(old, cur Hash) { b.next.hash = b.next.hash.minus(old).plus(cur) }

func (b *Batch) topicByID(id uuid.UUID) *Topic {
	if t := b.owned[id]; t != nil {
		return t
	}
	t, _ := b.topicIDs.get(idIndex(id))
	return t
}

func (b *Batch) broker(id int32) *Broker {
	v, _ := b.brokers.get(brokerIndex(id))
	return v
}

// own returns a copy of the topic that this batch may write to, put in place of the topic. The copy has room for more partitions.
func (b *Batch) own(t *Topic, more int) *Topic {
	if o := b.owned[t.ID]; o != nil {
		return o
	}
	c := *t
	c.Partitions = append(make([]*Partition, 0, len(t.Partitions)+more), t.Partitions...)
	b.putTopic(&c)
	return &c
}

func (b *Batch) putTopic(t *Topic) {
	if b.owned == nil {
		b.owned = make(map[uuid.UUID]*Topic)
	}
	b.owned[t.ID] = t
	b.topics.put([]byte(t.Name), t)
	b.topicIDs.put(idIndex(t.ID), t)
}

// setPartition replaces or appends a partition of a topic, and keeps hash, count and delta.
func (b *Batch) setPartition(t *Topic, n int32, p *Partition) {
	t = b.own(t, 0)
	old := t.Partition(n)
	p.hash = p.entity(t.Name, n).hash()
	if old == nil {
		t.Partitions = append(t.Partitions, p)
		b.next.partitionCount++
		b.exchange(Hash{}, p.hash)
	} else {
		t.Partitions[n] = p
		b.exchange(old.hash, p.hash)
	}
	if b.created[t.ID] {
		return
	}
	if b.oldParts == nil {
		b.oldParts = make(map[partitionID]*Partition)
	}
	id := partitionID{t.ID, n}
	if _, ok := b.oldParts[id]; !ok {
		b.oldParts[id] = old
	}
}

func (b *Batch) setBroker(id int32, v *Broker) {
	old := b.broker(id)
	if old != nil {
		b.exchange(old.hash, Hash{})
	}
	if v == nil {
		b.brokers.remove(brokerIndex(id))
	} else {
		v.hash = v.entity().hash()
		b.exchange(Hash{}, v.hash)
		b.brokers.put(brokerIndex(id), v)
	}
	if b.brokerIDs == nil {
		b.brokerIDs = make(map[int32]bool)
	}
	b.brokerIDs[id] = true
}

// config returns the settings of a resource; the map must not be written.
func (b *Batch) config(r Resource) map[string]string {
	c, ok := b.configs.get([]byte(r.Key()))
	if !ok {
		return nil
	}
	return c.values
}

// setConfig replaces the settings of a resource; empty ones leave no entity.
func (b *Batch) setConfig(r Resource, values map[string]string) {
	key := []byte(r.Key())
	old, had := b.configs.get(key)
	if had {
		b.exchange(old.hash, Hash{})
	}
	switch {
	case len(values) > 0:
		c := &configResource{Resource: r, values: values}
		c.hash = c.entity().hash()
		b.exchange(Hash{}, c.hash)
		b.configs.put(key, c)
	case had:
		b.configs.remove(key)
	default:
		return
	}
	if b.configKeys == nil {
		b.configKeys = make(map[Resource]bool)
	}
	b.configKeys[r] = true
}
