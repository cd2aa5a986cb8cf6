package metadata

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func encode(t testing.TB, im *Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := im.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// reload takes an image through its snapshot.
func reload(t testing.TB, im *Image) *Image {
	t.Helper()
	b := encode(t, im)
	back, err := Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, back); !bytes.Equal(b, again) {
		t.Fatal("a snapshot of a loaded image has other bytes")
	}
	return back
}

func TestSnapshotOfEverything(t *testing.T) {
	im := mustApply(t, fixture(t), &ClusterFounded{ClusterID: "c", MetadataVersion: 3, Features: map[string]int16{"f": 1}, Founders: []Voter{{1, idA}}, TimestampMs: 9},
		&VotersChanged{[]Voter{{1, idA}}}, &ProducerIDsAllocated{1, 0, 0, 1000},
		&ConfigChanged{ResourceBroker, "", map[string]string{"a": "b"}, nil},
		&TopicCreated{Name: "many", TopicID: idB, Partitions: slices.Repeat([]PartitionState{{[]int32{1}, []int32{1}, 1}}, 120)},
		&TopicDeleted{"t", idA, 7})
	back := reload(t, im)
	if back.Hash() != im.Hash() || back.Offset() != im.Offset() || back.PartitionCount() != 120 || back.NextProducerID() != 1000 ||
		back.Cluster().ID != "c" || len(back.Voters()) != 1 || back.Tombstone(idA).Name != "t" || back.Config(ResourceBroker, "")["a"] != "b" {
		t.Errorf("got %+v", back)
	}
	// The loaded image goes on as the other does.
	ev := &PartitionsAdded{"many", idB, 120, []PartitionState{{[]int32{1}, []int32{1}, 1}}}
	if a, b := mustApply(t, im, ev), mustApply(t, back, ev); a.Hash() != b.Hash() || recomputed(b) != b.Hash() {
		t.Error("the loaded image went another way")
	}
}

// TestSnapshotDamage flips and cuts each byte: no damage may be taken for an image.
func TestSnapshotDamage(t *testing.T) {
	good := encode(t, fixture(t))
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x40
		if _, err := Decode(bytes.NewReader(bad)); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := Decode(bytes.NewReader(good[:i])); !errors.Is(err, ErrSnapshot) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(encode(f, fixture(f)))
	f.Add(encode(f, Empty()))
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := Decode(bytes.NewReader(b))
		if err != nil && !errors.Is(err, ErrSnapshot) {
			t.Fatalf("not an ErrSnapshot: %v", err)
		}
		if err == nil && recomputed(im) != im.Hash() {
			t.Fatal("an image whose content is not its hash")
		}
	})
}

func TestDiff(t *testing.T) {
	a := fixture(t)
	b := mustApply(t, a, &UpdateIsr{"t", idA, 0, []int32{1}, nil, []int64{0}, 0, 1},
		&ConfigChanged{ResourceTopic, "t", map[string]string{"k": "v"}, nil}, &BrokerFenced{3, 2},
		&TopicCreated{Name: "u", TopicID: idB, Partitions: []PartitionState{{[]int32{1}, []int32{1}, 1}}})
	var keys []string
	for _, c := range Diff(a, b) {
		keys = append(keys, c.Key)
		if (c.Before == nil) != slices.Contains([]string{"config/topic/t", "partition/u/0", "topic/u"}, c.Key) || c.After == nil {
			t.Errorf("%s: %s -> %s", c.Key, c.Before, c.After)
		}
	}
	if want := []string{"broker/3", "config/topic/t", "partition/t/0", "partition/u/0", "topic/u"}; !slices.Equal(keys, want) {
		t.Errorf("got %q, want %q", keys, want)
	}
	if n := len(Diff(b, a)); n != 5 {
		t.Errorf("%d differences the other way round", n)
	}
}
