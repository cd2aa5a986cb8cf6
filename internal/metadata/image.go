package metadata

import (
	"cmp"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/chronik-io/chronik/internal/uuid"
	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Image is the state of the cluster after the event at Offset. It never changes; see the package comment.
type Image struct {
	offset      int64
	hash        Hash
	cluster     *Cluster
	voters      *voterSet
	producerIDs *producerIDs

	topics     *iradix.Tree[*Topic]          // by name
	topicIDs   *iradix.Tree[*Topic]          // by topic id
	collisions *iradix.Tree[string]          // names with '.' or '_', by the name with '_' for both
	tombstones *iradix.Tree[*Tombstone]      // by topic id
	brokers    *iradix.Tree[*Broker]         // by big-endian broker id
	configs    *iradix.Tree[*configResource] // by entity key

	partitionCount int
}

var emptyImage = &Image{
	offset:      -1,
	cluster:     &Cluster{},
	voters:      &voterSet{},
	producerIDs: &producerIDs{},
	topics:      iradix.New[*Topic](),
	topicIDs:    iradix.New[*Topic](),
	collisions:  iradix.New[string](),
	tombstones:  iradix.New[*Tombstone](),
	brokers:     iradix.New[*Broker](),
	configs:     iradix.New[*configResource](),
}

// Empty is the image before the first event: nothing founded, offset -1.
func Empty() *Image { return emptyImage }

// Offset is the log offset of the last entry this image contains, -1 for none.
func (im *Image) Offset() int64 { return im.offset }

// WithOffset is the same image at a later offset: for log entries that are not events.
func (im *Image) WithOffset(offset int64) *Image {
	next := *im
	next.offset = offset
	return &next
}

// Hash is equal for images of equal content. It does not include the offset.
func (im *Image) Hash() Hash { return im.hash }

// Cluster is what holds for the whole cluster. Its ID is empty before the founding.
func (im *Image) Cluster() *Cluster { return im.cluster }

// Voters are the members that count for commits, in ascending order of node ids.
func (im *Image) Voters() []Voter { return im.voters.Voters }

// NextProducerID is the first producer id that was never given out.
func (im *Image) NextProducerID() int64 { return im.producerIDs.Next }

// Topic returns the topic of that name, or nil.
func (im *Image) Topic(name string) *Topic {
	t, _ := im.topics.Get([]byte(name))
	return t
}

// CollidingTopic returns the name of the topic with which a topic of this name would collide, "" for none: names that differ only in
// '.' and '_' are one name to metric systems. A topic collides with itself.
func (im *Image) CollidingTopic(name string) string {
	if !canCollide(name) {
		return ""
	}
	other, _ := im.collisions.Get([]byte(unify(name)))
	return other
}

// TopicByID returns the topic of that id, or nil.
func (im *Image) TopicByID(id uuid.UUID) *Topic {
	t, _ := im.topicIDs.Get(idIndex(id))
	return t
}

// Partition returns one partition with its topic, or nils.
func (im *Image) Partition(id uuid.UUID, n int32) (*Topic, *Partition) {
	t := im.TopicByID(id)
	if t == nil {
		return nil, nil
	}
	return t, t.Partition(n)
}

// Topics are all topics in the order of their names.
func (im *Image) Topics() iter.Seq[*Topic] { return walk(im.topics) }

// TopicsFrom are the topics whose name is not below from, in the order of their names.
func (im *Image) TopicsFrom(from string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		it := im.topics.Root().Iterator()
		it.SeekLowerBound([]byte(from))
		for _, t, ok := it.Next(); ok; _, t, ok = it.Next() {
			if !yield(t) {
				return
			}
		}
	}
}

// TopicCount is the number of topics.
func (im *Image) TopicCount() int { return im.topics.Len() }

// PartitionCount is the number of partitions of all topics.
func (im *Image) PartitionCount() int { return im.partitionCount }

// Tombstone returns what is known of a deleted topic, or nil.
func (im *Image) Tombstone(id uuid.UUID) *Tombstone {
	t, _ := im.tombstones.Get(idIndex(id))
	return t
}

// Tombstones are the deleted topics in the order of their ids.
func (im *Image) Tombstones() iter.Seq[*Tombstone] { return walk(im.tombstones) }

// TombstoneCount is the number of deleted topics that are remembered.
func (im *Image) TombstoneCount() int { return im.tombstones.Len() }

// Broker returns the registered broker, or nil.
func (im *Image) Broker(id int32) *Broker {
	b, _ := im.brokers.Get(brokerIndex(id))
	return b
}

// Brokers are the registered brokers in ascending order of their ids.
func (im *Image) Brokers() iter.Seq[*Broker] { return walk(im.brokers) }

// BrokerCount is the number of registered brokers, fenced ones included.
func (im *Image) BrokerCount() int { return im.brokers.Len() }

// Config returns the settings that were made for a resource itself; nil if none. The map must not be changed.
func (im *Image) Config(t ResourceType, name string) map[string]string {
	var scratch [64]byte // looked up for every setting of a topic: no garbage
	c, ok := im.configs.Get(Resource{t, name}.appendKey(scratch[:0]))
	if !ok {
		return nil
	}
	return c.values
}

// Configs are all resources with settings of their own, in the order of their keys.
func (im *Image) Configs() iter.Seq2[Resource, map[string]string] {
	return func(yield func(Resource, map[string]string) bool) {
		for c := range walk(im.configs) {
			if !yield(c.Resource, c.values) {
				return
			}
		}
	}
}

func walk[T any](t *iradix.Tree[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		it := t.Root().Iterator()
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if !yield(v) {
				return
			}
		}
	}
}

// brokerIndex orders brokers by id; ids are not negative.
func brokerIndex(id int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(id)) }

// idIndex spells an id in 32 half bytes: inserting a random key copies the nodes on its path, and nodes of 16 edges are smaller than
// nodes of 256.
func idIndex(id uuid.UUID) []byte {
	k := make([]byte, 0, 2*len(id))
	for _, b := range id {
		k = append(k, b>>4, b&15)
	}
	return k
}

func sortVoters(v []Voter) []Voter {
	return slices.SortedFunc(slices.Values(v), func(a, b Voter) int { return cmp.Compare(a.NodeID, b.NodeID) })
}
