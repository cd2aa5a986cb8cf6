package wal

import (
	"context"
	"errors"
)

type bugs struct{}
type commit struct{}

// WAL is an open log.
type WAL struct{}

var errNotYet = errors.New("wal: not built yet")

// Open recovers the log in o.Dir, calls replay for every record from o.ReplayFrom on, and starts the log's goroutines.
func Open(o Options, replay func(Record) error) (*WAL, *Recovery, error) { return nil, nil, errNotYet }

// Append copies a record of size bytes into the pending commit: fill writes it in place, under the log's lock, so it
// must be a plain copy. sub (may be nil) is told of mark when the record is durable. It blocks while
// MaxPendingBytes are not durable. Errors: ErrNoSpace, ErrFull, ErrTooLarge, ErrClosed; the record is not
// accepted then.
func (w *WAL) Append(kind uint8, size int, fill func(dst []byte), sub *Sub, mark int64) (Ref, error) {
	return Ref{}, errNotYet
}

// DurableSeq returns the sequence of the last durable commit.
func (w *WAL) DurableSeq() uint64 { return 0 }

// Sync waits until everything appended before the call is durable.
func (w *WAL) Sync(ctx context.Context) error { return errNotYet }

// Read appends the payload of ref to dst: from memory when the commit is still there, else from the file, verified.
func (w *WAL) Read(ref Ref, dst []byte) ([]byte, error) { return dst, errNotYet }

// Usage returns the space in use.
func (w *WAL) Usage() Usage { return Usage{} }

// Slots returns the live slots, oldest first.
func (w *WAL) Slots() []SlotInfo { return nil }

// Recycle gives back whole sealed slots, oldest first, whose last sequence is at most upToSeq. After a crash some of
// them may be replayed once more.
func (w *WAL) Recycle(upToSeq uint64) error { return errNotYet }

// Close makes everything appended durable, marks the stop as clean, and ends the goroutines.
func (w *WAL) Close() error { return errNotYet }
