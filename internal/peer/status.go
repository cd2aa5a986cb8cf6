package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"
)

// EventKind says what happened with a node.
type EventKind uint8

// The kinds of events.
const (
	Connected    EventKind = iota + 1 // a control connection passed the handshake
	Disconnected                      // one ended: Reason
	Refused                           // a dial was answered with "nobody listens"
	Unreachable                       // a dial or handshake failed in another way
	Incompatible                      // a handshake was refused: Err is a *Refusal
	OtherNonce                        // the process is another one than before
)

func (k EventKind) String() string {
	names := [...]string{"", "connected", "disconnected", "refused", "unreachable", "incompatible", "other nonce"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("event(%d)", uint8(k))
}

// Event is something that happened with a node. Watchers see them in order; when they are slow, events may be missing, and Peers tells how
// things are.
type Event struct {
	Kind   EventKind
	Node   int32
	Out    bool  // about this node's own connection, not the other node's
	Hello  Hello // Connected, Disconnected, OtherNonce
	Reason string
	Err    error
}

// maxEvents bounds the events that wait for watchers.
const maxEvents = 1024

// nodeState is what is remembered of a node. Mesh.mu guards it.
type nodeState struct {
	hello     Hello // of the newest process that was met
	met       bool
	refused   bool // the last dial since the last connection was answered with "nobody listens"
	refusedAt time.Time
	errs      [2]error  // of the last attempt in each direction, see way
	said      string    // logged last, not to be repeated
	refusals  [2]string // logged last of refused handshakes in each direction
	dials     int64
	connects  int64
}

// way is the index of a direction: 0 for what the other node dials, 1 for what this one does. One may be accepted where the other is
// refused: an acceptor does not see that the dialer refuses it.
func way(out bool) int {
	if out {
		return 1
	}
	return 0
}

// PeerStatus is how things are with a node.
type PeerStatus struct {
	Node    int32
	Address string
	// Out and In: this node's own control connection is up; the other node's is.
	Out, In bool
	// Hello is of the process met last; its Nonce is 0 before the first.
	Hello Hello
	// Refused: the last dial was answered with "nobody listens".
	Refused   bool
	RefusedAt time.Time
	// HeardMs is when the last frame came, in Unix milliseconds, 0 for never.
	HeardMs     int64
	Connects    int64
	QueueFrames int
	QueueBytes  int
	Err         error // of the last attempt, this node's own first; nil once it has succeeded
}

// Gone reports whether the process met last has certainly ended: both connections are down and nobody listens any more.
func (s *PeerStatus) Gone() bool { return !s.Out && !s.In && s.Refused && s.Hello.Nonce != 0 }

// Watch registers fn for events. Call it before Run.
func (m *Mesh) Watch(fn func(Event)) { m.watchers = append(m.watchers, fn) }

func (m *Mesh) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-m.events:
			for _, fn := range m.watchers {
				fn(e)
			}
		}
	}
}

func (m *Mesh) emit(e Event) {
	select {
	case m.events <- e:
	default:
		m.lost.Add(1)
	}
}

// state returns what is remembered of a node, or nil for a stranger beyond the bound. mu is held.
func (m *Mesh) state(node int32) *nodeState {
	s := m.nodes[node]
	if s == nil {
		if len(m.nodes) >= maxInbound {
			return &nodeState{}
		}
		s = &nodeState{}
		m.nodes[node] = s
	}
	return s
}

func (m *Mesh) connected(c *conn) {
	id := c.peer.Member.NodeID
	m.mu.Lock()
	s := m.state(id)
	other := s.met && s.hello.Nonce != c.peer.Nonce
	if !s.met || s.hello.Member != c.peer.Member || s.hello.Boot <= c.peer.Boot {
		s.hello, s.met = c.peer, true
	}
	s.refused, s.said = false, ""
	s.errs[way(c.out)], s.refusals[way(c.out)] = nil, ""
	s.connects++
	m.mu.Unlock()
	if other {
		m.emit(Event{Kind: OtherNonce, Node: id, Out: c.out, Hello: c.peer})
	}
	if c.out {
		m.o.Logger.Info("node connected", "node", id, "disk", c.peer.Member.DiskID, "boot", c.peer.Boot, "version", c.peer.Version)
	}
	m.emit(Event{Kind: Connected, Node: id, Out: c.out, Hello: c.peer})
}

func (m *Mesh) disconnected(c *conn, err error) {
	reason := reasonOf(err)
	if c.out {
		m.o.Logger.Info("node disconnected", "node", c.peer.Member.NodeID, "reason", reason, "err", err)
	}
	m.emit(Event{Kind: Disconnected, Node: c.peer.Member.NodeID, Out: c.out, Hello: c.peer, Reason: reason, Err: err})
}

func reasonOf(err error) string {
	switch {
	case errors.Is(err, errRenewed), errors.Is(err, errReplaced), errors.Is(err, ErrClosed):
		return "local"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	}
	return "error"
}

// unreachable remembers a failed dial, and logs it once until something changes.
func (m *Mesh) unreachable(node int32, err error) {
	kind, said := Unreachable, "unreachable"
	if refusedDial(err) {
		kind, said = Refused, "refused"
	}
	m.mu.Lock()
	s := m.state(node)
	s.dials++
	s.errs[way(true)], s.refused = err, kind == Refused
	if s.refused {
		s.refusedAt = time.Now()
	}
	news := s.said != said
	s.said = said
	m.mu.Unlock()
	if news && m.running() {
		m.o.Logger.Info("node not reachable", "node", node, "err", err)
	}
	m.emit(Event{Kind: kind, Node: node, Out: true, Err: err})
}

func (m *Mesh) running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ctx != nil && m.ctx.Err() == nil
}

// refused remembers a refused handshake, and logs it once until something changes.
func (m *Mesh) refused(node int32, out bool, r *Refusal) {
	said := r.Error()
	m.mu.Lock()
	s := m.state(node)
	s.refused = false // somebody listens
	s.errs[way(out)] = r
	news := s.refusals[way(out)] != said
	s.refusals[way(out)] = said
	m.mu.Unlock()
	if news {
		level := slog.LevelWarn
		if r.Code == RefusedBoot {
			level = slog.LevelError // it does not pass
		}
		m.o.Logger.Log(context.Background(), level, "node refused", "node", node, "dialed", out, "err", r)
	}
	m.emit(Event{Kind: Incompatible, Node: node, Out: out, Err: r})
}

// Peers returns how things are with all nodes to which a connection is kept, in the order of their ids.
func (m *Mesh) Peers() []PeerStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]PeerStatus, 0, len(m.links))
	for id := range m.links {
		all = append(all, m.peer(id))
	}
	slices.SortFunc(all, func(a, b PeerStatus) int { return int(a.Node) - int(b.Node) })
	return all
}

// Peer returns how things are with one node.
func (m *Mesh) Peer(node int32) PeerStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peer(node)
}

func (m *Mesh) peer(id int32) PeerStatus {
	p := PeerStatus{Node: id, Address: m.o.Addr(id)}
	if s := m.nodes[id]; s != nil {
		p.Hello, p.Refused, p.RefusedAt, p.Connects = s.hello, s.refused, s.refusedAt, s.connects
		if p.Err = s.errs[way(true)]; p.Err == nil {
			p.Err = s.errs[way(false)]
		}
	}
	if l := m.links[id]; l != nil {
		if c := l.conn.Load(); c != nil {
			p.Out = true
			p.HeardMs = c.heard.Load()
			p.QueueFrames, p.QueueBytes = c.q.depth()
		}
	}
	if c := m.inbound[id]; c != nil {
		p.In = true
		p.HeardMs = max(p.HeardMs, c.heard.Load())
	}
	return p
}
