//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package vfs

import (
	"errors"
	"fmt"
	"io"
)

// ShareDir is not possible where there is no flock.
func ShareDir(dir string) (io.Closer, error) {
	return nil, fmt.Errorf("lock directory %s: %w", dir, errors.ErrUnsupported)
}
