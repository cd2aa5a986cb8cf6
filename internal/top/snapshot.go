package top

import (
	"time"

	"github.com/chronik-io/chronik/internal/metaclient"
	"github.com/chronik-io/chronik/internal/metadata"
)

// Snapshot is all that a frame shows. It is never changed after it was handed out.
type Snapshot struct {
	At     time.Time
	Target string
	Replay bool

	// Status is nil before the first answer; StatusAt is of when it is, and TopicsAt of when the topics are.
	Status   *metaclient.Status
	StatusAt time.Time
	TopicsAt time.Time
	Cluster  string // trouble reading the cluster, "" if none
	Offsets  string // trouble reading the topics' offsets
	Log      string // trouble reading the log
	NoLog    bool   // the cluster has no metadata log
	// Unread are partitions whose leader did not tell their offsets the last time.
	Unread int
	// Behind is how many entries the cluster has committed that have not come since BehindSince; 0 for none.
	Behind      int64
	BehindSince time.Time

	Rate   float64 // records per second, all user topics
	Peak   float64
	Series []float64     // Rate of the last samples, oldest first
	Span   time.Duration // that Series covers: samples are further apart while a node is silent, and in a large cluster
	Topics []TopicRate

	Events  []Event // oldest first
	Dropped int64   // events that fell out of the ring
	Image   *metadata.Image
	FoldErr string
	// Whole says that the image was folded from the log's very beginning.
	Whole bool
	// HashOffset is the last entry at which the log's hash of the image was compared and equal; -1 for never.
	HashOffset int64
	PerMinute  int // events of the last minute
}

// TopicRate is a topic with its speed.
type TopicRate struct {
	TopicGauge
	Rate   float64
	Series []float64
}

// Event is one entry of the log with the images around it. Its time is zero when neither the log says it nor we saw it come.
type Event struct {
	metaclient.LogEntry
	What          string
	Before, After *metadata.Image
}
