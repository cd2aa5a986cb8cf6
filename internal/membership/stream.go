package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Before Raft's own bytes a connection carries one question and one answer, big endian:
//
//	question: "CHRF" | version 1 | three texts: cluster id, id of the caller, id of the server that is meant
//	answer:   code 1 | one text: id of the server that answers
//
// A text is its length in one byte and its bytes. A refused connection is closed after the answer.
const (
	handshakeMagic   = "CHRF"
	handshakeVersion = 1
	handshakeTimeout = 3 * time.Second
	maxHandshakes    = 32 // connections that have not said who they are yet
)

// Codes of the answer.
const (
	handshakeOK byte = iota
	handshakeWrongVersion
	handshakeWrongCluster
	handshakeWrongServer
	handshakeBanned
)

// streamLayer makes connections for Raft and refuses those that mean another server or cluster: Raft itself counts votes
// and acknowledgements by configured address, whoever answers there.
type streamLayer struct {
	listener net.Listener
	cluster  string
	self     Member
	bans     *bans
	accepted chan net.Conn
	slots    chan struct{}
	closing  context.Context // done once Close was called
	close    context.CancelFunc
	once     sync.Once
	done     sync.WaitGroup
}

var _ raft.StreamLayer = (*streamLayer)(nil)

func newStreamLayer(o Options) *streamLayer {
	s := &streamLayer{
		listener: o.Listener, cluster: o.ClusterID, self: o.Self, bans: o.bans,
		accepted: make(chan net.Conn), slots: make(chan struct{}, maxHandshakes),
	}
	if s.bans == nil {
		s.bans = newBans()
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.done.Go(s.acceptAll)
	return s
}

// acceptAll runs the handshakes, each in a goroutine of its own: a silent caller must not keep others out.
func (s *streamLayer) acceptAll() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.closing.Done():
				return
			case <-time.After(10 * time.Millisecond): // out of file descriptors, most probably
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			}
		}
		select {
		case s.slots <- struct{}{}:
		default:
			_ = conn.Close() // too many strangers at once
			continue
		}
		s.done.Go(func() {
			defer func() { <-s.slots }()
			defer context.AfterFunc(s.closing, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
			from, err := s.answer(conn)
			if err != nil {
				_ = conn.Close()
				return
			}
			known := s.bans.watch(from, conn)
			if known == nil {
				_ = conn.Close()
				return
			}
			select {
			case s.accepted <- known:
			case <-s.closing.Done():
				_ = known.Close()
			}
		})
	}
}

// answer reads the question of a caller, replies, and returns the caller's id.
func (s *streamLayer) answer(conn net.Conn) (from string, err error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return "", err
	}
	head := make([]byte, len(handshakeMagic)+1)
	if _, err := io.ReadFull(conn, head); err != nil {
		return "", err
	}
	code := handshakeOK
	switch {
	case string(head[:len(handshakeMagic)]) != handshakeMagic:
		return "", ErrHandshake // not one of ours: say nothing
	case head[len(handshakeMagic)] != handshakeVersion:
		code = handshakeWrongVersion
	default:
		texts, err := readTexts(conn, 3)
		if err != nil {
			return "", err
		}
		from = texts[1]
		switch {
		case texts[0] != s.cluster:
			code = handshakeWrongCluster
		case texts[2] != string(s.self.serverID()):
			code = handshakeWrongServer
		case s.bans.has(from):
			code = handshakeBanned
		}
	}
	if _, err := conn.Write(appendText([]byte{code}, string(s.self.serverID()))); err != nil {
		return "", err
	}
	if code != handshakeOK {
		return "", ErrHandshake
	}
	return from, conn.SetDeadline(time.Time{})
}

// Dial connects to a server and makes sure that it is the one that is meant.
func (s *streamLayer) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	address, id := decodeAddress(to)
	if s.bans.has(id) {
		return nil, fmt.Errorf("dial raft server %s: %w", id, ErrBanned)
	}
	conn, err := net.DialTimeout("tcp", address, timeout)
	if err != nil {
		return nil, err
	}
	if err := s.ask(conn, id); err != nil {
		return nil, errors.Join(fmt.Errorf("dial raft server %s at %s: %w", id, address, err), conn.Close())
	}
	known := s.bans.watch(id, conn)
	if known == nil {
		return nil, errors.Join(fmt.Errorf("dial raft server %s: %w", id, ErrBanned), conn.Close())
	}
	return known, nil
}

func (s *streamLayer) ask(conn net.Conn, id string) error {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	question := append([]byte(handshakeMagic), handshakeVersion)
	for _, text := range []string{s.cluster, string(s.self.serverID()), id} {
		question = appendText(question, text)
	}
	if _, err := conn.Write(question); err != nil {
		return err
	}
	var code [1]byte
	if _, err := io.ReadFull(conn, code[:]); err != nil {
		return err
	}
	texts, err := readTexts(conn, 1)
	if err != nil {
		return err
	}
	switch code[0] {
	case handshakeOK:
	case handshakeWrongVersion:
		return fmt.Errorf("%w: it speaks another version", ErrHandshake)
	case handshakeWrongCluster:
		return fmt.Errorf("%w: it belongs to another cluster", ErrHandshake)
	case handshakeBanned:
		return fmt.Errorf("%w: it does not hear this disk any more", ErrHandshake)
	default:
		return fmt.Errorf("%w: it is %q", ErrHandshake, texts[0])
	}
	if texts[0] != id {
		return fmt.Errorf("%w: it is %q", ErrHandshake, texts[0])
	}
	return conn.SetDeadline(time.Time{})
}

func appendText(b []byte, text string) []byte {
	text = text[:min(len(text), 255)]
	return append(append(b, byte(len(text))), text...)
}

func readTexts(r io.Reader, n int) ([]string, error) {
	texts := make([]string, n)
	for i := range texts {
		var size [1]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return nil, err
		}
		b := make([]byte, size[0])
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		texts[i] = string(b)
	}
	return texts, nil
}

// Accept returns the next connection that has said the right names.
func (s *streamLayer) Accept() (net.Conn, error) {
	select {
	case conn := <-s.accepted:
		return conn, nil
	case <-s.closing.Done():
		return nil, net.ErrClosed
	}
}

// Addr is the address in the form that the configuration holds.
func (s *streamLayer) Addr() net.Addr { return memberAddr(encodeAddress(s.self)) }

// Close stops listening and waits for running handshakes.
func (s *streamLayer) Close() error {
	var err error
	s.once.Do(func() {
		s.close()
		err = s.listener.Close()
		s.done.Wait()
	})
	return err
}

// memberAddr is an encoded address as a net.Addr.
type memberAddr raft.ServerAddress

// Network names the transport.
func (memberAddr) Network() string { return "tcp" }

// String returns host:port#nodeId:diskId.
func (a memberAddr) String() string { return string(a) }
