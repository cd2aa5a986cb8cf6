package metadata

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/chronik-io/chronik/internal/uuid"
	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// An image as bytes, big endian:
//
//	magic "CHRKIMG1"   8 bytes
//	offset             8   log offset of the last entry in the image, -1 for none
//	records            4   how many follow
//	record             4 length of the key, 4 length of the value, key, value; in the order of the keys
//	hash              16   the image hash
//	crc32c             4   of all before
//
// Equal images at equal offsets are equal bytes.
const (
	snapshotMagic = "CHRKIMG1"
	// maxSnapshotKey and maxSnapshotValue bound what a damaged length can make a reader allocate.
	maxSnapshotKey   = 64 << 10
	maxSnapshotValue = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode writes the image as a snapshot.
func (im *Image) Encode(w io.Writer) error {
	records := slices.SortedFunc(im.records, func(x, y record) int { return strings.Compare(x.key, y.key) })
	crc := crc32.New(castagnoli)
	bw := bufio.NewWriterSize(io.MultiWriter(w, crc), 64<<10)
	head := append(make([]byte, 0, 20), snapshotMagic...)
	head = binary.BigEndian.AppendUint64(head, uint64(im.offset))
	head = binary.BigEndian.AppendUint32(head, uint32(len(records)))
	bw.Write(head) // a bufio.Writer keeps its first error for Flush
	for _, r := range records {
		var sizes [8]byte
		binary.BigEndian.PutUint32(sizes[:4], uint32(len(r.key)))
		binary.BigEndian.PutUint32(sizes[4:], uint32(len(r.value)))
		bw.Write(sizes[:])
		bw.WriteString(r.key)
		bw.Write(r.value)
	}
	hash := im.hash.Bytes()
	bw.Write(hash[:])
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("write image snapshot: %w", err)
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, crc.Sum32())); err != nil {
		return fmt.Errorf("write image snapshot: %w", err)
	}
	return nil
}

// Decode reads a snapshot and proves it: checksum, image hash and the invariants of every partition. Bytes behind it are left unread
// except for buffering.
func Decode(r io.Reader) (*Image, error) {
	crc := crc32.New(castagnoli)
	br := bufio.NewReaderSize(r, 64<<10)
	in := io.TeeReader(br, crc)
	var head [20]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, fmt.Errorf("read snapshot header: %w: %w", ErrSnapshot, err)
	}
	if string(head[:8]) != snapshotMagic {
		return nil, fmt.Errorf("read snapshot header: %w: it begins with %q", ErrSnapshot, head[:8])
	}
	ld := newLoader(int64(binary.BigEndian.Uint64(head[8:])))
	last := ""
	for range binary.BigEndian.Uint32(head[16:]) {
		rec, err := readRecord(in)
		if err != nil {
			return nil, err
		}
		if rec.key <= last {
			return nil, fmt.Errorf("read snapshot: %w: record %q after %q", ErrSnapshot, rec.key, last)
		}
		last = rec.key
		if err := ld.add(rec); err != nil {
			return nil, fmt.Errorf("read snapshot record %q: %w: %w", rec.key, ErrSnapshot, err)
		}
	}
	var hash [16]byte
	if _, err := io.ReadFull(in, hash[:]); err != nil {
		return nil, fmt.Errorf("read snapshot hash: %w: %w", ErrSnapshot, err)
	}
	sum := crc.Sum32()
	var tail [4]byte
	if _, err := io.ReadFull(br, tail[:]); err != nil {
		return nil, fmt.Errorf("read snapshot checksum: %w: %w", ErrSnapshot, err)
	}
	if binary.BigEndian.Uint32(tail[:]) != sum {
		return nil, fmt.Errorf("read snapshot: %w: checksum differs", ErrSnapshot)
	}
	im, err := ld.image()
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w: %w", ErrSnapshot, err)
	}
	if im.hash != HashFromBytes(hash) {
		return nil, fmt.Errorf("read snapshot: %w: image hash is %s, the file says %s", ErrSnapshot, im.hash, HashFromBytes(hash))
	}
	return im, nil
}

func readRecord(in io.Reader) (record, error) {
	var sizes [8]byte
	if _, err := io.ReadFull(in, sizes[:]); err != nil {
		return record{}, fmt.Errorf("read snapshot record: %w: %w", ErrSnapshot, err)
	}
	k, v := binary.BigEndian.Uint32(sizes[:4]), binary.BigEndian.Uint32(sizes[4:])
	if k > maxSnapshotKey || v > maxSnapshotValue {
		return record{}, fmt.Errorf("read snapshot record: %w: %d bytes of key, %d of value", ErrSnapshot, k, v)
	}
	var b []byte
	var err error
	if size := int64(k) + int64(v); size <= 64<<10 {
		b = make([]byte, size)
		_, err = io.ReadFull(in, b)
	} else {
		b, err = io.ReadAll(io.LimitReader(in, size)) // grows with what is there, not with what a length says
	}
	if err != nil || len(b) != int(k)+int(v) {
		return record{}, fmt.Errorf("read snapshot record: %w: cut short", ErrSnapshot)
	}
	return record{string(b[:k]), b[k:]}, nil
}

// loader builds an image from its records.
type loader struct {
	im         *Image
	topics     *iradix.Txn[*Topic]
	topicIDs   *iradix.Txn[*Topic]
	collisions *iradix.Txn[string]
	tombstones *iradix.Txn[*Tombstone]
	brokers    *iradix.Txn[*Broker]
	configs    *iradix.Txn[*configResource]
	partitions map[string]map[int32]*Partition // by topic; keys are not in numeric order
}

func newLoader(offset int64) *loader {
	im := *emptyImage
	im.offset = offset
	return &loader{im: &im, topics: im.topics.Txn(), topicIDs: im.topicIDs.Txn(), collisions: im.collisions.Txn(), tombstones: im.tombstones.Txn(),
		brokers: im.brokers.Txn(), configs: im.configs.Txn(), partitions: make(map[string]map[int32]*Partition)}
}

// add takes one record. The hash is taken from the bytes read, so an entity that this build would write differently still counts as
// it was written; a build that does not know one of its fields refuses it.
func (l *loader) add(r record) error {
	h := r.hash()
	l.im.hash = l.im.hash.plus(h)
	kind, _, _ := strings.Cut(r.key, "/")
	switch kind {
	case keyCluster:
		l.im.cluster = &Cluster{hash: h}
		return strictUnmarshal(r.value, l.im.cluster)
	case keyVoters:
		l.im.voters = &voterSet{hash: h}
		return strictUnmarshal(r.value, l.im.voters)
	case keyProducerIDs:
		l.im.producerIDs = &producerIDs{hash: h}
		return strictUnmarshal(r.value, l.im.producerIDs)
	case "broker":
		b := &Broker{hash: h}
		if err := strictUnmarshal(r.value, b); err != nil {
			return err
		}
		l.brokers.Insert(brokerIndex(b.ID), b)
		return sameKey(r.key, brokerKey(b.ID))
	case "tombstone":
		t := &Tombstone{hash: h}
		if err := strictUnmarshal(r.value, t); err != nil {
			return err
		}
		l.tombstones.Insert(idIndex(t.ID), t)
		return sameKey(r.key, tombstoneKey(t.ID))
	case "config":
		return l.addConfig(r, h)
	case "topic":
		return l.addTopic(r, h)
	case "partition":
		return l.addPartition(r, h)
	}
	return ErrUnknownEvent
}

func sameKey(stored, derived string) error {
	if stored != derived {
		return fmt.Errorf("the value is that of %q", derived)
	}
	return nil
}

func (l *loader) addConfig(r record, h Hash) error {
	var v struct {
		Resource ResourceType      `json:"resource"`
		Name     string            `json:"name"`
		Values   map[string]string `json:"values"`
	}
	if res, values, ok := fastConfig(r.value); ok {
		v.Resource, v.Name, v.Values = res.Type, res.Name, values
	} else if err := strictUnmarshal(r.value, &v); err != nil {
		return err
	}
	l.configs.Insert([]byte(r.key), &configResource{Resource: Resource{v.Resource, v.Name}, values: v.Values, hash: h})
	return sameKey(r.key, Resource{v.Resource, v.Name}.Key())
}

func (l *loader) addTopic(r record, h Hash) error {
	var v struct {
		Name      string    `json:"name"`
		ID        uuid.UUID `json:"id"`
		Internal  bool      `json:"internal"`
		CreatedMs int64     `json:"createdMs"`
	}
	t := &Topic{}
	if fast, ok := fastTopic(r.value); ok {
		*t = fast
	} else if err := strictUnmarshal(r.value, &v); err != nil {
		return err
	} else {
		*t = Topic{Name: v.Name, ID: v.ID, Internal: v.Internal, CreatedMs: v.CreatedMs}
	}
	t.hash = h
	parts := l.partitions[t.Name]
	delete(l.partitions, t.Name)
	t.Partitions = make([]*Partition, len(parts))
	for n := range t.Partitions {
		p := parts[int32(n)]
		if p == nil {
			return fmt.Errorf("partition %d of %d is missing", n, len(parts))
		}
		t.Partitions[n] = p
	}
	l.im.partitionCount += len(parts)
	l.topics.Insert([]byte(t.Name), t)
	l.topicIDs.Insert(idIndex(t.ID), t)
	if canCollide(t.Name) {
		l.collisions.Insert([]byte(unify(t.Name)), t.Name)
	}
	return sameKey(r.key, topicKey(t.Name))
}

func (l *loader) addPartition(r record, h Hash) error {
	var v struct {
		Topic string `json:"topic"`
		N     int32  `json:"partition"`
		Partition
	}
	if topic, n, p, ok := fastPartition(r.value); ok {
		v.Topic, v.N, v.Partition = topic, n, p
	} else if err := strictUnmarshal(r.value, &v); err != nil {
		return err
	}
	if err := v.check(); err != nil {
		return err
	}
	if l.partitions[v.Topic] == nil {
		l.partitions[v.Topic] = make(map[int32]*Partition)
	}
	p := v.Partition
	p.hash = h
	l.partitions[v.Topic][v.N] = &p
	return sameKey(r.key, partitionKey(v.Topic, v.N))
}

func (l *loader) image() (*Image, error) {
	for topic := range l.partitions {
		return nil, fmt.Errorf("partitions of %q without the topic", topic)
	}
	im := l.im
	im.topics, im.topicIDs, im.collisions = l.topics.Commit(), l.topicIDs.Commit(), l.collisions.Commit()
	im.tombstones = l.tombstones.Commit()
	im.brokers, im.configs = l.brokers.Commit(), l.configs.Commit()
	return im, nil
}
