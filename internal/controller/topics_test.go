package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/uuid"
)

func TestCreateTopicsRefusals(t *testing.T) {
	c, log := cluster(t, 3, nil)
	mustCreate(t, c, topic("there", 1, 1), topic("a.b", 1, 1))
	manual := func(partitions, replicas int32, lists ...[]int32) NewTopic {
		n := topic("n", partitions, replicas)
		for i, l := range lists {
			n.Assignment = append(n.Assignment, Assignment{int32(i), l})
		}
		return n
	}
	null := topic("n", 1, 1, "retention.ms", "")
	null.Configs[0].Value = nil
	second := manual(Default, Default, []int32{1})
	second.Assignment[0].Partition = 1
	twice := manual(Default, Default, []int32{1}, []int32{1})
	twice.Assignment[1].Partition = 0
	tests := []struct {
		name  string
		topic NewTopic
		want  error
	}{
		{"exists", topic("there", 1, 1), ErrTopicExists},
		{"bad name", topic("a b", 1, 1), ErrInvalidTopic},
		{"no name", topic("", 1, 1), ErrInvalidTopic},
		{"collides", topic("a_b", 1, 1), ErrInvalidTopic},
		{"metadata", topic(metadata.MetadataTopic, 1, 1), ErrInvalidRequest},
		{"kafka's metadata", topic("__cluster_metadata", 1, 1), ErrInvalidRequest},
		{"offsets", topic(metadata.OffsetsTopic, 1, 1), ErrInvalidRequest},
		{"no partitions", topic("n", 0, 1), ErrInvalidPartitions},
		{"negative partitions", topic("n", -2, 1), ErrInvalidPartitions},
		{"too many partitions", topic("n", 10_001, 1), ErrInvalidPartitions},
		{"all partitions there could be", topic("n", 1<<31-1, 1), ErrInvalidPartitions},
		{"no replicas", topic("n", 1, 0), ErrInvalidReplicationFactor},
		{"negative replicas", topic("n", 1, -2), ErrInvalidReplicationFactor},
		{"more replicas than brokers", topic("n", 1, 4), ErrInvalidReplicationFactor},
		{"unknown config", topic("n", 1, 1, "no.such", "1"), ErrInvalidConfig},
		{"bad value", topic("n", 1, 1, "retention.ms", "soon"), ErrInvalidConfig},
		{"null value", null, ErrInvalidConfig},
		{"compaction", topic("n", 1, 1, "cleanup.policy", "compact"), ErrInvalidConfig},
		{"compaction too", topic("n", 1, 1, "cleanup.policy", "delete, compact"), ErrInvalidConfig},
		{"lags", topic("n", 1, 1, "min.compaction.lag.ms", "9", "max.compaction.lag.ms", "8"), ErrInvalidConfig},
		{"manual", manual(Default, Default, []int32{3, 1}, []int32{1, 2}), nil},
		{"manual with a count", manual(1, Default, []int32{1}), ErrInvalidRequest},
		{"manual with replicas", manual(Default, 1, []int32{1}), ErrInvalidRequest},
		{"manual without partition 0", second, ErrInvalidReplicaAssignment},
		{"manual partition twice", twice, ErrInvalidReplicaAssignment},
		{"manual broker twice", manual(Default, Default, []int32{1, 1}), ErrInvalidReplicaAssignment},
		{"manual unknown broker", manual(Default, Default, []int32{9}), ErrInvalidReplicaAssignment},
		{"manual negative broker", manual(Default, Default, []int32{-1}), ErrInvalidReplicaAssignment},
		{"manual without replicas", manual(Default, Default, []int32{}), ErrInvalidReplicaAssignment},
		{"manual of different sizes", manual(Default, Default, []int32{1}, []int32{1, 2}), ErrInvalidReplicaAssignment},
	}
	for _, tt := range tests {
		before := log.Image()
		results, err := c.CreateTopics(t.Context(), []NewTopic{tt.topic}, true)
		if err != nil || len(results) != 1 {
			t.Fatalf("%s: %v, %v", tt.name, results, err)
		}
		expect(t, tt.name, results[0].Err, tt.want)
		if log.Image() != before && log.Image().Hash() != before.Hash() {
			t.Errorf("%s: validating changed the image", tt.name)
		}
	}
}

// One request: what is wrong is refused, what is right is done, and each name gets one answer.
func TestCreateTopicsMixed(t *testing.T) {
	c, log := cluster(t, 3, nil)
	results, err := c.CreateTopics(t.Context(), []NewTopic{topic("a", 2, 2), topic("b c", 1, 1), topic("twice", 1, 1), topic("twice", 1, 1),
		topic("x.y", 1, 1), topic("x_y", 1, 1)}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name string
		err  error
	}{{"a", nil}, {"b c", ErrInvalidTopic}, {"twice", ErrInvalidRequest}, {"x.y", nil}, {"x_y", ErrInvalidTopic}}
	if len(results) != len(want) {
		t.Fatalf("%d results: %+v", len(results), results)
	}
	for i, w := range want {
		if results[i].Name != w.name {
			t.Errorf("result %d is %s's", i, results[i].Name)
		}
		expect(t, w.name, results[i].Err, w.err)
	}
	a := log.Image().Topic("a")
	if a == nil || a.ID != results[0].ID || len(a.Partitions) != 2 || len(a.Partitions[1].Replicas) != 2 || a.CreatedMs != 1000 || log.Image().TopicCount() != 2 {
		t.Errorf("a is %+v", a)
	}
}

// The defaults follow the size of the cluster until somebody sets them.
func TestCreateTopicsDefaults(t *testing.T) {
	tests := []struct {
		brokers              int
		static               map[string]string
		partitions, replicas int32
	}{
		{1, nil, 1, 1}, {2, nil, 1, 2}, {3, nil, 1, 3}, {5, nil, 1, 3},
		{3, map[string]string{"num.partitions": "4", "default.replication.factor": "2"}, 4, 2},
	}
	for _, tt := range tests {
		c, _ := cluster(t, tt.brokers, tt.static)
		results, err := c.CreateTopics(t.Context(), []NewTopic{topic("t", Default, Default, "retention.ms", " 5 ")}, false)
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		if r := results[0]; r.Partitions != tt.partitions || r.ReplicationFactor != tt.replicas || r.Configs["retention.ms"] != "5" {
			t.Errorf("%d brokers, %v: got %+v", tt.brokers, tt.static, r)
		}
	}
}

func TestAutoCreate(t *testing.T) {
	c, log := cluster(t, 1, map[string]string{"num.partitions": "4", "offsets.topic.num.partitions": "5"})
	results, err := c.AutoCreateTopics(t.Context(), []string{"x", metadata.OffsetsTopic, "bad name", metadata.MetadataTopic})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, nil, ErrInvalidTopic, ErrInvalidRequest} {
		expect(t, results[i].Name, results[i].Err, want)
	}
	im := log.Image()
	offsets := im.Topic(metadata.OffsetsTopic)
	if offsets == nil || !offsets.Internal || len(offsets.Partitions) != 5 || len(im.Topic("x").Partitions) != 4 || im.Topic("x").Internal {
		t.Errorf("offsets topic is %+v", offsets)
	}
	if !config.Compacts(Layers(im, nil, 1, metadata.OffsetsTopic)) || config.Compacts(Layers(im, nil, 1, "x")) {
		t.Error("cleanup policies are wrong")
	}
	if results, err = c.AutoCreateTopics(t.Context(), []string{"x"}); err != nil || results[0].Err != nil || results[0].ID != im.Topic("x").ID {
		t.Errorf("creating what somebody else has just created: %+v, %v", results, err)
	}
}

func TestInternalTopicsAreTheClusters(t *testing.T) {
	c, _ := cluster(t, 1, nil)
	if _, err := c.AutoCreateTopics(t.Context(), []string{metadata.OffsetsTopic}); err != nil {
		t.Fatal(err)
	}
	deleted, err := c.DeleteTopics(t.Context(), []TopicRef{{Name: metadata.OffsetsTopic}, {Name: metadata.MetadataTopic}, {ID: metadata.MetadataTopicID}, {}})
	if err != nil || len(deleted) != 4 {
		t.Fatal(deleted, err)
	}
	for _, d := range deleted {
		expect(t, "delete", d.Err, ErrInvalidRequest)
	}
	added, err := c.CreatePartitions(t.Context(), []NewPartitions{{Topic: metadata.OffsetsTopic, Count: 99}, {Topic: metadata.MetadataTopic, Count: 9}}, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range added {
		expect(t, "partitions", a.Err, ErrInvalidRequest)
	}
	for _, name := range []string{metadata.OffsetsTopic, metadata.MetadataTopic} {
		altered, err := c.IncrementalAlterConfigs(t.Context(), []ResourceChanges{{metadata.Resource{Type: metadata.ResourceTopic, Name: name},
			[]ConfigChange{{"retention.ms", OpSet, str("1")}}}}, false)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, "alter "+name, altered[0], ErrInvalidRequest)
	}
}

func TestDeleteTopics(t *testing.T) {
	c, log := cluster(t, 1, nil)
	mustCreate(t, c, topic("a", 1, 1), topic("b", 1, 1), topic("c", 1, 1), topic("d", 1, 1))
	id := func(name string) uuid.UUID { return log.Image().Topic(name).ID }
	a, b := id("a"), id("b")
	results, err := c.DeleteTopics(t.Context(), []TopicRef{{Name: "a"}, {ID: b}, {Name: "never"}, {ID: uuid.UUID{9}}, {Name: "c"}, {ID: id("c")},
		{Name: "d", ID: id("d")}})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name string
		id   uuid.UUID
		err  error
	}{{"a", a, nil}, {"b", b, nil}, {"never", uuid.UUID{}, ErrUnknownTopic}, {"", uuid.UUID{9}, ErrUnknownTopicID},
		{"c", uuid.UUID{}, ErrInvalidRequest}, {"d", id("d"), ErrInvalidRequest}}
	if len(results) != len(want) {
		t.Fatalf("got %+v", results)
	}
	for i, w := range want {
		if results[i].Name != w.name || results[i].ID != w.id {
			t.Errorf("result %d is %+v, want %s %s", i, results[i], w.name, w.id)
		}
		expect(t, w.name, results[i].Err, w.err)
	}
	im := log.Image()
	if im.TopicCount() != 2 || im.Tombstone(a) == nil || im.Tombstone(b) == nil {
		t.Errorf("%d topics left, tombstones %d", im.TopicCount(), im.TombstoneCount())
	}
	mustCreate(t, c, topic("a", 1, 1))
	if id("a") == a {
		t.Error("a topic that was made again has the old id")
	}
	if n, err := c.PurgeTombstones(t.Context(), 1000); n != 0 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if n, err := c.PurgeTombstones(t.Context(), 1001); n != 2 || err != nil || log.Image().TombstoneCount() != 0 {
		t.Errorf("purged %d, %v", n, err)
	}
	off, _ := cluster(t, 1, map[string]string{"delete.topic.enable": "false"})
	mustCreate(t, off, topic("a", 1, 1))
	results, _ = off.DeleteTopics(t.Context(), []TopicRef{{Name: "a"}})
	expect(t, "deletion switched off", results[0].Err, ErrTopicDeletionDisabled)
}

func TestCreatePartitions(t *testing.T) {
	c, log := cluster(t, 3, nil)
	mustCreate(t, c, topic("t", 2, 2))
	tests := []struct {
		name string
		ask  NewPartitions
		want error
	}{
		{"the same", NewPartitions{"t", 2, nil}, ErrInvalidPartitions},
		{"fewer", NewPartitions{"t", 1, nil}, ErrInvalidPartitions},
		{"negative", NewPartitions{"t", -1, nil}, ErrInvalidPartitions},
		{"two million", NewPartitions{"t", 2_000_000, nil}, ErrInvalidPartitions},
		{"unknown", NewPartitions{"u", 3, nil}, ErrUnknownTopic},
		{"too few lists", NewPartitions{"t", 4, [][]int32{{1, 2}}}, ErrInvalidReplicaAssignment},
		{"no lists", NewPartitions{"t", 4, [][]int32{}}, ErrInvalidReplicaAssignment},
		{"lists of another size", NewPartitions{"t", 3, [][]int32{{1}}}, ErrInvalidReplicaAssignment},
		{"lists", NewPartitions{"t", 3, [][]int32{{3, 1}}}, nil},
		{"more", NewPartitions{"t", 7, nil}, nil},
	}
	for _, tt := range tests {
		for _, validate := range []bool{true, false} {
			before := log.Image().PartitionCount()
			results, err := c.CreatePartitions(t.Context(), []NewPartitions{tt.ask}, validate)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, tt.name, results[0].Err, tt.want)
			if added := log.Image().PartitionCount() != before; added != (tt.want == nil && !validate) {
				t.Errorf("%s, validate %t: %d partitions, %d before", tt.name, validate, log.Image().PartitionCount(), before)
			}
		}
	}
	results, _ := c.CreatePartitions(t.Context(), []NewPartitions{{"t", 9, nil}, {"t", 9, nil}}, false)
	if len(results) != 1 {
		t.Errorf("twice in a request: %+v", results)
	}
	expect(t, "twice in a request", results[0].Err, ErrInvalidRequest)
	if p := log.Image().Topic("t").Partitions[2]; p.Leader != 3 || len(p.ISR) != 2 {
		t.Errorf("assigned partition is %+v", p)
	}
}

func TestClusterBound(t *testing.T) {
	c, _ := cluster(t, 1, nil)
	c.limits.Partitions = 10
	mustCreate(t, c, topic("a", 8, 1))
	results, err := c.CreateTopics(t.Context(), []NewTopic{topic("b", 2, 1), topic("c", 1, 1)}, false)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "up to the bound", results[0].Err, nil)
	expect(t, "above it", results[1].Err, ErrInvalidPartitions)
	if !strings.Contains(results[1].Err.Error(), "at most 10") {
		t.Errorf("the user is told %q", results[1].Err)
	}
}

func TestConfigMessages(t *testing.T) {
	c, _ := cluster(t, 1, nil)
	for _, tt := range []struct{ name, value, want string }{
		{"retention.ms", "soon", "Invalid value soon for configuration retention.ms: Not a number of type LONG"},
		{"segment.bytes", "13", "Invalid value 13 for configuration segment.bytes: Value must be at least 1048576"},
		{"no.such", "1", "Unknown topic config name: no.such"},
	} {
		results, err := c.CreateTopics(t.Context(), []NewTopic{topic("a", 1, 1, tt.name, tt.value)}, false)
		if err != nil || results[0].Err == nil || results[0].Err.Error() != tt.want {
			t.Errorf("%s=%s: %v, %v", tt.name, tt.value, results, err)
		}
	}
}

func TestLogErrorsAreTheRequests(t *testing.T) {
	c, log := cluster(t, 1, nil)
	for _, want := range []error{metalog.ErrNotController, metalog.ErrUnknownOutcome} {
		log.fail = fmt.Errorf("wrapped: %w", want)
		results, err := c.CreateTopics(t.Context(), []NewTopic{topic("a", 1, 1)}, false)
		if !errors.Is(err, want) || results != nil {
			t.Errorf("got %v, %v", results, err)
		}
	}
}

// Three founders have three replicas and a minimum of two from the first topic on, also while one of them has not come yet.
func TestReplicationFactors(t *testing.T) {
	founded := func(founders int32, brokers int) (*Controller, *memoryLog) {
		ev := &metadata.ClusterFounded{ClusterID: "c"}
		for id := range founders {
			ev.Founders = append(ev.Founders, metadata.Voter{NodeID: id + 1, DiskID: uuid.UUID{byte(id + 1)}})
		}
		log := &memoryLog{im: metadata.Empty()}
		apply(t, log, ev)
		return clusterOn(t, log, brokers, nil), log
	}
	tests := []struct {
		founders            int32
		brokers             int
		replicas            int32 // asked for
		want                int   // 0: refused
		cluster, min, group int   // min.insync.replicas of the cluster (0: none set), of the topic; replicas of the offsets topic
	}{
		{1, 1, Default, 1, 0, 1, 1}, {2, 2, Default, 2, 0, 1, 2}, {3, 3, Default, 3, 2, 2, 3}, {3, 2, Default, 0, 2, 0, 0}, {3, 2, 2, 2, 2, 2, 0},
		{3, 3, 1, 1, 2, 1, 3}, {3, 3, 4, 0, 2, 0, 3}, {1, 3, Default, 3, 2, 2, 3}, {5, 5, Default, 3, 2, 2, 3},
	}
	for _, tt := range tests {
		c, log := founded(tt.founders, tt.brokers)
		results, err := c.CreateTopics(t.Context(), []NewTopic{topic("t", 1, tt.replicas)}, false)
		if err != nil {
			t.Fatal(err)
		}
		im := log.Image()
		if set := im.Config(metadata.ResourceBroker, "")["min.insync.replicas"]; set != map[int]string{0: "", 2: "2"}[tt.cluster] {
			t.Errorf("%+v: min.insync.replicas of the cluster is %q", tt, set)
		}
		if tt.want == 0 {
			expect(t, "more replicas than brokers", results[0].Err, ErrInvalidReplicationFactor)
		} else if p := im.Topic("t").Partitions[0]; len(p.Replicas) != tt.want || len(p.ISR) != tt.want || MinISR(im, "t", tt.want) != tt.min {
			t.Errorf("%+v: got %+v with a minimum of %d", tt, p, MinISR(im, "t", tt.want))
		}
		results, err = c.AutoCreateTopics(t.Context(), []string{metadata.OffsetsTopic})
		if err != nil || tt.group == 0 != (results[0].Err != nil) || tt.group > 0 && results[0].ReplicationFactor != int32(tt.group) {
			t.Errorf("%+v: offsets topic %+v, %v", tt, results, err)
		}
	}
}

// While one of three brokers is away topics can be made; it gets replicas, and is not in the ISR.
func TestCreatingWhileABrokerIsAway(t *testing.T) {
	c, log := cluster(t, 3, nil)
	expect(t, "fence", c.FenceBroker(t.Context(), 2, log.Image().Broker(2).Epoch), nil)
	mustCreate(t, c, topic("t", 6, 3))
	for n, p := range log.Image().Topic("t").Partitions {
		if len(p.Replicas) != 3 || len(p.ISR) != 2 || p.InISR(2) || !p.InISR(p.Leader) {
			t.Errorf("t-%d is %+v", n, p)
		}
	}
	expect(t, "resign", c.ResignBroker(t.Context(), 3, log.Image().Broker(3).Epoch), nil)
	expect(t, "fence", c.FenceBroker(t.Context(), 1, log.Image().Broker(1).Epoch), nil)
	results, err := c.CreateTopics(t.Context(), []NewTopic{topic("u", 1, 3)}, false)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "nobody could lead", results[0].Err, ErrInvalidReplicationFactor)
}
