package chronikapi

import "github.com/twmb/franz-go/pkg/kmsg"

// PartitionChecksumRequest asks a node about its own replica of a partition, led by it or not: how far it reaches, and a checksum of the
// batches in it.
type PartitionChecksumRequest struct {
	versioned
	TopicID   [16]byte
	Partition int32
	// From and To bound the batches, which have to lie wholly in [From, To). From None asks for no checksum.
	From int64
	To   int64
	// CRC is the checksum to continue; 0 at the beginning. A node does a part of a large range in one request.
	CRC int32
}

// NewPartitionChecksumRequest asks for no checksum.
func NewPartitionChecksumRequest() *PartitionChecksumRequest {
	return &PartitionChecksumRequest{From: None, To: None}
}

// Key is PartitionChecksum.
func (*PartitionChecksumRequest) Key() int16 { return PartitionChecksum }

// ResponseKind is an empty response.
func (r *PartitionChecksumRequest) ResponseKind() kmsg.Response {
	return &PartitionChecksumResponse{versioned: r.versioned, Next: None}
}

func (r *PartitionChecksumRequest) fields(w *wire) {
	w.id(&r.TopicID)
	w.i32(&r.Partition)
	w.i64(&r.From)
	w.i64(&r.To)
	w.i32(&r.CRC)
}

// AppendTo writes the request.
func (r *PartitionChecksumRequest) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a request.
func (r *PartitionChecksumRequest) ReadFrom(b []byte) error {
	return readMessage("PartitionChecksum request", b, r.Version, r)
}

// PartitionChecksumResponse says what is in a replica's own log. Its bounds are of the moment of the request, before the checksum.
type PartitionChecksumResponse struct {
	versioned
	ErrorCode    int16
	ErrorMessage string

	NodeID int32
	Leads  bool // this node leads the partition
	// LeaderEpoch is the one that the node knows of.
	LeaderEpoch   int32
	Start         int64 // log start offset
	HighWatermark int64 // as far as the replica knows: a follower learns of it a little later
	Durable       int64 // records below are on the node's disk
	End           int64 // log end offset

	// CRC is a CRC-32C over {batch CRC 4 bytes, base offset 8, leader epoch 4}, big endian, of all Batches, every one of which was read
	// and verified. It covers [From, Next) of the request; the rest has to be asked for. Next is None where none was asked for.
	CRC     int32
	Batches int64
	Next    int64
}

// Key is PartitionChecksum.
func (*PartitionChecksumResponse) Key() int16 { return PartitionChecksum }

// RequestKind is an empty request.
func (r *PartitionChecksumResponse) RequestKind() kmsg.Request {
	return &PartitionChecksumRequest{versioned: r.versioned, From: None, To: None}
}

func (r *PartitionChecksumResponse) fields(w *wire) {
	w.i16(&r.ErrorCode)
	w.string(&r.ErrorMessage)
	w.i32(&r.NodeID)
	w.bool(&r.Leads)
	w.i32(&r.LeaderEpoch)
	w.i64(&r.Start)
	w.i64(&r.HighWatermark)
	w.i64(&r.Durable)
	w.i64(&r.End)
	w.i32(&r.CRC)
	w.i64(&r.Batches)
	w.i64(&r.Next)
}

// AppendTo writes the response.
func (r *PartitionChecksumResponse) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a response.
func (r *PartitionChecksumResponse) ReadFrom(b []byte) error {
	return readMessage("PartitionChecksum response", b, r.Version, r)
}
