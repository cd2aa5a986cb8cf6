package wal

import (
	"os"

	"github.com/chronik-io/chronik/internal/vfs"
)

// nullFS is the host's file system without the cost of the disk: commits and syncs do nothing once a file is there.
type nullFS struct{}

type nullFile struct{ vfs.File }

func (nullFile) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (nullFile) Sync() error                            { return nil }

func (nullFS) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := vfs.OS.OpenFile(name, flag, perm)
	return nullFile{f}, err
}
func (nullFS) MkdirAll(dir string, perm os.FileMode) error      { return vfs.OS.MkdirAll(dir, perm) }
func (nullFS) Remove(name string) error                         { return vfs.OS.Remove(name) }
func (nullFS) RemoveAll(name string) error                      { return vfs.OS.RemoveAll(name) }
func (nullFS) Rename(from, to string) error                     { return vfs.OS.Rename(from, to) }
func (nullFS) SyncDir(string) error                             { return nil }
func (nullFS) ReadDir(dir string) ([]os.DirEntry, error)        { return vfs.OS.ReadDir(dir) }
func (nullFS) Stat(name string) (os.FileInfo, error)            { return vfs.OS.Stat(name) }
func (nullFS) FreeSpace(p string) (free, total uint64, e error) { return vfs.OS.FreeSpace(p) }
