package kafkaserver

import "sync"

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
