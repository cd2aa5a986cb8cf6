package metadata

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/chronik-io/chronik/internal/uuid"
)

// fixture has brokers 1 to 3 (broker epochs 0 to 2) and the topic "t" (id idA) of one partition: replicas 1 2 3, ISR 1 2, leader 1.
func fixture(t testing.TB) *Image {
	t.Helper()
	im := Empty()
	for id := range int32(3) {
		im = mustApply(t, im, &BrokerRegistered{BrokerID: id + 1, BrokerEpoch: int64(id), Incarnation: idA, DiskID: uuid.UUID{byte(id + 1)}})
	}
	return mustApply(t, im, &TopicCreated{Name: "t", TopicID: idA,
		Partitions: []PartitionState{{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, Leader: 1}}})
}

func mustApply(t testing.TB, im *Image, events ...Event) *Image {
	t.Helper()
	for _, ev := range events {
		next, _, err := Apply(im, Entry{im.Offset() + 1, ev})
		if err != nil {
			t.Fatal(err)
		}
		im = next
	}
	return im
}

func TestApplyRefuses(t *testing.T) {
	im := mustApply(t, fixture(t), &ClusterFounded{ClusterID: "c", Founders: []Voter{{1, idA}}},
		&VotersChanged{[]Voter{{1, idA}}},
		&TopicCreated{Name: "gone", TopicID: idB, Partitions: []PartitionState{{[]int32{1}, []int32{1}, 1}}},
		&TopicDeleted{"gone", idB, 1})
	idC := uuid.UUID{15: 0xc}
	create := func(name string, id uuid.UUID, p ...PartitionState) *TopicCreated {
		return &TopicCreated{Name: name, TopicID: id, Partitions: p}
	}
	ok := PartitionState{[]int32{1, 2}, []int32{1}, 1}
	tests := []struct {
		why string // a part of the error
		ev  Event
	}{
		{"founded", &ClusterFounded{ClusterID: "d", Founders: []Voter{{1, idA}}}},
		{"one at a time", &VotersChanged{[]Voter{{2, idB}}}},
		{"twice", &VotersChanged{[]Voter{{1, idA}, {1, idB}}}},
		{"no members", &VotersChanged{}},
		{"not above", &BrokerRegistered{BrokerID: 2, BrokerEpoch: 1, Incarnation: idA, DiskID: idA}},
		{"no disk id", &BrokerRegistered{BrokerID: 2, BrokerEpoch: 10, Incarnation: idA}},
		{"no address", &BrokerRegistered{BrokerID: 2, BrokerEpoch: 10, Incarnation: idA, DiskID: idA, Endpoints: []Endpoint{{"kafka", "h", 0}}}},
		{"not the current", &BrokerFenced{2, 7}},
		{"already", &BrokerUnfenced{2, 1}},
		{"not registered", &BrokerFenced{9, 1}},
		{"holds a replica", &BrokerUnregistered{2, 1}},
		{"exists", create("t", idC, ok)},
		{"in use", create("u", idA, ok)},
		{"deleted topic's", create("u", idB, ok)},
		{"name is invalid", create("a/b", idC, ok)},
		{"no partitions", create("u", idC)},
		{"zero", create("u", uuid.UUID{}, ok)},
		{"no replicas", create("u", idC, PartitionState{nil, nil, NoLeader})},
		{"not one of the replicas", create("u", idC, PartitionState{[]int32{1}, []int32{2}, 2})},
		{"not in the ISR", create("u", idC, PartitionState{[]int32{1, 2}, []int32{1}, 2})},
		{"twice", create("u", idC, PartitionState{[]int32{1, 1}, []int32{1}, 1})},
		{"broker 9 is not registered", create("u", idC, PartitionState{[]int32{9}, []int32{9}, 9})},
		{"not UTF-8", &TopicCreated{Name: "u", TopicID: idC, Partitions: []PartitionState{ok}, Configs: map[string]string{"a": "\xff"}}},
		{"do not follow", &PartitionsAdded{"t", idA, 2, []PartitionState{ok}}},
		{"do not follow", &PartitionsAdded{"t", idA, 1, nil}},
		{"that of", &PartitionsAdded{"u", idA, 1, []PartitionState{ok}}},
		{"no topic", &TopicDeleted{"t", idB, 1}},
		{"no tombstone", &TombstonesPurged{[]uuid.UUID{idA}}},
		{"twice in the list", &TombstonesPurged{[]uuid.UUID{idB, idB}}},
		{"partition epoch", &AssignPartition{"t", idA, 0, []int32{1, 2}, nil, nil, 2}},
		{"not one of the replicas", &AssignPartition{"t", idA, 0, []int32{1, 3}, nil, nil, 1}}, // 2 is in the ISR
		{"adding", &AssignPartition{"t", idA, 0, []int32{1, 2}, []int32{3}, nil, 1}},
		{"not registered", &AssignPartition{"t", idA, 0, []int32{1, 2, 9}, nil, nil, 1}},
		{"1 partitions", &SetLeader{"t", idA, 1, 2, []int32{2}, nil, 1, 1, false}},
		{"leader epoch", &SetLeader{"t", idA, 0, 2, []int32{1, 2}, nil, 0, 1, false}},
		{"partition epoch", &SetLeader{"t", idA, 0, 2, []int32{1, 2}, nil, 1, 0, false}},
		{"partition epoch", &SetLeader{"t", idA, 0, 2, []int32{1, 2}, nil, 1, math.MinInt32, false}},
		{"not in the ISR", &SetLeader{"t", idA, 0, 2, []int32{1}, nil, 1, 1, false}},
		{"not marked as unclean", &SetLeader{"t", idA, 0, 3, []int32{3}, nil, 1, 1, false}},
		{"overlap", &SetLeader{"t", idA, 0, 1, []int32{1}, []int32{1}, 1, 1, false}},
		{"leader epoch", &UpdateIsr{"t", idA, 0, []int32{1}, nil, []int64{0}, 1, 1}},
		{"not in the ISR", &UpdateIsr{"t", idA, 0, []int32{2}, nil, []int64{1}, 0, 1}},
		{"not registered with broker epoch", &UpdateIsr{"t", idA, 0, []int32{1, 2}, nil, []int64{0, 5}, 0, 1}},
		{"broker epochs for", &UpdateIsr{"t", idA, 0, []int32{1, 2}, nil, nil, 0, 1}},
		{"no such topic", &ConfigChanged{ResourceTopic, "u", map[string]string{"a": "b"}, nil}},
		{"unknown resource type", &ConfigChanged{"planet", "u", nil, nil}},
		{"both set and removed", &ConfigChanged{ResourceTopic, "t", map[string]string{"a": "b"}, []string{"a"}}},
		{"do not follow", &ProducerIDsAllocated{1, 0, 5, 10}},
		{"do not follow", &ProducerIDsAllocated{1, 0, 0, 0}},
		{"not the current", &ProducerIDsAllocated{1, 5, 0, 10}},
	}
	for _, tt := range tests {
		_, _, err := Apply(im, Entry{im.Offset() + 1, tt.ev})
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: got %v, want an error with %q", AppendEvent(nil, tt.ev), err, tt.why)
		}
		b := NewBatch(im) // a refused event leaves nothing in a batch either
		_ = b.Apply(im.Offset()+1, tt.ev)
		if next, d := b.Done(); next.Hash() != im.Hash() || !d.Empty() || recomputed(next) != im.Hash() {
			t.Errorf("%s: refused, yet it changed the image", AppendEvent(nil, tt.ev))
		}
	}
	if _, _, err := Apply(im, Entry{im.Offset(), &TopicDeleted{"t", idA, 1}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an event at the image's own offset: %v", err)
	}
}

// The seed's three writes, in the order of a reassignment from 1 2 3 to 3 2: the leader moves, the ISR follows, the assignment is last.
func TestReassignmentByTheThreeWrites(t *testing.T) {
	im := mustApply(t, fixture(t),
		&UpdateIsr{"t", idA, 0, []int32{1, 2, 3}, nil, []int64{0, 1, 2}, 0, 1},
		&SetLeader{"t", idA, 0, 3, []int32{2, 3}, nil, 1, 2, false},
		&AssignPartition{"t", idA, 0, []int32{3, 2}, nil, nil, 3})
	p := im.Topic("t").Partitions[0]
	if p.Leader != 3 || p.LeaderEpoch != 1 || p.PartitionEpoch != 3 || !slices.Equal(p.Replicas, []int32{3, 2}) || !slices.Equal(p.ISR, []int32{2, 3}) {
		t.Errorf("got %+v", p)
	}
}

func TestRegistrationRenewsLeaderships(t *testing.T) {
	im := mustApply(t, fixture(t), &BrokerRegistered{BrokerID: 1, BrokerEpoch: 50, Incarnation: idB, DiskID: uuid.UUID{1}})
	if p := im.Topic("t").Partitions[0]; p.Leader != 1 || p.LeaderEpoch != 1 || p.PartitionEpoch != 1 {
		t.Errorf("leader of a broker that came back: %+v", p)
	}
	im = mustApply(t, im, &BrokerRegistered{BrokerID: 2, BrokerEpoch: 50, Incarnation: idB, DiskID: uuid.UUID{2}})
	if p := im.Topic("t").Partitions[0]; p.LeaderEpoch != 1 {
		t.Errorf("a follower that came back raised the leader epoch: %+v", p)
	}
}

// With min.insync.replicas 2, ISR {A} and ELR {B}, lowering it to 1 would let A acknowledge alone and die, and then B be elected.
func TestMinISRChangeClearsELR(t *testing.T) {
	for _, r := range []Resource{{ResourceTopic, "t"}, {ResourceBroker, ""}} {
		im := mustApply(t, fixture(t), &UpdateIsr{"t", idA, 0, []int32{1}, []int32{2}, []int64{0}, 0, 1})
		set := &ConfigChanged{r.Type, r.Name, map[string]string{minISRConfig: "1"}, nil}
		next := mustApply(t, im, set)
		if p := next.Topic("t").Partitions[0]; len(p.ELR) != 0 || p.PartitionEpoch != 2 {
			t.Errorf("%v: after the change %+v", r, p)
		}
		empty := mustApply(t, im, &SetLeader{"t", idA, 0, NoLeader, nil, []int32{1, 2}, 1, 2, false})
		if _, _, err := Apply(empty, Entry{empty.Offset() + 1, set}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%v: changed while the ISR is empty: %v", r, err)
		}
	}
	im := mustApply(t, fixture(t), &ConfigChanged{ResourceTopic, "t", map[string]string{minISRConfig: "2"}, nil},
		&UpdateIsr{"t", idA, 0, []int32{1}, []int32{2}, []int64{0}, 0, 1},
		&ConfigChanged{ResourceBroker, "", map[string]string{minISRConfig: "1"}, nil})
	if p := im.Topic("t").Partitions[0]; len(p.ELR) != 1 {
		t.Errorf("a default changed a topic that has its own setting: %+v", p)
	}
}

func TestTopicNames(t *testing.T) {
	for name, ok := range map[string]bool{"a": true, "A-z_0.9": true, strings.Repeat("x", 249): true, "...": true, "": false, ".": false, "..": false,
		strings.Repeat("x", 250): false, "a b": false, "é": false, "a/b": false, "a:b": false, "a\n": false} {
		if err := CheckTopicName(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrTopicName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	im := mustApply(t, fixture(t), &TopicCreated{Name: "a.b_c", TopicID: idB, Partitions: []PartitionState{{[]int32{1}, []int32{1}, 1}}})
	for name, want := range map[string]string{"a_b.c": "a.b_c", "a.b_c": "a.b_c", "a.bc": "", "t": ""} {
		if got := im.CollidingTopic(name); got != want {
			t.Errorf("%q collides with %q, want %q", name, got, want)
		}
	}
	if im = mustApply(t, im, &TopicDeleted{"a.b_c", idB, 1}); im.CollidingTopic("a_b_c") != "" {
		t.Error("a deleted topic still collides")
	}
}
