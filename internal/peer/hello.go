package peer

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"

	"github.com/chronik-io/chronik/internal/metadata"
	"github.com/chronik-io/chronik/internal/metalog"
)

// Member is a node with the disk it was admitted with.
type Member = metadata.Voter

// ProtocolVersion is the version of the handshake and the frames.
const ProtocolVersion = 1

// Class says what a connection is for.
type Class uint8

// The classes of connections.
const (
	ClassControl Class = 1 // metadata log, heartbeats, calls
	ClassLive    Class = 2 // replication of what is appended now
	ClassCatchUp Class = 3 // replication of what a follower has missed
)

func (c Class) String() string {
	switch c {
	case ClassControl:
		return "control"
	case ClassLive:
		return "live"
	case ClassCatchUp:
		return "catch-up"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Hello is what a process says of itself at the begin of every connection.
type Hello struct {
	// ClusterID and Genesis are empty while Founding.
	ClusterID string   `json:"cluster,omitempty"`
	Genesis   [32]byte `json:"genesis"`
	Member    Member   `json:"member"`
	// Boot is the durable boot counter, Nonce names the process.
	Boot  uint64 `json:"boot"`
	Nonce uint64 `json:"nonce"`
	// Boots are the processes that this disk has seen, this one last: see metalog.Core.Handshake.
	Boots []metalog.PeerBoot `json:"boots,omitempty"`
	// Version is of the software, for people.
	Version string `json:"version"`
	// MetadataMin and MetadataMax are the versions of the metadata that this process can run.
	MetadataMin int32 `json:"metadataMin"`
	MetadataMax int32 `json:"metadataMax"`
	// Founding: this process belongs to no cluster yet.
	Founding bool `json:"founding,omitempty"`
}

const (
	handshakeMagic   = "CHRP"
	handshakeTimeout = 3 * time.Second
	handshakeHeader  = 4 + 2 + 4 + 4 // magic, version, length, crc32c
	maxHandshake     = 64 << 10
	maxHandshakes    = 64 // connections that have not said who they are yet
	maxHelloBoots    = 64
)

// greeting is what a side sends in the handshake: the dialer Want and Class, the acceptor Refusal.
type greeting struct {
	Hello   Hello    `json:"hello"`
	Want    int32    `json:"want"`
	Class   Class    `json:"class,omitempty"`
	Refusal *Refusal `json:"refusal,omitempty"`
}

func writeGreeting(w io.Writer, g *greeting) error {
	body, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("encode handshake: %w", err)
	}
	b := make([]byte, 0, handshakeHeader+len(body))
	b = append(b, handshakeMagic...)
	b = binary.BigEndian.AppendUint16(b, ProtocolVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	if _, err := w.Write(append(b, body...)); err != nil {
		return fmt.Errorf("write handshake: %w", err)
	}
	return nil
}

// readGreeting reads the other side's part. Another protocol version is a Refusal.
func readGreeting(r io.Reader) (*greeting, error) {
	var head [handshakeHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	if string(head[:4]) != handshakeMagic {
		return nil, fmt.Errorf("read handshake: %w: not a node of Chronik", ErrMalformed)
	}
	n := binary.BigEndian.Uint32(head[6:])
	if n > maxHandshake {
		return nil, fmt.Errorf("read handshake: %w: %d bytes", ErrMalformed, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	// Read to its end first: unread bytes would turn the answer into a reset.
	if v := binary.BigEndian.Uint16(head[4:]); v != ProtocolVersion {
		return nil, &Refusal{Code: RefusedVersion, Text: fmt.Sprintf("it speaks protocol version %d, this node %d", v, ProtocolVersion)}
	}
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(head[10:]) {
		return nil, fmt.Errorf("read handshake: %w: checksum", ErrMalformed)
	}
	g := &greeting{}
	if err := json.Unmarshal(body, g); err != nil {
		return nil, fmt.Errorf("read handshake: %w: %w", ErrMalformed, err)
	}
	if len(g.Hello.Boots) > maxHelloBoots {
		return nil, fmt.Errorf("read handshake: %w: %d boots", ErrMalformed, len(g.Hello.Boots))
	}
	return g, nil
}

// check says why own and the other process must not talk; nil if they may.
func check(own, other *Hello) *Refusal {
	refuse := func(c RefusalCode, format string, args ...any) *Refusal {
		return &Refusal{Code: c, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case other.Nonce == 0 || other.Member.DiskID.IsZero():
		return refuse(RefusedIdentity, "it does not say who it is")
	case other.Member.NodeID == own.Member.NodeID:
		return refuse(RefusedNode, "it is node %d too", own.Member.NodeID)
	case other.Member.DiskID == own.Member.DiskID:
		return refuse(RefusedDisk, "it has a copy of the disk %s", own.Member.DiskID)
	case own.Founding || other.Founding:
		return nil // only founding is possible, and that compares for itself
	case other.ClusterID != own.ClusterID:
		return refuse(RefusedCluster, "it belongs to cluster %q, this node to %q", other.ClusterID, own.ClusterID)
	case other.Genesis != own.Genesis:
		return refuse(RefusedGenesis, "cluster %q was founded otherwise there", own.ClusterID)
	case other.MetadataMin > own.MetadataMax || own.MetadataMin > other.MetadataMax:
		return refuse(RefusedMetadata, "it runs metadata versions %d to %d, this node %d to %d", other.MetadataMin, other.MetadataMax, own.MetadataMin, own.MetadataMax)
	}
	return nil
}

// greet is the dialer's part of the handshake.
func (m *Mesh) greet(conn net.Conn, want int32, class Class) (*Hello, *Hello, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, nil, err
	}
	own := m.o.Hello()
	if err := writeGreeting(conn, &greeting{Hello: own, Want: want, Class: class}); err != nil {
		return nil, nil, err
	}
	g, err := readGreeting(conn)
	if err != nil {
		return nil, nil, err
	}
	if g.Refusal != nil {
		g.Refusal.Remote = true
		return nil, &g.Hello, g.Refusal
	}
	if g.Hello.Member.NodeID != want {
		return nil, &g.Hello, &Refusal{Code: RefusedNode, Text: fmt.Sprintf("it is node %d", g.Hello.Member.NodeID)}
	}
	if r := m.judge(&own, &g.Hello); r != nil {
		return nil, &g.Hello, r
	}
	return &own, &g.Hello, conn.SetDeadline(time.Time{})
}

// answer is the acceptor's part.
func (m *Mesh) answer(conn net.Conn) (own, other *Hello, class Class, err error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, nil, 0, err
	}
	g, err := readGreeting(conn)
	mine := m.o.Hello()
	reply := &greeting{Hello: mine}
	var refusal *Refusal
	switch {
	case asRefusal(err, &refusal):
		reply.Refusal = refusal
		_ = writeGreeting(conn, reply) // the refusal is what matters
		return nil, nil, 0, refusal
	case err != nil:
		return nil, nil, 0, err
	case g.Want != mine.Member.NodeID:
		refusal = &Refusal{Code: RefusedNode, Text: fmt.Sprintf("node %d is wanted, this is node %d", g.Want, mine.Member.NodeID)}
	case g.Class < ClassControl || g.Class > ClassCatchUp:
		refusal = &Refusal{Code: RefusedClass, Text: fmt.Sprintf("%s is not known here", g.Class)}
	case g.Class != ClassControl && (mine.Founding || g.Hello.Founding):
		refusal = &Refusal{Code: RefusedClass, Text: "no replication before the cluster is founded"}
	default:
		refusal = m.judge(&mine, &g.Hello)
	}
	reply.Refusal = refusal
	if err := writeGreeting(conn, reply); err != nil {
		return nil, nil, 0, err
	}
	if refusal != nil {
		return nil, &g.Hello, 0, refusal
	}
	return &mine, &g.Hello, g.Class, conn.SetDeadline(time.Time{})
}

// judge applies the rules of this package and those of the owner.
func (m *Mesh) judge(own, other *Hello) *Refusal {
	if r := check(own, other); r != nil {
		return r
	}
	if m.o.Admit == nil || own.Founding || other.Founding {
		return nil
	}
	err := m.o.Admit(other)
	var r *Refusal
	if err != nil && !asRefusal(err, &r) {
		r = &Refusal{Code: RefusedIdentity, Text: err.Error()}
	}
	return r
}
