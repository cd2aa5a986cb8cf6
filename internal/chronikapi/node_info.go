package chronikapi

import "github.com/twmb/franz-go/pkg/kmsg"

// None stands for an offset or a number that is not known or not asked for.
const None int64 = -1

// NodeInfoRequest asks a node how it is.
type NodeInfoRequest struct {
	versioned
	// HashAt is the offset of an entry of the metadata log whose hash is wanted; None for none.
	HashAt int64
}

// NewNodeInfoRequest asks for no entry's hash.
func NewNodeInfoRequest() *NodeInfoRequest { return &NodeInfoRequest{HashAt: None} }

// Key is NodeInfo.
func (*NodeInfoRequest) Key() int16 { return NodeInfo }

// MaxVersion is 2: version 1 brought Damaged, version 2 brings DiskFull and MinFreeBytes.
func (*NodeInfoRequest) MaxVersion() int16 { return 2 }

// ResponseKind is an empty response.
func (r *NodeInfoRequest) ResponseKind() kmsg.Response {
	return &NodeInfoResponse{versioned: r.versioned}
}

func (r *NodeInfoRequest) fields(w *wire) { w.i64(&r.HashAt) }

// AppendTo writes the request.
func (r *NodeInfoRequest) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a request.
func (r *NodeInfoRequest) ReadFrom(b []byte) error {
	return readMessage("NodeInfo request", b, r.Version, r)
}

// The states of a connection to another node.
const (
	PeerConnected   = "connected"   // both directions
	PeerHalf        = "half"        // one direction only
	PeerRefused     = "refused"     // nobody listens there
	PeerUnreachable = "unreachable" // no connection, for another reason
	PeerEmpty       = "empty"       // a process with its id runs on an empty directory and waits to be taken in
	PeerBanned      = "banned"      // its disk was put back to an older state, or a copy of it has run: the metadata log hears it no more
)

// Peer is how things are between the node and another one.
type Peer struct {
	NodeID  int32
	Address string
	State   string
	// HeardMsAgo is the time since the last frame from it; None for never.
	HeardMsAgo int64
	Error      string
}

func (p *Peer) fields(w *wire) {
	w.i32(&p.NodeID)
	w.string(&p.Address)
	w.string(&p.State)
	w.i64(&p.HeardMsAgo)
	w.string(&p.Error)
}

// DamagedReplica is a replica of the node's whose data, as it has found, cannot be read as a whole.
type DamagedReplica struct {
	Topic     string
	Partition int32
	Error     string
}

// MaxDamaged bounds NodeInfoResponse.Damaged.
const MaxDamaged = 1000

// NodeInfoResponse says how a node is. Offsets are those of the metadata log.
type NodeInfoResponse struct {
	versioned
	ErrorCode    int16
	ErrorMessage string

	ClusterID       string
	NodeID          int32
	DiskID          [16]byte
	SoftwareVersion string
	UptimeMs        int64
	DataDir         string
	FreeBytes       int64 // of the disk of the data directory; None if it cannot be told
	TotalBytes      int64

	// Role is what the node is doing for the metadata log: follower, fencing, adopting, opening, leader.
	Role   string
	Voter  bool
	Leader int32 // who leads, as far as the node knows; -1
	Epoch  int64 // of the last entry
	// BallotTerm and BallotNode are of the ballot promised last.
	BallotTerm int64
	BallotNode int32
	Start      int64 // first offset that can be read
	Commit     int64 // entries below are committed
	Applied    int64 // entries below are in the image
	End        int64 // entries below are in the node's log
	Durable    int64 // entries below are on the node's disk
	Snapshot   int64 // the newest image file holds the entries below
	FaultFrom  int64 // entries from here on may have been lost; None

	// ImageOffset is the offset of the last entry in the image whose hash ImageHash is.
	ImageOffset int64
	ImageHash   [16]byte
	// EntryOffset is the HashAt of the request, None if that entry is not here; EntryHash is its hash, which covers all entries before.
	EntryOffset int64
	EntryHash   [16]byte

	Leaders  int32 // partitions that the node leads
	Replicas int32 // replicas that it holds
	Peers    []Peer
	Damaged  []DamagedReplica // since version 1, at most MaxDamaged

	// DiskFull: the node takes no records, because its disk has less than MinFreeBytes free or a write found no space. Since version 2.
	DiskFull     bool
	MinFreeBytes int64 // since version 2; 0 before
}

// MaxVersion is 2: version 1 brought Damaged, version 2 brings DiskFull and MinFreeBytes.
func (*NodeInfoResponse) MaxVersion() int16 { return 2 }

// Key is NodeInfo.
func (*NodeInfoResponse) Key() int16 { return NodeInfo }

// RequestKind is an empty request.
func (r *NodeInfoResponse) RequestKind() kmsg.Request {
	return &NodeInfoRequest{versioned: r.versioned, HashAt: None}
}

func (r *NodeInfoResponse) fields(w *wire) {
	w.i16(&r.ErrorCode)
	w.string(&r.ErrorMessage)
	w.string(&r.ClusterID)
	w.i32(&r.NodeID)
	w.id(&r.DiskID)
	w.string(&r.SoftwareVersion)
	w.i64(&r.UptimeMs)
	w.string(&r.DataDir)
	w.i64(&r.FreeBytes)
	w.i64(&r.TotalBytes)
	w.string(&r.Role)
	w.bool(&r.Voter)
	w.i32(&r.Leader)
	w.i64(&r.Epoch)
	w.i64(&r.BallotTerm)
	w.i32(&r.BallotNode)
	w.i64(&r.Start)
	w.i64(&r.Commit)
	w.i64(&r.Applied)
	w.i64(&r.End)
	w.i64(&r.Durable)
	w.i64(&r.Snapshot)
	w.i64(&r.FaultFrom)
	w.i64(&r.ImageOffset)
	w.id(&r.ImageHash)
	w.i64(&r.EntryOffset)
	w.id(&r.EntryHash)
	w.i32(&r.Leaders)
	w.i32(&r.Replicas)
	list(w, &r.Peers, func(w *wire, p *Peer) { p.fields(w) })
	if w.version >= 1 {
		list(w, &r.Damaged, func(w *wire, d *DamagedReplica) {
			w.string(&d.Topic)
			w.i32(&d.Partition)
			w.string(&d.Error)
		})
	}
	if w.version >= 2 {
		w.bool(&r.DiskFull)
		w.i64(&r.MinFreeBytes)
	}
}

// AppendTo writes the response.
func (r *NodeInfoResponse) AppendTo(b []byte) []byte { return appendMessage(b, r.Version, r) }

// ReadFrom reads a response.
func (r *NodeInfoResponse) ReadFrom(b []byte) error {
	return readMessage("NodeInfo response", b, r.Version, r)
}
