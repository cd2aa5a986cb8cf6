package metadata

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/chronik-io/chronik/internal/uuid"
)

// source draws events that fit the image at hand; about one in ten does not fit, which Apply must notice.
type source struct {
	rng *rand.Rand
	ids uint32
}

func newSource(seed uint64) *source { return &source{rng: rand.New(rand.NewPCG(seed, 1))} }

func (s *source) id() uuid.UUID {
	s.ids++
	return uuid.UUID{0: 7, 13: byte(s.ids >> 16), 14: byte(s.ids >> 8), 15: byte(s.ids)}
}

func (s *source) pick(n int) int { return s.rng.IntN(n) }

func (s *source) topic(im *Image) *Topic {
	all := slices.Collect(im.Topics())
	if len(all) == 0 {
		return nil
	}
	return all[s.pick(len(all))]
}

func (s *source) replicas(im *Image) []int32 {
	var ids []int32
	for b := range im.Brokers() {
		ids = append(ids, b.ID)
	}
	s.rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	return ids[:1+s.pick(len(ids))]
}

func (s *source) state(im *Image) PartitionState {
	r := s.replicas(im)
	return PartitionState{Replicas: r, ISR: r, Leader: r[s.pick(len(r))]}
}

func (s *source) broker(im *Image) *Broker {
	all := slices.Collect(im.Brokers())
	return all[s.pick(len(all))]
}

// event draws one event for the image.
func (s *source) event(im *Image) Event {
	if im.BrokerCount() == 0 || s.pick(20) == 0 {
		id := int32(s.pick(5))
		return &BrokerRegistered{BrokerID: id, BrokerEpoch: im.Offset() + 1, Incarnation: s.id(), DiskID: s.id(), Rack: fmt.Sprint("r", id%2),
			Endpoints: []Endpoint{{ListenerKafka, "127.0.0.1", 9092}}, Fenced: s.pick(2) == 0}
	}
	t := s.topic(im)
	if t == nil || s.pick(6) == 0 {
		e := &TopicCreated{Name: fmt.Sprintf("t.%d", s.pick(40)), TopicID: s.id(), TimestampMs: int64(s.pick(1e6)), Configs: map[string]string{}}
		for range 1 + s.pick(5) {
			e.Partitions = append(e.Partitions, s.state(im))
		}
		if s.pick(2) == 0 {
			e.Configs["retention.ms"] = fmt.Sprint(s.pick(9))
		}
		return e
	}
	n := int32(s.pick(len(t.Partitions)))
	p := t.Partitions[n]
	switch s.pick(12) {
	case 0:
		return &TopicDeleted{Name: t.Name, TopicID: t.ID, TimestampMs: int64(s.pick(1e6))}
	case 1:
		return &PartitionsAdded{Name: t.Name, TopicID: t.ID, First: int32(len(t.Partitions)), Partitions: []PartitionState{s.state(im), s.state(im)}}
	case 2:
		b := s.broker(im)
		if b.Fenced {
			return &BrokerUnfenced{b.ID, b.Epoch}
		}
		return &BrokerFenced{b.ID, b.Epoch}
	case 3:
		b := s.broker(im)
		return &ProducerIDsAllocated{b.ID, b.Epoch, im.NextProducerID(), im.NextProducerID() + 1000}
	case 4:
		return &ConfigChanged{Resource: ResourceTopic, Name: t.Name, Set: map[string]string{minISRConfig: fmt.Sprint(1 + s.pick(3))}, Remove: []string{"x"}}
	case 5:
		return &ConfigChanged{Resource: ResourceBroker, Name: "", Set: map[string]string{"a": fmt.Sprint(s.pick(3))}, Remove: []string{minISRConfig}}
	case 6:
		for tomb := range im.Tombstones() {
			return &TombstonesPurged{[]uuid.UUID{tomb.ID}}
		}
		fallthrough
	case 7:
		b := s.broker(im)
		return &BrokerUnregistered{b.ID, b.Epoch}
	case 8:
		r := s.replicas(im)
		return &AssignPartition{Name: t.Name, TopicID: t.ID, Partition: n, Replicas: r, Adding: r[:s.pick(2)], PartitionEpoch: p.PartitionEpoch + 1}
	case 9, 10:
		isr := p.ISR[:s.pick(len(p.ISR)+1)]
		e := &SetLeader{Name: t.Name, TopicID: t.ID, Partition: n, Leader: NoLeader, ISR: isr, LeaderEpoch: p.LeaderEpoch + 1, PartitionEpoch: p.PartitionEpoch + 1}
		for _, r := range p.Replicas {
			if !slices.Contains(isr, r) && s.pick(2) == 0 {
				e.ELR = append(e.ELR, r)
			}
		}
		if len(isr) > 0 {
			e.Leader = isr[s.pick(len(isr))]
		}
		return e
	}
	e := &UpdateIsr{Name: t.Name, TopicID: t.ID, Partition: n, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch + 1}
	for _, r := range p.Replicas {
		if r == p.Leader || s.pick(3) > 0 {
			e.ISR = append(e.ISR, r)
			e.BrokerEpochs = append(e.BrokerEpochs, im.Broker(r).Epoch)
		}
	}
	return e
}

// recomputed is the hash from nothing but the content.
func recomputed(im *Image) Hash {
	var h Hash
	im.records(func(r record) bool { h = h.plus(r.hash()); return true })
	return h
}

// TestRandomHistories runs random events one by one and holds, after each: the incremental hash is that of the content; the event as
// read back from its JSON gives the same image; earlier images have not changed; the delta names exactly what differs. Then the same
// events in batches and through a snapshot in the middle give the same image.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(30) {
		s := newSource(seed)
		im, kept := Empty(), []*Image{Empty()}
		var history []Event
		refused := 0
		for range 300 {
			ev := s.event(im)
			next, d, err := Apply(im, Entry{im.Offset() + 1, ev})
			if err != nil {
				refused++
				continue
			}
			b := AppendEvent(nil, ev)
			back, err := DecodeEvent(b)
			if err != nil {
				t.Fatalf("seed %d: %v of %s", seed, err, b)
			}
			again, _, err := Apply(im, Entry{im.Offset() + 1, back})
			if err != nil || again.Hash() != next.Hash() {
				t.Fatalf("seed %d: %s read back gives another image: %v", seed, b, err)
			}
			if got := recomputed(next); got != next.Hash() {
				t.Fatalf("seed %d: after %s the hash is %s, the content's is %s", seed, b, next.Hash(), got)
			}
			checkDelta(t, im, next, d)
			im = next
			history = append(history, ev)
			if len(history)%37 == 0 {
				kept = append(kept, im)
			}
		}
		for _, old := range kept {
			if recomputed(old) != old.Hash() {
				t.Fatalf("seed %d: the image at %d has changed", seed, old.Offset())
			}
		}
		if refused == 300 || len(history) < 100 {
			t.Fatalf("seed %d: only %d events fitted", seed, len(history))
		}
		replay(t, s, im, history)
	}
}

// replay takes the same events another way: in batches of random size, with a snapshot and a start from it between them.
func replay(t *testing.T, s *source, want *Image, history []Event) {
	t.Helper()
	im := Empty()
	for len(history) > 0 {
		n := 1 + s.pick(len(history))
		b := NewBatch(im)
		for i, ev := range history[:n] {
			if err := b.Apply(im.Offset()+1+int64(i), ev); err != nil {
				t.Fatalf("in a batch: %v", err)
			}
		}
		before := im
		var d *Delta
		im, d = b.Done()
		checkDelta(t, before, im, d)
		im = reload(t, im)
		history = history[n:]
	}
	if im.Hash() != want.Hash() || im.Offset() != want.Offset() || im.PartitionCount() != want.PartitionCount() {
		t.Fatalf("another way gives %s at %d, not %s at %d", im.Hash(), im.Offset(), want.Hash(), want.Offset())
	}
	if d := Diff(im, want); len(d) != 0 {
		t.Fatalf("equal images differ in %v", d)
	}
}

// checkDelta compares a delta with what Diff finds.
func checkDelta(t *testing.T, old, cur *Image, d *Delta) {
	t.Helper()
	named := map[string]bool{}
	for _, x := range d.TopicsDeleted {
		named[topicKey(x.Name)] = true
		named[tombstoneKey(x.ID)] = true
		for n := range x.Partitions {
			named[partitionKey(x.Name, int32(n))] = true
		}
		if cur.TopicByID(x.ID) != nil {
			t.Fatalf("topic %s is said to be deleted", x.Name)
		}
	}
	for _, x := range d.TopicsCreated {
		named[topicKey(x.Name)] = true
		for n := range x.Partitions {
			named[partitionKey(x.Name, int32(n))] = true
		}
		if cur.TopicByID(x.ID) != x || old.TopicByID(x.ID) != nil {
			t.Fatalf("topic %s is said to be created", x.Name)
		}
	}
	for _, x := range d.Partitions {
		named[partitionKey(x.Topic.Name, x.Partition)] = true
		if _, p := old.Partition(x.Topic.ID, x.Partition); p != x.Old {
			t.Fatalf("old state of %s-%d is not the old image's", x.Topic.Name, x.Partition)
		}
		if _, p := cur.Partition(x.Topic.ID, x.Partition); p != x.New {
			t.Fatalf("new state of %s-%d is not the new image's", x.Topic.Name, x.Partition)
		}
	}
	for _, r := range d.Configs {
		named[r.Key()] = true
	}
	for _, id := range d.Brokers {
		named[brokerKey(id)] = true
	}
	named[keyCluster], named[keyVoters], named[keyProducerIDs] = d.Cluster, d.Voters, d.ProducerIDs
	for _, c := range Diff(old, cur) {
		if !named[c.Key] && c.After != nil {
			t.Fatalf("%s differs and is not in the delta", c.Key)
		}
	}
	if old.Hash() == cur.Hash() && len(d.Partitions) > 0 {
		t.Fatal("a delta for equal images")
	}
}
