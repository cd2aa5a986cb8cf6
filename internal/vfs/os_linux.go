package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// dataSync is fdatasync: data, and of the metadata only what is needed to read it back (the size).
func dataSync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		// An interrupted call has reported no error of the disk, so this is the one retry that is sound.
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
		return nil
	}
}

func syncRange(f *os.File, off, n int64) error {
	if err := unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE); err != nil {
		return &os.PathError{Op: "sync_file_range", Path: f.Name(), Err: err}
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
