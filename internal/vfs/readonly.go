package vfs

import (
	"fmt"
	"io/fs"
	"os"
)

// ReadOnly is a file system that cannot be changed through it: files are opened for reading whatever is asked for, and everything that
// writes fails with fs.ErrPermission.
func ReadOnly(on FS) FS { return readOnlyFS{on} }

type readOnlyFS struct{ FS }

func readOnlyError(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fmt.Errorf("read only: %w", fs.ErrPermission)}
}

func (r readOnlyFS) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		return nil, readOnlyError("open", name)
	}
	f, err := r.FS.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f}, nil
}

func (r readOnlyFS) MkdirAll(dir string, _ fs.FileMode) error { return readOnlyError("mkdir", dir) }
func (r readOnlyFS) Remove(name string) error                 { return readOnlyError("remove", name) }
func (r readOnlyFS) RemoveAll(name string) error              { return readOnlyError("remove", name) }
func (r readOnlyFS) Rename(from, _ string) error              { return readOnlyError("rename", from) }
func (r readOnlyFS) SyncDir(dir string) error                 { return readOnlyError("sync", dir) }

type readOnlyFile struct{ File }

func (f readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, readOnlyError("write", f.Name()) }
func (f readOnlyFile) Truncate(int64) error               { return readOnlyError("truncate", f.Name()) }
func (f readOnlyFile) Sync() error                        { return readOnlyError("sync", f.Name()) }
func (f readOnlyFile) SyncRange(int64, int64) error       { return readOnlyError("sync", f.Name()) }
