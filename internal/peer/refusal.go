package peer

import (
	"errors"
	"fmt"
)

// Errors of this package. Errors that callers see wrap one of these.
var (
	// ErrUnreachable: there is no connection; nothing was sent.
	ErrUnreachable = errors.New("node is not reachable")
	// ErrBusy: too many calls are waiting here or running there; the handler did not run.
	ErrBusy = errors.New("node is busy")
	// ErrUnknown: the call was sent and its outcome is not known.
	ErrUnknown = errors.New("outcome of the call unknown")
	// ErrRemote: the handler answered with an error.
	ErrRemote = errors.New("node answered with an error")
	// ErrNoHandler: the other node does not know the method, or does not serve it now.
	ErrNoHandler = errors.New("node does not serve the method")
	// ErrRefused: the handshake was refused; the error is a *Refusal.
	ErrRefused = errors.New("handshake refused")
	// ErrMalformed: bytes that are not what they should be.
	ErrMalformed = errors.New("malformed bytes from a node")
	// ErrClosed: the mesh or the stream was closed.
	ErrClosed = errors.New("closed")
)

// RefusalCode says why two processes must not talk.
type RefusalCode uint8

// The codes. They are on the wire: never change one.
const (
	RefusedVersion  RefusalCode = 1 // another protocol version
	RefusedCluster  RefusalCode = 2 // another cluster
	RefusedGenesis  RefusalCode = 3 // the same cluster id with other founders
	RefusedNode     RefusalCode = 4 // another node than the one wanted, or one's own id
	RefusedDisk     RefusalCode = 5 // the node is a member with another disk
	RefusedMetadata RefusalCode = 6 // no common metadata version
	RefusedBoot     RefusalCode = 7 // the disk was put back to an older state
	RefusedClass    RefusalCode = 8 // a class that is not served (now)
	RefusedIdentity RefusalCode = 9 // anything else about who it is
)

func (c RefusalCode) String() string {
	names := [...]string{"", "version", "cluster", "genesis", "node", "disk", "metadata version", "boot", "class", "identity"}
	if int(c) < len(names) && c > 0 {
		return names[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Refusal is a handshake that failed because of who the two sides are.
type Refusal struct {
	Code RefusalCode `json:"code"`
	Text string      `json:"text"`
	// Remote: the other side refused this one.
	Remote bool `json:"-"`
}

// Error implements error.
func (r *Refusal) Error() string {
	who := "this node refuses it"
	if r.Remote {
		who = "it refuses this node"
	}
	return fmt.Sprintf("%v: %s (%s): %s", ErrRefused, who, r.Code, r.Text)
}

// Unwrap makes it an ErrRefused.
func (r *Refusal) Unwrap() error { return ErrRefused }

func asRefusal(err error, r **Refusal) bool { return err != nil && errors.As(err, r) }
