package chronikapi

import "github.com/twmb/franz-go/pkg/kmsg"

// NodeStatsRequest asks a node how much it does.
type NodeStatsRequest struct{ versioned }

// Key is NodeStats.
func (*NodeStatsRequest) Key() int16 { return NodeStats }

// ResponseKind is an empty response.
func (r *NodeStatsRequest) ResponseKind() kmsg.Response {
	return &NodeStatsResponse{versioned: r.versioned}
}

func (r *NodeStatsRequest) fields(*wire) {}

// AppendTo writes the request.
func (r *NodeStatsRequest) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a request.
func (r *NodeStatsRequest) ReadFrom(b []byte) error {
	return readMessage("NodeStats request", b, r.Version, r)
}

// KeyCount is how many requests of an API key came since the start; the key is -1 for those that are not served.
type KeyCount struct {
	Key   int16
	Count int64
}

// NodeStatsResponse holds counters since the start of the node, and gauges. Rates are the difference of two answers over the difference
// of their UptimeMs.
type NodeStatsResponse struct {
	versioned
	ErrorCode    int16
	ErrorMessage string

	NodeID   int32
	UptimeMs int64

	Connections int64
	BytesIn     int64 // counter
	BytesOut    int64 // counter
	FrameBytes  int64 // held by requests now
	FetchBytes  int64 // held by fetch responses now
	Requests    []KeyCount

	WALCommits   int64 // counter: commits made durable, one sync each
	WALRecords   int64 // counter
	WALUsedBytes int64
	WALMaxBytes  int64
	PendingBytes int64 // appended and not durable yet
	RingBytes    int64 // memory of recent commits, outside the heap
	// SyncP50Us and SyncP99Us are times of the node WAL's syncs in microseconds, at most; None before the first.
	SyncP50Us  int64
	SyncP99Us  int64
	HeapBytes  int64
	Goroutines int32
}

// Key is NodeStats.
func (*NodeStatsResponse) Key() int16 { return NodeStats }

// RequestKind is an empty request.
func (r *NodeStatsResponse) RequestKind() kmsg.Request {
	return &NodeStatsRequest{versioned: r.versioned}
}

func (r *NodeStatsResponse) fields(w *wire) {
	w.i16(&r.ErrorCode)
	w.string(&r.ErrorMessage)
	w.i32(&r.NodeID)
	w.i64(&r.UptimeMs)
	w.i64(&r.Connections)
	w.i64(&r.BytesIn)
	w.i64(&r.BytesOut)
	w.i64(&r.FrameBytes)
	w.i64(&r.FetchBytes)
	list(w, &r.Requests, func(w *wire, c *KeyCount) {
		w.i16(&c.Key)
		w.i64(&c.Count)
	})
	w.i64(&r.WALCommits)
	w.i64(&r.WALRecords)
	w.i64(&r.WALUsedBytes)
	w.i64(&r.WALMaxBytes)
	w.i64(&r.PendingBytes)
	w.i64(&r.RingBytes)
	w.i64(&r.SyncP50Us)
	w.i64(&r.SyncP99Us)
	w.i64(&r.HeapBytes)
	w.i32(&r.Goroutines)
}

// AppendTo writes the response.
func (r *NodeStatsResponse) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a response.
func (r *NodeStatsResponse) ReadFrom(b []byte) error {
	return readMessage("NodeStats response", b, r.Version, r)
}
