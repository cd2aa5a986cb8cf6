package node

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/chronik-io/chronik/internal/config"
)

// listeners are the bound ports of a node.
type listeners struct {
	kafka, wal, raft, http net.Listener // http is nil when it is off
}

// listen binds all ports before anything is written, so that a port in use costs nothing.
func listen(c *config.Config) (l listeners, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	for _, p := range []struct {
		into                    *net.Listener
		name, key, flag, target string
	}{
		{&l.kafka, "kafka", "bind.kafka", "--kafka", c.Bind.Kafka},
		{&l.wal, "wal", "bind.wal", "--wal", c.Bind.WAL},
		{&l.raft, "raft", "bind.raft", "--raft", c.Bind.Raft},
		{&l.http, "http", "http", "--http", c.HTTP},
	} {
		if p.target == config.HTTPOff {
			continue
		}
		bound, err := net.Listen("tcp", p.target)
		if err != nil {
			return l, listenError(p.name, p.key, p.flag, p.target, err)
		}
		*p.into = bound
	}
	return l, nil
}

// listenError says which port it is and how to change it.
func listenError(name, key, flag, address string, err error) error {
	why := err.Error()
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		why = op.Err.Error()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = "another process uses this port"
	case errors.Is(err, syscall.EACCES):
		why = "not allowed (ports below 1024 need a privilege)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "this machine does not have that address"
	}
	return fmt.Errorf("%w for %s on %s: %s; choose another with %s HOST:PORT, or %s in the configuration", ErrListen, name, address, why, flag, key)
}

func (l *listeners) close() error {
	var errs []error
	for _, each := range []net.Listener{l.kafka, l.wal, l.raft, l.http} {
		if each == nil {
			continue
		}
		if err := each.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// advertised is the address that others are told: the configured one, or the bound one. A configured port 0 stands for the
// bound port.
func advertised(configured string, bound net.Listener) string {
	actual := bound.Addr().String()
	if configured == "" {
		return actual
	}
	host, port, err := net.SplitHostPort(configured)
	if err != nil || port != "0" {
		return configured
	}
	_, port, _ = net.SplitHostPort(actual) // an address of a listener has a port
	return net.JoinHostPort(host, port)
}
