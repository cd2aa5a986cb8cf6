package node

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// hungUp dials and reports whether the other end closes the connection within wait.
func hungUp(t *testing.T, address string, wait time.Duration) bool {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if errors.Is(err, syscall.ECONNRESET) {
		return true // before the dial had returned
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if !errors.Is(err, syscall.ECONNRESET) { // which clients take as a reason to ask another node
		t.Fatal(err)
	}
	return true
}

// A node that does not serve hangs up on its clients after a while; once it serves the port is as new.
func TestDoormanHangsUpUntilTheNodeServes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	early := newDoorman(l, time.Hour)
	if hungUp(t, l.Addr().String(), 50*time.Millisecond) {
		t.Error("a client of a start that has just begun was sent away")
	}
	if err := early.leave(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c, err := l.Accept(); err != nil { // it is still there
		t.Fatal(err)
	} else {
		c.Close()
	}
	late := newDoorman(l, 0)
	for range 3 {
		if !hungUp(t, l.Addr().String(), 10*time.Second) {
			t.Fatal("a client is kept waiting")
		}
	}
	for range 2 {
		if err := late.leave(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("x"))
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "x" {
		t.Errorf("the server that came after: %q, %v", b, err)
	}
}
