package node

import (
	"context"
	"net"
	"sync"
	"time"
)

// doormanAfter is how long clients that come before the node serves are kept waiting. Most starts are over by then.
const doormanAfter = time.Second

// doorman hangs up on clients while a node does not serve, for as long as that lasts: an empty node waits to be taken in, another one for
// a majority. The port is bound from the beginning, and the kernel would keep clients in its queue until they lose patience; hung up on,
// they try another node.
//
// The goroutine owns the listener until leave returns.
type doorman struct {
	port net.Listener
	stop chan struct{}
	done chan struct{}
	once sync.Once
}

// newDoorman begins to watch a port, after a while.
func newDoorman(port net.Listener, after time.Duration) *doorman {
	d := &doorman{port: port, stop: make(chan struct{}), done: make(chan struct{})}
	go d.run(after)
	return d
}

func (d *doorman) run(after time.Duration) {
	defer close(d.done)
	select {
	case <-d.stop:
		return
	case <-time.After(after):
	}
	for {
		c, err := d.port.Accept()
		if err == nil {
			sendAway(c)
		}
		select {
		case <-d.stop:
			return
		default:
		}
		if err == nil {
			continue
		}
		select {
		case <-d.stop:
			return
		case <-time.After(10 * time.Millisecond): // out of descriptors, or the port is closed
		}
	}
}

// sendAway resets a connection. An orderly end would be taken for a refusal of the client's security settings, and not tried again.
func sendAway(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close() // nothing was read or written
}

// leave ends the watch. From then on the port is its server's.
func (d *doorman) leave(context.Context) error {
	d.once.Do(func() {
		close(d.stop)
		if t, ok := d.port.(*net.TCPListener); ok {
			_ = t.SetDeadline(time.Unix(1, 0)) // wakes Accept; it fails only when the port is closed, which wakes it too
			<-d.done
			_ = t.SetDeadline(time.Time{})
		}
	})
	return nil
}
