package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// dataSync is fdatasync: data, and of the metadata only what is needed to read it back (the size).
func dataSync(f *osFile) error {
	return f.call("fdatasync", func(fd uintptr) error {
		for {
			// An interrupted call has reported no error of the disk, so this is the one retry that is sound.
			if err := unix.Fdatasync(int(fd)); err != unix.EINTR {
				return err
			}
		}
	})
}

func syncRange(f *osFile, off, n int64) error {
	return f.call("sync_file_range", func(fd uintptr) error {
		return unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}

func (f *osFile) call(op string, fn func(fd uintptr) error) error {
	var callErr error
	err := f.raw.Control(func(fd uintptr) { callErr = fn(fd) })
	if err == nil {
		err = callErr
	}
	if err != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}

func freeSpace(path string) (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	size := uint64(st.Bsize)
	return st.Bavail * size, st.Blocks * size, nil
}
