package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/chronik-io/chronik/internal/vfs"
)

// makeDirectory creates a directory with its missing parents, each of them durably: a directory whose parent was not synced
// would be gone after a power failure, and everything in it.
func makeDirectory(fsys vfs.FS, dir string) error {
	dir = filepath.Clean(dir)
	_, err := fsys.Stat(dir)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create directory: %w", err)
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDirectory(fsys, parent); err != nil {
			return err
		}
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	if err := fsys.SyncDir(parent); err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	return nil
}
