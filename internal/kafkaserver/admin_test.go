package kafkaserver

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chronik-io/chronik/internal/config"
	"github.com/chronik-io/chronik/internal/controller"
	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
	"github.com/chronik-io/chronik/internal/partition"
	"github.com/chronik-io/chronik/internal/replica"
	"github.com/chronik-io/chronik/internal/uuid"
	"github.com/chronik-io/chronik/internal/vfs"
	"github.com/chronik-io/chronik/internal/wal"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminServer is a server over real logs in memory: one node that leads its metadata log and is registered as broker 1.
func adminServer(t *testing.T, static map[string]string) *Server {
	t.Helper()
	fs := vfs.NewMem()
	logger := slog.New(slog.DiscardHandler)
	fatal := func(err error) { t.Errorf("a log failed: %v", err) }
	store, err := partition.OpenStore(partition.StoreOptions{FS: fs, Dir: "data", Logger: logger,
		WAL: wal.Options{SlotBytes: 1 << 20, ZeroStep: 1 << 20, MaxBytes: 16 << 20, OnFatal: fatal}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	self := metalog.Member{NodeID: 1, DiskID: uuid.UUID{1}}
	meta, err := metalog.Open(metalog.Options{FS: fs, Dir: "metadata", Self: self, Boot: 1, SlotBytes: 1 << 20, HistoryBytes: 16 << 20,
		Genesis: metalog.Genesis{ClusterID: "c", Founders: []metalog.Member{self}, TimestampMs: 1}, OnHalt: fatal, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = meta.Close() })
	replicas := replica.NewSet(replica.Options{NodeID: 1, Store: store, Logger: logger})
	meta.Subscribe(replicas.Apply)
	leads := make(chan uint64, 1)
	meta.SubscribeRole(func(is bool, epoch uint64) {
		if is {
			leads <- epoch
		}
	})
	if err := replicas.Load(meta.Image()); err != nil {
		t.Fatal(err)
	}
	meta.Start()
	meta.Claimed(1, meta.SelfBallot())
	select {
	case <-leads:
	case <-time.After(10 * time.Second):
		t.Fatal("the metadata log does not serve")
	}
	c := controller.New(controller.Options{Log: meta, NodeID: 1, Static: static})
	if _, err := c.RegisterBroker(t.Context(), controller.Registration{BrokerID: 1, Incarnation: uuid.New(), DiskID: self.DiskID, Rack: "r",
		Endpoints: []metadata.Endpoint{{Listener: metadata.ListenerKafka, Host: "127.0.0.1", Port: 9092}}}); err != nil {
		t.Fatal(err)
	}
	s, err := New(Deps{NodeID: 1, ClusterID: "c", Config: &config.Config{NodeID: 1, DataDir: "data", Kafka: static}, Meta: meta, Controller: c,
		Replicas: replicas, Store: store, Logger: logger}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask runs a request's handler as the framework does: through the bytes of the version, both ways.
func ask[T kmsg.Response](t *testing.T, s *Server, version int16, req kmsg.Request) T {
	t.Helper()
	req.SetVersion(version)
	r := &request{ctx: context.Background(), key: req.Key(), version: version}
	resp, err := apis[req.Key()].handle(s, r, req.AppendTo(nil))
	if err != nil {
		t.Fatalf("%s v%d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	resp.SetVersion(version)
	back := req.ResponseKind()
	back.SetVersion(version)
	if err := back.ReadFrom(resp.AppendTo(nil)); err != nil {
		t.Fatalf("%s v%d: the answer cannot be read: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	return back.(T)
}

func createTopic(t *testing.T, s *Server, name string, partitions int32, configs ...string) {
	t.Helper()
	if code := askCreate(t, s, 7, name, partitions, configs...).ErrorCode; code != 0 {
		t.Fatalf("create %s: %v", name, kerr.ErrorForCode(code))
	}
}

func askCreate(t *testing.T, s *Server, version int16, name string, partitions int32, configs ...string) kmsg.CreateTopicsResponseTopic {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	n := kmsg.NewCreateTopicsRequestTopic()
	n.Topic, n.NumPartitions, n.ReplicationFactor = name, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		n.Configs = append(n.Configs, c)
	}
	req.Topics = append(req.Topics, n)
	return ask[*kmsg.CreateTopicsResponse](t, s, version, req).Topics[0]
}

func TestCreateAndDeleteTopics(t *testing.T) {
	s := adminServer(t, map[string]string{"min.insync.replicas": "1"})
	for v := int16(2); v <= 7; v++ {
		name := "t" + strconv.Itoa(int(v))
		got := askCreate(t, s, v, name, 2, "retention.ms", "12345")
		if got.ErrorCode != 0 || got.ErrorMessage != nil || v >= 5 && (got.NumPartitions != 2 || got.ReplicationFactor != 1) {
			t.Errorf("v%d: %+v", v, got)
		}
		if v >= 7 && got.TopicID != s.image().Topic(name).ID {
			t.Errorf("v%d: topic id %v", v, got.TopicID)
		}
		sources := map[string]int8{}
		for _, c := range got.Configs {
			sources[c.Name] = c.Source
		}
		if v >= 5 && (len(sources) != len(config.TopicSettings()) || sources["retention.ms"] != 1 || sources["min.insync.replicas"] != 3 || sources["segment.ms"] != 5) {
			t.Errorf("v%d: sources %v", v, sources)
		}
		if again := askCreate(t, s, v, name, 2); again.ErrorCode != kerr.TopicAlreadyExists.Code || again.ErrorMessage == nil {
			t.Errorf("v%d: once more: %+v", v, again)
		}
	}
	for v := int16(1); v <= 6; v++ {
		req := kmsg.NewPtrDeleteTopicsRequest()
		name, id := "t"+strconv.Itoa(int(v+1)), s.image().Topic("t"+strconv.Itoa(int(v+1))).ID
		req.TopicNames = []string{name, "never"}
		req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: id}, {TopicID: uuid.UUID{9}}}
		got := ask[*kmsg.DeleteTopicsResponse](t, s, v, req).Topics
		unknown := kerr.UnknownTopicOrPartition.Code
		if v == 6 {
			unknown = kerr.UnknownTopicID.Code
		}
		if len(got) != 2 || got[0].ErrorCode != 0 || *got[0].Topic != name || got[1].ErrorCode != unknown || (v == 6) != (got[1].Topic == nil) {
			t.Errorf("v%d: %+v", v, got)
		}
	}
	if n := s.image().TopicCount(); n != 0 {
		t.Errorf("%d topics are left", n)
	}
}

func TestCreatePartitionsAndRefusals(t *testing.T) {
	s := adminServer(t, nil)
	createTopic(t, s, "t", 2)
	for _, tt := range []struct {
		count int32
		topic string
		want  *kerr.Error
	}{{2, "t", kerr.InvalidPartitions}, {-1, "t", kerr.InvalidPartitions}, {2_000_000, "t", kerr.InvalidPartitions}, {5, "u", kerr.UnknownTopicOrPartition}, {4, "t", nil}} {
		req := kmsg.NewPtrCreatePartitionsRequest()
		n := kmsg.NewCreatePartitionsRequestTopic()
		n.Topic, n.Count = tt.topic, tt.count
		req.Topics = append(req.Topics, n)
		got := ask[*kmsg.CreatePartitionsResponse](t, s, 3, req).Topics
		if len(got) != 1 || kerr.ErrorForCode(got[0].ErrorCode) != errorOrNil(tt.want) {
			t.Errorf("%s to %d: %+v", tt.topic, tt.count, got)
		}
	}
	if n := s.image().PartitionCount(); n != 4 {
		t.Errorf("%d partitions", n)
	}
	if got := askCreate(t, s, 7, "c", 1, "cleanup.policy", "compact"); got.ErrorCode != kerr.InvalidConfig.Code || got.ErrorMessage == nil {
		t.Errorf("a compacted topic: %+v", got)
	}
}

// errorOrNil avoids an error that holds a nil pointer.
func errorOrNil(e *kerr.Error) error {
	if e == nil {
		return nil
	}
	return e
}

func TestConfigsOverTheWire(t *testing.T) {
	s := adminServer(t, map[string]string{"log.retention.hours": "48"})
	createTopic(t, s, "t", 1)
	set := func(kind kmsg.ConfigResourceType, name, key, value string) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		res := kmsg.NewIncrementalAlterConfigsRequestResource()
		res.ResourceType, res.ResourceName = kind, name
		res.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Value: &value}}
		req.Resources = append(req.Resources, res)
		return ask[*kmsg.IncrementalAlterConfigsResponse](t, s, 1, req).Resources[0].ErrorCode
	}
	get := func(kind kmsg.ConfigResourceType, name, key string) kmsg.DescribeConfigsResponseResourceConfig {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms, req.IncludeDocumentation = true, true
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: []string{key}}}
		got := ask[*kmsg.DescribeConfigsResponse](t, s, 4, req).Resources[0]
		if got.ErrorCode != 0 || len(got.Configs) != 1 || got.Configs[0].Documentation == nil {
			t.Fatalf("%s of %s: %+v", key, name, got)
		}
		return got.Configs[0]
	}
	topic, broker := kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	check := func(c kmsg.DescribeConfigsResponseResourceConfig, value string, source config.ValueSource, synonyms int) {
		t.Helper()
		if *c.Value != value || c.Source != kmsg.ConfigSource(source) || len(c.ConfigSynonyms) != synonyms {
			t.Errorf("%s is %s from %v with %d synonyms, want %s from %v with %d", c.Name, *c.Value, c.Source, len(c.ConfigSynonyms), value, source, synonyms)
		}
	}
	check(get(topic, "t", "retention.ms"), "172800000", config.SourceStatic, 1)
	for _, code := range []int16{set(broker, "", "log.retention.ms", "3"), set(broker, "1", "log.retention.ms", "2"), set(topic, "t", "retention.ms", "1")} {
		if code != 0 {
			t.Fatal(kerr.ErrorForCode(code))
		}
	}
	check(get(topic, "t", "retention.ms"), "1", config.SourceTopic, 4)
	check(get(broker, "1", "log.retention.ms"), "2", config.SourceBroker, 3)
	check(get(broker, "", "log.retention.ms"), "3", config.SourceBrokerDefault, 1)
	check(get(broker, "1", "advertised.listeners"), "PLAINTEXT://127.0.0.1:9092", config.SourceStatic, 1)
	check(get(broker, "1", "log.dirs"), "data", config.SourceStatic, 1)
	if code := set(broker, "1", "num.partitions", "9"); code != kerr.InvalidRequest.Code {
		t.Errorf("changing a read-only setting: %v", kerr.ErrorForCode(code))
	}

	alter := kmsg.NewPtrAlterConfigsRequest()
	alter.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: topic, ResourceName: "t"}, {ResourceType: 77, ResourceName: "t"}}
	got := ask[*kmsg.AlterConfigsResponse](t, s, 2, alter).Resources
	if got[0].ErrorCode != 0 || got[1].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("got %+v", got)
	}
	check(get(topic, "t", "retention.ms"), "2", config.SourceBroker, 3)
}

func TestDescribeTopicPartitionsPages(t *testing.T) {
	s := adminServer(t, nil)
	createTopic(t, s, "a", 3)
	createTopic(t, s, "b", 1)
	createTopic(t, s, "c", 2)
	for _, named := range []bool{true, false} {
		for limit := int32(-1); limit <= 8; limit++ {
			req := kmsg.NewPtrDescribeTopicPartitionsRequest()
			req.ResponsePartitionLimit = limit
			if named {
				req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "c"}, {Topic: metadata.MetadataTopic}, {Topic: "a"}, {Topic: "b"}, {Topic: "a"}}
			}
			var seen []string
			for pages := 0; ; pages++ {
				got := ask[*kmsg.DescribeTopicPartitionsResponse](t, s, 0, req)
				for _, tp := range got.Topics {
					for _, p := range tp.Partitions {
						seen = append(seen, *tp.Topic+strconv.Itoa(int(p.Partition)))
					}
				}
				if got.NextCursor == nil {
					break
				}
				req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: got.NextCursor.Topic, Partition: got.NextCursor.Partition}
				if pages > 10 {
					t.Fatalf("limit %d: it never ends: %v", limit, seen)
				}
			}
			if want := []string{metadata.MetadataTopic + "0", "a0", "a1", "a2", "b0", "c0", "c1"}; !slices.Equal(seen, want) {
				t.Errorf("limit %d, named %t: %v", limit, named, seen)
			}
		}
	}
}

func TestDescribeClusterAndQuorum(t *testing.T) {
	s := adminServer(t, nil)
	for v := int16(0); v <= 2; v++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.IncludeClusterAuthorizedOperations = true
		got := ask[*kmsg.DescribeClusterResponse](t, s, v, req)
		if got.ErrorCode != 0 || got.ControllerID != 1 || got.ClusterID != "c" || len(got.Brokers) != 1 || *got.Brokers[0].Rack != "r" || got.ClusterAuthorizedOperations != 8096 {
			t.Errorf("v%d: %+v", v, got)
		}
		for kind, want := range map[int8]int16{0: kerr.UnsupportedEndpointType.Code, 2: kerr.MismatchedEndpointType.Code} {
			if req.EndpointType = kind; v >= 1 && ask[*kmsg.DescribeClusterResponse](t, s, v, req).ErrorCode != want {
				t.Errorf("v%d: endpoint type %d", v, kind)
			}
		}
		quorum := kmsg.NewPtrDescribeQuorumRequest()
		quorum.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}, {Partition: 1}}}}
		p := ask[*kmsg.DescribeQuorumResponse](t, s, v, quorum).Topics[0].Partitions
		if p[0].ErrorCode != 0 || p[0].LeaderID != 1 || len(p[0].CurrentVoters) != 1 || p[0].HighWatermark <= 0 || p[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("v%d: %+v", v, p)
		}
	}
}

func TestElectLeadersOverTheWire(t *testing.T) {
	s := adminServer(t, nil)
	createTopic(t, s, "t", 2)
	for v := int16(0); v <= 2; v++ {
		req := kmsg.NewPtrElectLeadersRequest()
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 9}}, {Topic: "u", Partitions: []int32{0}}}
		got := ask[*kmsg.ElectLeadersResponse](t, s, v, req)
		if got.ErrorCode != 0 || len(got.Topics) != 2 || got.Topics[0].Partitions[0].ErrorCode != kerr.ElectionNotNeeded.Code ||
			got.Topics[0].Partitions[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("v%d: %+v", v, got)
		}
		req.Topics = nil
		if got := ask[*kmsg.ElectLeadersResponse](t, s, v, req); got.ErrorCode != 0 || len(got.Topics) != 0 {
			t.Errorf("v%d, all: %+v", v, got)
		}
	}
}

func TestDescribeLogDirsAndProducers(t *testing.T) {
	s := adminServer(t, nil)
	createTopic(t, s, "t", 2)
	for v := int16(1); v <= 5; v++ {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "t", Partitions: []int32{1, 8}}, {Topic: "u", Partitions: []int32{0}}}
		got := ask[*kmsg.DescribeLogDirsResponse](t, s, v, req)
		if len(got.Dirs) != 1 || len(got.Dirs[0].Topics) != 1 || len(got.Dirs[0].Topics[0].Partitions) != 1 || got.Dirs[0].Topics[0].Partitions[0].Partition != 1 {
			t.Errorf("v%d: %+v", v, got)
		}
		req.Topics = nil
		if got := ask[*kmsg.DescribeLogDirsResponse](t, s, v, req); len(got.Dirs[0].Topics[0].Partitions) != 2 {
			t.Errorf("v%d, all: %+v", v, got)
		}
	}
	req := kmsg.NewPtrDescribeProducersRequest()
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0, 7}}}
	got := ask[*kmsg.DescribeProducersResponse](t, s, 0, req).Topics[0].Partitions
	if got[0].ErrorCode != 0 || len(got[0].ActiveProducers) != 0 || got[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("got %+v", got)
	}
}

func TestListConfigResourcesAndDeleteRecords(t *testing.T) {
	s := adminServer(t, nil)
	createTopic(t, s, "t", 1)
	for _, tt := range []struct {
		types []int8
		count int
		want  int16
	}{{nil, 2, 0}, {[]int8{2}, 1, 0}, {[]int8{4}, 1, 0}, {[]int8{8, 16, 32}, 0, 0}, {[]int8{99}, 0, kerr.UnsupportedVersion.Code}} {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = tt.types
		if got := ask[*kmsg.ListConfigResourcesResponse](t, s, 1, req); got.ErrorCode != tt.want || len(got.ConfigResources) != tt.count {
			t.Errorf("types %v: %+v", tt.types, got)
		}
	}
	for _, tt := range []struct {
		topic     string
		partition int32
		offset    int64
		want      *kerr.Error
	}{{"t", 0, -1, nil}, {"t", 0, 0, nil}, {"t", 0, 1, kerr.OffsetOutOfRange}, {"t", 0, -2, kerr.OffsetOutOfRange},
		{"t", 3, 0, kerr.UnknownTopicOrPartition}, {"u", 0, 0, kerr.UnknownTopicOrPartition}} {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: tt.topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: tt.partition, Offset: tt.offset}}}}
		got := ask[*kmsg.DeleteRecordsResponse](t, s, 2, req).Topics[0].Partitions[0]
		if kerr.ErrorForCode(got.ErrorCode) != errorOrNil(tt.want) || (tt.want == nil) != (got.LowWatermark == 0) {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}
