package vfs

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// OS is the file system of the host.
var OS FS = osFS{}

type osFS struct{}

// osFile is an *os.File with the calls of File that package os lacks. Those go through raw, which keeps the descriptor
// from being closed, and given to another file, while a call is under way.
type osFile struct {
	*os.File
	raw syscall.RawConn
}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &osFile{f, raw}, nil
}

func (osFS) MkdirAll(dir string, perm fs.FileMode) error   { return os.MkdirAll(dir, perm) }
func (osFS) Remove(name string) error                      { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                   { return os.RemoveAll(name) }
func (osFS) Rename(from, to string) error                  { return os.Rename(from, to) }
func (osFS) ReadDir(dir string) ([]fs.DirEntry, error)     { return os.ReadDir(dir) }
func (osFS) Stat(name string) (fs.FileInfo, error)         { return os.Stat(name) }
func (osFS) FreeSpace(path string) (uint64, uint64, error) { return freeSpace(path) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (f *osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Sync() error                  { return dataSync(f) }
func (f *osFile) SyncRange(off, n int64) error { return syncRange(f, off, n) }
