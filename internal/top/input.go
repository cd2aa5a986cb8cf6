package top

import (
	"time"

	"github.com/chronik-io/chronik/internal/metaclient"
)

// Input is one thing that was seen, with the time it was seen at. Exactly one of the other fields is set. A recording is a list of these.
type Input struct {
	At      time.Time   `json:"at"`
	Gauges  *Gauges     `json:"gauges,omitempty"`
	Log     *LogBatch   `json:"log,omitempty"`
	Trouble *Trouble    `json:"trouble,omitempty"`
	Header  *FileHeader `json:"header,omitempty"`
}

// FileHeader begins a recording.
type FileHeader struct {
	Format  string `json:"format"` // "chronik-top"
	Version int    `json:"version"`
	Target  string `json:"target"`
}

// Gauges are sampled values. Status and topics are read each for itself, so that neither waits for the other: what is nil was not read.
type Gauges struct {
	Status *metaclient.Status `json:"status,omitempty"`
	Topics []TopicGauge       `json:"topics"`
	// TookMs is how long reading took.
	TookMs int64 `json:"tookMs,omitempty"`
}

// TopicGauge is what is known of one topic at one moment.
type TopicGauge struct {
	Name       string `json:"name"`
	Internal   bool   `json:"internal,omitempty"`
	Partitions int    `json:"partitions"`
	Records    int64  `json:"records"`   // between start and end offsets
	EndOffset  int64  `json:"endOffset"` // summed over the partitions: its growth is the rate
	// Unread are partitions whose leader did not tell: they are in the sums with what they had when it last did.
	Unread int `json:"unread,omitempty"`
}

// LogBatch is some entries of the metadata log.
type LogBatch struct {
	Start   int64      `json:"start"` // first offset of the log
	End     int64      `json:"end"`   // where the log ended when reading began: what comes from there on is new
	Entries []LogInput `json:"entries"`
}

// LogInput is one entry as it was read.
type LogInput struct {
	Offset int64     `json:"offset"`
	Epoch  int32     `json:"epoch"`
	Time   time.Time `json:"time,omitzero"`
	Key    string    `json:"key"`
	Kind   string    `json:"kind,omitempty"`
	Hash   string    `json:"hash,omitempty"`
	Value  []byte    `json:"value"`
}

// Trouble is something that could not be read. An empty Text means that it works again.
type Trouble struct {
	Part string `json:"part"` // "cluster", "topics" or "log"
	Text string `json:"text"`
	// Absent says that the cluster has no metadata log at all.
	Absent bool `json:"absent,omitempty"`
}

// Parts of Trouble.
const (
	partCluster = "cluster"
	partTopics  = "topics"
	partLog     = "log"
)
