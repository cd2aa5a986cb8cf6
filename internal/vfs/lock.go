package vfs

import (
	"fmt"
	"os"
)

// LockName is the file that LockDir locks.
const LockName = "LOCK"

// LockedError says that another process holds the lock of a directory.
type LockedError struct {
	Dir string
	PID int // 0 if unknown
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("directory %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("directory %s is in use by process %d", e.Dir, e.PID)
}

// Lock is a held directory lock. The kernel frees it when the process ends, however that happens.
type Lock struct{ f *os.File }

// Close frees the lock. The file stays: removing it would let two processes lock two files of the same name.
func (l *Lock) Close() error {
	if err := l.f.Truncate(0); err != nil {
		_ = l.f.Close()
		return fmt.Errorf("clear lock file: %w", err)
	}
	return l.f.Close()
}
