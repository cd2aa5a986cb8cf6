package chronikapi

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The API keys. Kafka's are below 128; the range from FirstKey on is ours.
const (
	FirstKey          int16 = 20000
	NodeInfo          int16 = 20000
	NodeStats         int16 = 20001
	GetImage          int16 = 20002
	PartitionChecksum int16 = 20003
	LastKey           int16 = PartitionChecksum
)

// ClientPrefix begins the software name of the clients that are shown these requests.
const ClientPrefix = "chronik"

// IsClient reports whether a client of that software name (KIP-511) may use these requests.
func IsClient(softwareName string) bool { return strings.HasPrefix(softwareName, ClientPrefix) }

// IsKey reports whether the key is one of this package.
func IsKey(key int16) bool { return key >= FirstKey && key <= LastKey }

// RequestForKey makes an empty request, nil for a key of somebody else.
func RequestForKey(key int16) kmsg.Request {
	switch key {
	case NodeInfo:
		return NewNodeInfoRequest()
	case NodeStats:
		return &NodeStatsRequest{}
	case GetImage:
		return &GetImageRequest{}
	case PartitionChecksum:
		return NewPartitionChecksumRequest()
	}
	return nil
}

// Name is the name of a key, "" for a key of somebody else.
func Name(key int16) string {
	switch key {
	case NodeInfo:
		return "NodeInfo"
	case NodeStats:
		return "NodeStats"
	case GetImage:
		return "GetImage"
	case PartitionChecksum:
		return "PartitionChecksum"
	}
	return ""
}

// versioned is the version that a request or response is written in.
type versioned struct{ Version int16 }

// SetVersion sets the version to write or read.
func (v *versioned) SetVersion(version int16) { v.Version = version }

// GetVersion is the version to write or read.
func (v *versioned) GetVersion() int16 { return v.Version }

// IsFlexible says that lengths are compact and that tagged fields follow each struct, in every version.
func (v *versioned) IsFlexible() bool { return true }

// MaxVersion is the newest version that is known here.
func (v *versioned) MaxVersion() int16 { return 0 }
