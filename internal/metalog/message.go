package metalog

// MessageType says which fields of a Message are used.
type MessageType uint8

// The messages. Zero is invalid.
const (
	// MsgFence asks for a promise to Ballot.
	MsgFence MessageType = 1
	// MsgPromise answers it, after the promise is durable: Report.
	MsgPromise MessageType = 2
	// MsgRefuse answers any message of a lower ballot: Promised.
	MsgRefuse MessageType = 3
	// MsgAppend replicates: Prev, Entries, Commit, LeaderEnd, ToNonce.
	MsgAppend MessageType = 4
	// MsgAck answers after everything up to End is durable: End, Faulty.
	MsgAck MessageType = 5
	// MsgNack answers an Append whose Prev does not fit: End, Commit, Faulty.
	MsgNack MessageType = 6
	// MsgFetch asks the holder of the best log for entries: Offset, MaxBytes. Sent by a node that is adopting.
	MsgFetch MessageType = 7
	// MsgFetched answers: Prev, Entries, or Image if Offset lies below the holder's start.
	MsgFetched MessageType = 8
	// MsgInstall gives an image to a log that is too short or differs at the sender's start: Image.
	MsgInstall MessageType = 9
)

// Message is one message between two members. A message is immutable once sent. The transport may lose, repeat, delay and reorder.
type Message struct {
	Type MessageType
	// From and To are members; a message for another member than the one that receives it is dropped.
	From, To Member
	// FromBoot is the sender's durable boot counter, FromNonce names its process.
	FromBoot  uint64
	FromNonce uint64
	Ballot    Ballot

	Promised  Ballot     // Refuse
	Report    *Report    // Promise
	Prev      Position   // Append, Fetched
	Entries   []Entry    // Append, Fetched
	Commit    int64      // Append, Nack
	LeaderEnd int64      // Append
	ToNonce   uint64     // Append: the receiver's process as the leader knows it, 0 if unknown
	End       int64      // Ack, Nack
	Faulty    bool       // Ack, Nack
	Offset    int64      // Fetch: first offset wanted
	MaxBytes  int32      // Fetch
	Image     *ImageFile // Install, Fetched
}

// Report is what a node says of its log when it promises.
type Report struct {
	Last    Position
	Start   int64
	Commit  int64
	Lineage []EpochSpan
	Voters  VoterSet
	Fault   *Fault
}

// ImageMeta is what an image holds besides the image itself.
type ImageMeta struct {
	// At is the position of the image: all entries below At.End are in it.
	At      Position
	Lineage []EpochSpan
	Voters  VoterSet
}

// ImageFile is an image as it is sent and stored.
type ImageFile struct {
	Meta ImageMeta
	Data []byte
}

// Transport carries messages to other members. Send never blocks and may drop: the core repeats what matters. It is called by the
// owner goroutine only.
type Transport interface {
	Send(m *Message)
}
