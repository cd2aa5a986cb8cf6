package kafkaserver

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// writev is one attempt to send bufs; how much the socket took, or EAGAIN.
func writev(fd int, bufs [][]byte) (int, error) {
	if len(bufs) == 1 {
		n, err := syscall.Write(fd, bufs[0])
		return max(n, 0), err
	}
	n, err := unix.Writev(fd, bufs)
	return max(n, 0), err
}

// lockWithCond is a mutex and its condition variable in one field.
type lockWithCond struct {
	sync.Mutex
	cond sync.Cond
}

func (l *lockWithCond) init() { l.cond.L = &l.Mutex }

// Wait waits for Broadcast; the lock is held by the caller.
func (l *lockWithCond) Wait() { l.cond.Wait() }

// Broadcast wakes all who wait.
func (l *lockWithCond) Broadcast() { l.cond.Broadcast() }
