package metadata

import (
	"slices"
	"strconv"

	"github.com/chronik-io/chronik/internal/uuid"
)

// NoLeader stands where a partition has no leader.
const NoLeader int32 = -1

// Internal topics, which users read but do not write, alter or delete.
const (
	OffsetsTopic  = "__consumer_offsets"
	MetadataTopic = "__chronik_metadata"
)

// MetadataTopicID is the fixed id of the topic as which clients read the metadata log. The topic itself is in no image.
var MetadataTopicID = uuid.UUID{15: 1}

// Listener names of a broker's endpoints; clients know theirs by Kafka's name.
const (
	ListenerKafka = "PLAINTEXT"
	ListenerWAL   = "wal"
	ListenerRaft  = "raft"
)

// Endpoint is an address under which a broker can be reached.
type Endpoint struct {
	Listener string `json:"listener"`
	Host     string `json:"host"`
	Port     int32  `json:"port"`
}

// Broker is a registered node.
type Broker struct {
	ID int32 `json:"id"`
	// Epoch is the broker epoch: it rises with each registration and names one incarnation.
	Epoch int64 `json:"epoch"`
	// Incarnation is the boot nonce of the registered process.
	Incarnation uuid.UUID  `json:"incarnation"`
	DiskID      uuid.UUID  `json:"diskId"`
	Endpoints   []Endpoint `json:"endpoints"`
	// Rack is "" where none is set.
	Rack string `json:"rack,omitempty"`
	// Fenced brokers lead nothing and count as down.
	Fenced bool `json:"fenced,omitempty"`
	// Stopping: the process is about to end. It is not elected and joins no ISR any more. The next registration clears it.
	Stopping bool `json:"stopping,omitempty"`

	hash Hash
}

// Endpoint returns the broker's address of that listener name.
func (b *Broker) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	return Endpoint{}, false
}

// Partition is the state of one partition.
type Partition struct {
	Replicas []int32 `json:"replicas"`
	ISR      []int32 `json:"isr"`
	ELR      []int32 `json:"elr,omitempty"`
	// Adding and Removing are the replicas a reassignment in progress brings in and takes out; all of them are in Replicas.
	Adding   []int32 `json:"adding,omitempty"`
	Removing []int32 `json:"removing,omitempty"`
	// Leader is a broker id, or NoLeader.
	Leader         int32 `json:"leader"`
	LeaderEpoch    int32 `json:"leaderEpoch"`
	PartitionEpoch int32 `json:"partitionEpoch"`
	// UncleanEpoch is the leader epoch of the last unclean election, 0 for none. A replica may truncate below its own high watermark only
	// on the way to this epoch: there it was ordered.
	UncleanEpoch int32 `json:"unclean,omitempty"`

	hash Hash
}

// InISR reports whether the broker is an in-sync replica.
func (p *Partition) InISR(broker int32) bool { return slices.Contains(p.ISR, broker) }

// InELR reports whether the broker is an eligible leader replica.
func (p *Partition) InELR(broker int32) bool { return slices.Contains(p.ELR, broker) }

// HasReplica reports whether the broker holds a replica.
func (p *Partition) HasReplica(broker int32) bool { return slices.Contains(p.Replicas, broker) }

// Topic is a topic with all its partitions. Its settings are under Image.Config(ResourceTopic, Name).
type Topic struct {
	Name string
	ID   uuid.UUID
	// Internal topics belong to the cluster; clients do not write them.
	Internal bool
	// CreatedMs is when the topic was created, in Unix milliseconds.
	CreatedMs int64
	// Partitions are in the order of their numbers.
	Partitions []*Partition

	hash Hash
}

// Partition returns partition n, or nil.
func (t *Topic) Partition(n int32) *Partition {
	if n < 0 || int(n) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[n]
}

// Tombstone remembers a deleted topic, so that its data may be deleted wherever it turns up and its id is never used again.
type Tombstone struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	DeletedMs int64     `json:"deletedMs"`

	hash Hash
}

// ResourceType says what a set of settings belongs to. The names are those in the log.
type ResourceType string

// The resources that have settings. The broker resource with the empty name holds the defaults of all brokers.
const (
	ResourceTopic         ResourceType = "topic"
	ResourceBroker        ResourceType = "broker"
	ResourceGroup         ResourceType = "group"
	ResourceClientMetrics ResourceType = "client-metrics"
)

// Resource names one holder of settings.
type Resource struct {
	Type ResourceType
	Name string
}

// configResource is the entity of a resource's settings.
type configResource struct {
	Resource
	values map[string]string
	hash   Hash
}

// Cluster is what holds for the cluster as a whole.
type Cluster struct {
	// ID is empty until the cluster is founded.
	ID        string `json:"id"`
	FoundedMs int64  `json:"foundedMs"`
	// MetadataVersion is the version of this log's contents that all voters support.
	MetadataVersion int32 `json:"metadataVersion"`
	// Features are the finalized feature levels.
	Features map[string]int16 `json:"features,omitempty"`
	// Founders are the members the cluster began with.
	Founders []Voter `json:"founders"`

	hash Hash
}

// Voter is a member that counts for commits.
type Voter struct {
	NodeID int32     `json:"nodeId"`
	DiskID uuid.UUID `json:"diskId"`
}

// voterSet is the entity of the voters in force.
type voterSet struct {
	Voters []Voter `json:"voters"`
	hash   Hash
}

// producerIDs is the entity of the next producer id nobody has.
type producerIDs struct {
	Next int64 `json:"next"`
	hash Hash
}

// Keys of entities: they are the record keys on the metadata topic and the order of a snapshot.
const (
	keyCluster     = "cluster"
	keyVoters      = "voters"
	keyProducerIDs = "producer-ids"
)

// defaultBrokerName stands in keys for the empty name of the resource that holds all brokers' defaults.
const defaultBrokerName = "<default>"

func topicKey(name string) string           { return "topic/" + name }
func brokerKey(id int32) string             { return "broker/" + strconv.Itoa(int(id)) }
func tombstoneKey(id uuid.UUID) string      { return "tombstone/" + id.String() }
func partitionKey(t string, n int32) string { return "partition/" + t + "/" + strconv.Itoa(int(n)) }

// Key is the entity key of the resource's settings, such as config/topic/orders.
func (r Resource) Key() string { return string(r.appendKey(nil)) }

func (r Resource) appendKey(b []byte) []byte {
	name := r.Name
	if name == "" {
		name = defaultBrokerName
	}
	b = append(b, "config/"...)
	b = append(b, r.Type...)
	b = append(b, '/')
	return append(b, name...)
}

// clone makes a copy whose slices may be replaced (not written into).
func (p *Partition) clone() *Partition { c := *p; return &c }
