package metadata

import (
	"maps"
	"slices"

	"github.com/chronik-io/chronik/internal/uuid"
)

// Event is one change of the cluster's metadata. The concrete types below are all there are.
type Event interface {
	// Type is the name of the event in the log.
	Type() string
	// Version is the version of the event's fields that this build writes.
	Version() int
	// Key names the entity the event is about, such as topic/orders. It is the record key on the metadata topic.
	Key() string

	appendFields(w *jsonWriter)
	apply(b *Batch) error
}

// Entry is an event at its place in the log.
type Entry struct {
	Offset int64
	Event  Event
}

// ClusterFounded is the first event of a cluster.
type ClusterFounded struct {
	ClusterID       string           `json:"clusterId"`
	MetadataVersion int32            `json:"metadataVersion"`
	Features        map[string]int16 `json:"features"`
	Founders        []Voter          `json:"founders"`
	TimestampMs     int64            `json:"timestampMs"`
}

// VotersChanged replaces the set of voters; at most one member differs from the set before.
type VotersChanged struct {
	Voters []Voter `json:"voters"`
}

// BrokerRegistered makes a new incarnation of a broker known, fenced or not. Partitions that it led keep it as leader under a new
// leader epoch: an incarnation never continues an epoch of the one before. With the disk it had before it stays in the ISR and ELR; with
// another it must have left both, by events before this one.
type BrokerRegistered struct {
	BrokerID int32 `json:"brokerId"`
	// BrokerEpoch is above every earlier one of this broker; the controller takes the event's offset.
	BrokerEpoch int64      `json:"brokerEpoch"`
	Incarnation uuid.UUID  `json:"incarnation"`
	DiskID      uuid.UUID  `json:"diskId"`
	Endpoints   []Endpoint `json:"endpoints"`
	Rack        string     `json:"rack"`
	Fenced      bool       `json:"fenced"`
}

// BrokerFenced takes a broker out of service. Its leaderships are moved by SetLeader events of the same commit.
type BrokerFenced struct {
	BrokerID    int32 `json:"brokerId"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// BrokerUnfenced puts a broker back in service.
type BrokerUnfenced struct {
	BrokerID    int32 `json:"brokerId"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// BrokerStopping says that a broker's process is about to end: what it led is moved by SetLeader events of the same commit, and it is not
// elected again before its next registration.
type BrokerStopping struct {
	BrokerID    int32 `json:"brokerId"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// BrokerUnregistered forgets a broker that holds no replica.
type BrokerUnregistered struct {
	BrokerID    int32 `json:"brokerId"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

// PartitionState is a partition at its creation: both epochs begin at 0.
type PartitionState struct {
	Replicas []int32 `json:"replicas"`
	ISR      []int32 `json:"isr"`
	Leader   int32   `json:"leader"`
}

// TopicCreated makes a topic with all its partitions and settings.
type TopicCreated struct {
	Name        string            `json:"name"`
	TopicID     uuid.UUID         `json:"topicId"`
	Internal    bool              `json:"internal"`
	TimestampMs int64             `json:"timestampMs"`
	Partitions  []PartitionState  `json:"partitions"`
	Configs     map[string]string `json:"configs"`
}

// TopicDeleted removes a topic with its settings and leaves a tombstone.
type TopicDeleted struct {
	Name        string    `json:"name"`
	TopicID     uuid.UUID `json:"topicId"`
	TimestampMs int64     `json:"timestampMs"`
}

// TombstonesPurged forgets deleted topics whose data is gone on every broker.
type TombstonesPurged struct {
	TopicIDs []uuid.UUID `json:"topicIds"`
}

// PartitionsAdded appends partitions to a topic; First is the number of the first new one.
type PartitionsAdded struct {
	Name       string           `json:"name"`
	TopicID    uuid.UUID        `json:"topicId"`
	First      int32            `json:"first"`
	Partitions []PartitionState `json:"partitions"`
}

// AssignPartition replaces a partition's replicas, and says which of them a reassignment is adding or removing.
type AssignPartition struct {
	Name      string    `json:"name"`
	TopicID   uuid.UUID `json:"topicId"`
	Partition int32     `json:"partition"`
	Replicas  []int32   `json:"replicas"`
	Adding    []int32   `json:"adding"`
	Removing  []int32   `json:"removing"`
	// PartitionEpoch is one above the partition's.
	PartitionEpoch int32 `json:"partitionEpoch"`
}

// SetLeader begins a leader epoch, with the ISR and ELR the leader starts from. The leader was in the ISR, or in the ELR when nobody
// of the ISR is left, and is in service; nobody else comes into the ISR, and nobody who was in neither comes into the ELR.
type SetLeader struct {
	Name      string    `json:"name"`
	TopicID   uuid.UUID `json:"topicId"`
	Partition int32     `json:"partition"`
	Leader    int32     `json:"leader"`
	ISR       []int32   `json:"isr"`
	ELR       []int32   `json:"elr"`
	// LeaderEpoch is above the partition's, PartitionEpoch one above.
	LeaderEpoch    int32 `json:"leaderEpoch"`
	PartitionEpoch int32 `json:"partitionEpoch"`
	// Unclean records that the leader was in neither the ISR nor the ELR: records may be lost. The ISR is the leader alone.
	Unclean bool `json:"unclean"`
}

// UpdateIsr replaces the ISR and ELR within a leader epoch. Who comes into the ISR is in service; who comes into the ELR was in the ISR.
type UpdateIsr struct {
	Name      string    `json:"name"`
	TopicID   uuid.UUID `json:"topicId"`
	Partition int32     `json:"partition"`
	ISR       []int32   `json:"isr"`
	ELR       []int32   `json:"elr"`
	// BrokerEpochs are the incarnations of the ISR's members that were measured, in the order of ISR.
	BrokerEpochs []int64 `json:"brokerEpochs"`
	// LeaderEpoch is the partition's, PartitionEpoch one above.
	LeaderEpoch    int32 `json:"leaderEpoch"`
	PartitionEpoch int32 `json:"partitionEpoch"`
}

// ConfigChanged sets and removes settings of one resource. A change of min.insync.replicas clears the ELR of the partitions it holds
// for, and is refused while one of them has an empty ISR: else a replica that missed records could become leader.
type ConfigChanged struct {
	Resource ResourceType      `json:"resource"`
	Name     string            `json:"name"`
	Set      map[string]string `json:"set"`
	Remove   []string          `json:"remove"`
}

// ProducerIDsAllocated gives the producer ids [First, Next) to a broker.
type ProducerIDsAllocated struct {
	BrokerID    int32 `json:"brokerId"`
	BrokerEpoch int64 `json:"brokerEpoch"`
	First       int64 `json:"first"`
	Next        int64 `json:"next"`
}

// eventTypes maps the names in the log to a decoder and the version it reads.
var eventTypes = map[string]eventType{}

// EventTypes are the names of all events in the log, sorted.
func EventTypes() []string { return slices.Sorted(maps.Keys(eventTypes)) }

type eventType struct {
	version int
	decode  func(fields []byte) (Event, error)
}

func init() {
	register[ClusterFounded]()
	register[VotersChanged]()
	register[BrokerRegistered]()
	register[BrokerFenced]()
	register[BrokerUnfenced]()
	register[BrokerStopping]()
	register[BrokerUnregistered]()
	register[TopicCreated]()
	register[TopicDeleted]()
	register[TombstonesPurged]()
	register[PartitionsAdded]()
	register[AssignPartition]()
	register[SetLeader]()
	register[UpdateIsr]()
	register[ConfigChanged]()
	register[ProducerIDsAllocated]()
}

func register[T any, P interface {
	*T
	Event
}]() {
	var zero P = new(T)
	eventTypes[zero.Type()] = eventType{
		version: zero.Version(),
		decode: func(fields []byte) (Event, error) {
			var ev P = new(T)
			return ev, strictUnmarshal(fields, ev)
		},
	}
}

func (*ClusterFounded) Type() string       { return "ClusterFounded" }
func (*VotersChanged) Type() string        { return "VotersChanged" }
func (*BrokerRegistered) Type() string     { return "BrokerRegistered" }
func (*BrokerFenced) Type() string         { return "BrokerFenced" }
func (*BrokerUnfenced) Type() string       { return "BrokerUnfenced" }
func (*BrokerStopping) Type() string       { return "BrokerStopping" }
func (*BrokerUnregistered) Type() string   { return "BrokerUnregistered" }
func (*TopicCreated) Type() string         { return "TopicCreated" }
func (*TopicDeleted) Type() string         { return "TopicDeleted" }
func (*TombstonesPurged) Type() string     { return "TombstonesPurged" }
func (*PartitionsAdded) Type() string      { return "PartitionsAdded" }
func (*AssignPartition) Type() string      { return "AssignPartition" }
func (*SetLeader) Type() string            { return "SetLeader" }
func (*UpdateIsr) Type() string            { return "UpdateIsr" }
func (*ConfigChanged) Type() string        { return "ConfigChanged" }
func (*ProducerIDsAllocated) Type() string { return "ProducerIDsAllocated" }

func (*ClusterFounded) Version() int       { return 1 }
func (*VotersChanged) Version() int        { return 1 }
func (*BrokerRegistered) Version() int     { return 1 }
func (*BrokerFenced) Version() int         { return 1 }
func (*BrokerUnfenced) Version() int       { return 1 }
func (*BrokerStopping) Version() int       { return 1 }
func (*BrokerUnregistered) Version() int   { return 1 }
func (*TopicCreated) Version() int         { return 1 }
func (*TopicDeleted) Version() int         { return 1 }
func (*TombstonesPurged) Version() int     { return 1 }
func (*PartitionsAdded) Version() int      { return 1 }
func (*AssignPartition) Version() int      { return 1 }
func (*SetLeader) Version() int            { return 1 }
func (*UpdateIsr) Version() int            { return 1 }
func (*ConfigChanged) Version() int        { return 1 }
func (*ProducerIDsAllocated) Version() int { return 1 }

func (*ClusterFounded) Key() string         { return keyCluster }
func (*VotersChanged) Key() string          { return keyVoters }
func (e *BrokerRegistered) Key() string     { return brokerKey(e.BrokerID) }
func (e *BrokerFenced) Key() string         { return brokerKey(e.BrokerID) }
func (e *BrokerUnfenced) Key() string       { return brokerKey(e.BrokerID) }
func (e *BrokerStopping) Key() string       { return brokerKey(e.BrokerID) }
func (e *BrokerUnregistered) Key() string   { return brokerKey(e.BrokerID) }
func (e *TopicCreated) Key() string         { return topicKey(e.Name) }
func (e *TopicDeleted) Key() string         { return topicKey(e.Name) }
func (*TombstonesPurged) Key() string       { return "tombstones" }
func (e *PartitionsAdded) Key() string      { return topicKey(e.Name) }
func (e *AssignPartition) Key() string      { return partitionKey(e.Name, e.Partition) }
func (e *SetLeader) Key() string            { return partitionKey(e.Name, e.Partition) }
func (e *UpdateIsr) Key() string            { return partitionKey(e.Name, e.Partition) }
func (e *ConfigChanged) Key() string        { return Resource{e.Resource, e.Name}.Key() }
func (e *ProducerIDsAllocated) Key() string { return keyProducerIDs }
