// Package vfs is the seam between the storage engine and the disk.
//
// Why: every durability promise of the engine must hold when the power fails between any two system calls and when
// any of them fails. That can only be tested when the disk can be replaced: by memory that forgets what was not
// synced (Mem), and by a wrapper that fails or delays chosen calls (Faulty).
//
// Invariants:
//  1. File.Sync makes the bytes and the size of that file durable, never its directory entry.
//  2. Only FS.SyncDir makes creations, removals and renames in a directory durable.
//  3. Errors keep their cause: errors.Is(err, fs.ErrNotExist), syscall.ENOSPC and the like work through every layer.
//
// Concurrency: every FS and File may be used from several goroutines at once.
//
// Files: vfs.go the interfaces and WriteFileAtomic, os.go with os_linux.go / os_other.go the real disk, mem.go and
// mem_crash.go memory with crash semantics, faulty.go injected faults, lock.go the directory lock.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is a file system. Paths are those of the host; flags are those of package os.
type FS interface {
	// OpenFile opens or creates a file. Creation is durable only after SyncDir of the directory.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// MkdirAll creates a directory and its parents. Each is durable only after SyncDir of its parent.
	MkdirAll(dir string, perm fs.FileMode) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes a tree; a missing one is not an error.
	RemoveAll(name string) error
	// Rename moves a file or directory, replacing a file of the new name in one step.
	Rename(from, to string) error
	// SyncDir makes the entries of dir durable.
	SyncDir(dir string) error
	// ReadDir lists dir sorted by name.
	ReadDir(dir string) ([]fs.DirEntry, error)
	// Stat describes a file or directory.
	Stat(name string) (fs.FileInfo, error)
	// FreeSpace returns the bytes that this process may still write on the disk of path, and the size of that disk.
	FreeSpace(path string) (free, total uint64, err error)
}

// File is an open file, addressed by position only.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Name returns the path that the file was opened with.
	Name() string
	// Size returns the size in bytes.
	Size() (int64, error)
	// Truncate sets the size; growth reads as zeros.
	Truncate(size int64) error
	// Sync makes data and size durable (fdatasync). After an error the state of the unsynced bytes is unknown, and
	// a second Sync that succeeds proves nothing: callers must not retry.
	Sync() error
	// SyncRange starts writing n bytes at off to the disk without waiting. It promises nothing.
	SyncRange(off, n int64) error
}

// ReadFile reads a whole file.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	n, err := f.ReadAt(buf, 0)
	if n == len(buf) || errors.Is(err, io.EOF) {
		return buf[:n], nil
	}
	return nil, err
}

// WriteFileAtomic replaces a file so that a crash leaves the old content or the new one, and the new one is durable
// when it returns: temporary file, sync, rename, sync of the directory.
func WriteFileAtomic(fsys FS, name string, data []byte, perm fs.FileMode) error {
	tmp := name + ".tmp"
	if err := writeAndSync(fsys, tmp, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("rename %s: %w", tmp, err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return fmt.Errorf("sync directory of %s: %w", name, err)
	}
	return nil
}

func writeAndSync(fsys FS, name string, data []byte, perm fs.FileMode) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
