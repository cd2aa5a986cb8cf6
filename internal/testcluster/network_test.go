package testcluster

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

const (
	soon  = 200 * time.Millisecond
	never = 10 * time.Second
)

// proxiedEcho is a network in which this process is node 1, and node 0 a server that sends back each line.
func proxiedEcho(t *testing.T) *Network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	n := newNetwork(func() []int { return []int{0, os.Getpid()} })
	n.add(t, [2]string{freeAddress(t), freeAddress(t)}, [2]string{l.Addr().String(), l.Addr().String()})
	n.up(t, 0)
	t.Cleanup(n.Close)
	return n
}

type lines struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dialLines(t *testing.T, n *Network) *lines {
	t.Helper()
	c, err := net.Dial("tcp", n.nodes[0].front[WALPort])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &lines{t, c, bufio.NewReader(c)}
}

func (l *lines) send(s string) {
	l.t.Helper()
	if _, err := io.WriteString(l, s+"\n"); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lines) receive(within time.Duration) (string, error) {
	_ = l.SetReadDeadline(time.Now().Add(within))
	s, err := l.r.ReadString('\n')
	return s, err
}

func (l *lines) want(s string) {
	l.t.Helper()
	if got, err := l.receive(never); err != nil || got != s+"\n" {
		l.t.Fatalf("received %q (%v), want %q", got, err, s)
	}
}

func (l *lines) wantNothing() {
	l.t.Helper()
	if got, err := l.receive(soon); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.t.Fatalf("received %q (%v), want nothing", got, err)
	}
}

func TestCutDirectionsDeliverLater(t *testing.T) {
	n := proxiedEcho(t)
	c := dialLines(t, n)
	c.send("a")
	c.want("a")
	for _, cut := range [][2]int{{1, 0}, {0, 1}} {
		n.Cut(cut[0], cut[1])
		c.send("b")
		c.wantNothing()
		n.Heal()
		c.want("b")
	}
	n.Cut(1, 0, RaftPort)
	c.send("c")
	c.want("c")
	n.Heal()
	n.Cut(0, 1)
	late := dialLines(t, n) // a dial waits too
	late.send("d")
	late.wantNothing()
	n.Heal()
	late.want("d")
}

func TestDelayedDirection(t *testing.T) {
	n := proxiedEcho(t)
	c := dialLines(t, n)
	n.Delay(1, 0, 2*soon)
	began := time.Now()
	c.send("a")
	c.want("a")
	if took := time.Since(began); took < 2*soon {
		t.Errorf("delayed by %v, it took %v", 2*soon, took)
	}
}

func TestResetAndHalfOpen(t *testing.T) {
	n := proxiedEcho(t)
	c := dialLines(t, n)
	c.send("a")
	c.want("a")
	if k := n.Reset(0, 1); k != 1 {
		t.Errorf("%d connections reset, there was one", k)
	}
	if _, err := c.receive(never); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	c = dialLines(t, n)
	c.send("a")
	c.want("a")
	if k := n.HalfOpen(1, 0); k != 1 {
		t.Errorf("%d connections half-open, there was one", k)
	}
	c.send("b") // into the void
	c.wantNothing()
}

func TestNobodyListensForANodeThatIsDown(t *testing.T) {
	n := proxiedEcho(t)
	n.downed(0)
	if _, err := net.Dial("tcp", n.nodes[0].front[WALPort]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial of a node that is down: %v", err)
	}
	n.up(t, 0)
	c := dialLines(t, n)
	c.send("a")
	c.want("a")
}
